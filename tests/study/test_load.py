"""The study file as it is typed, and the sentence for every way of mistyping it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ablate.errors import StudyError
from ablate.study import document
from ablate.study.load import factor_paths, load, schema, with_values
from ablate.study.spec import Source, Study, Tokenizer

TEXT = """\
name: quality
question: Does it?
grid:
  params: [0.1M, 1M]
  tokens: [0.25M, 20x]
  synthetic_ratio: [0, 0.5, 1]
seeds: [0, 1]
data:
  synthetic: builtin:textbook
  web: {builtin: web, noise: {typos: 0.02}}
  tokenizer: {train_bpe: 1024}
train: {optimizer: adamw, lr: 1e-3, batch_tokens: 1k}
evaluate: {benchmarks: ["builtin:all"]}
launch: {with: inline, checkpoint_every: 2m}
profiles:
  gpu:
    grid: {params: [1M, 10M]}
    data: {tokenizer: {path: some/folder}, synthetic: {files: "a/*.jsonl"}}
  null: {data: {web: {builtin: web, seed: 1}}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(TEXT)
    return path


def refused(path: Path, text: str = TEXT, *args: Any) -> str:
    path.write_text(text)
    with pytest.raises(StudyError) as caught:
        load(path, *args)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(str(path))


def test_what_is_written_is_what_is_read(file: Path) -> None:
    study = load(file)
    assert study.grid["tokens"] == ["0.25M", "20x"]
    assert study.data.synthetic == Source(builtin="textbook")
    assert study.data.web is not None
    assert study.data.web.noise.typos == 0.02
    assert (study.train.optimizer.name, study.train.lr, study.train.batch_tokens) == ("adamw", 0.001, 1000)
    assert (study.launch.launcher, study.launch.checkpoint_every) == ("inline", 120)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["launch.pack=4", "launch.devices=2"], "pack: 4 trains several models on one device, and devices: 2"),
        (["launch.pack=4", "launch.activation_checkpointing=true"], "not to be had for several models at once"),
        (["train.optimizer.backend=apex", "launch.devices=2"], "apex works on whole tensors"),
    ],
)
def test_what_would_be_ignored_is_refused(file: Path, overrides: list[str], said: str) -> None:
    overrides = ["launch.with=local", *overrides]
    assert said in refused(file, TEXT.replace("optimizer: adamw", "optimizer: {name: adamw}"), None, overrides)


def test_a_profile_is_merged_over_the_file(file: Path) -> None:
    study = load(file, "gpu")
    assert study.grid == {"params": ["1M", "10M"], "tokens": ["0.25M", "20x"], "synthetic_ratio": [0, 0.5, 1]}
    assert study.data.tokenizer == Tokenizer(path="some/folder")
    assert study.data.synthetic == Source(files="a/*.jsonl")
    assert load(file, "null").data.web == Source(builtin="web", seed=1), "a mapping that names its kind replaces, noise and all"
    assert load(file, "null").data.synthetic == load(file).data.synthetic


def test_overrides_come_last(file: Path) -> None:
    given = ["grid.params=[3M]", "grid.train.lr=[0.1, 0.2]", "train.lr=auto", "data.neutral.seed=4", "data.held_out.wiki=files:w.txt"]
    study = load(
        file, "gpu", [*given, "train.optimizer.betas=[0.8, 0.9]", "launch.with=local", "where=seed == 0", "seeds=[5]", "seeds=[6]"]
    )
    assert study.grid["params"] == ["3M"]
    assert study.grid["train.lr"] == [0.1, 0.2]
    assert (study.train.lr, study.train.optimizer.betas, study.launch.launcher, study.seeds) == ("auto", (0.8, 0.9), "local", [6])
    assert study.data.neutral == Source(builtin="neutral", seed=4)
    assert study.data.held_out == {"wiki": Source(files="w.txt")}
    assert (study.where, study.profiles) == ("seed == 0", load(file).profiles)


MISTYPED = [
    ("name: quality", "nam: quality", ":1: unknown key 'nam'; nearest: name; valid: name, question, grid"),
    ("seeds:", "lr: 0.1\nseeds:", ":7: unknown key 'lr'; nearest: train.lr; valid: name"),
    ("typos:", "tipos:", ":10: unknown key 'tipos' in data.web.noise; nearest: typos; valid: off_topic"),
    ("  params: [0", "  parms: [0", ":4: 'parms' is no factor; nearest: params; valid: params, tokens, synthetic_ratio, data.{synthetic"),
    ("seed: 1", "sed: 1", ":19: in the profile null: unknown key 'sed' in data.web; nearest: seed; valid: builtin"),
    ("    grid: {params: [1M, 10M]}", "    profiles: {}", ":17: the profile gpu cannot hold profiles"),
    ("name: quality", "name: 3", ":1: name: expected text (in quotes, if it looks like something else), found 3"),
    ("name: quality", "name: a b", ":1: name: expected a name of letters, digits and _ that begins with a letter, found 'a b'"),
    ("name: quality", "name: 2024-01-02", ":1: name: expected a name of letters"),
    ("question: Does it?", "question: yes", ":2: question: expected text (in quotes"),
    ("seeds: [0, 1]", "seeds: [0, true]", ":7: seeds entry 2: expected a whole number, found true"),
    ("seeds: [0, 1]", "seeds:\n- 0\n- '1'", ":9: seeds entry 2: expected a whole number, found '1'"),
    ("seeds: [0, 1]", "seeds: []", ":7: seeds: expected a list of 1 or more, found []"),
    ("params: [0.1M, 1M]", "params: 1M", ":4: grid.params: expected a list, found '1M'"),
    ("builtin:textbook", "builtin:textbok", ":9: data.synthetic: 'textbok' is not known; nearest: textbook; valid: textbook, web, neutral"),
    ("builtin:textbook", "textbook", ":9: data.synthetic: 'textbook' is not a source; write builtin:textbook"),
    ("builtin:textbook", "{builtin: web, files: x}", ":9: data.synthetic: a source needs exactly one of"),
    (
        "builtin:textbook",
        '{hf: a/b, split: "train[:10%]"}',
        ":9: data.synthetic.split: 'train[:10%]' is not a split; write its name, or rows of it counted from the first, such as",
    ),
    ("builtin:textbook", '{hf: a/b, split: "train[9:3]"}', ":9: data.synthetic.split: 'train[9:3]' holds no row"),
    ("builtin:textbook", "[3]", ":9: data.synthetic: expected a mapping (key: value), found [3]"),
    ("lr: 1e-3", "lr: fast", ":12: train.lr: expected auto or a number, found 'fast'"),
    ("lr: 1e-3", "lr: true", ":12: train.lr: expected auto or a number, found true"),
    ("lr: 1e-3", "lr: 3", ":12: train.lr: expected auto or a number of at most 1, found 3"),
    ("lr: 1e-3", "clip: .inf", ":12: train.clip: expected a finite number"),
    (
        "batch_tokens: 1k",
        "batch_tokens: many",
        ":12: train.batch_tokens: 'many' is not a number such as 250k, 30M, 1.3B or 1_000_000, or write auto",
    ),
    ("optimizer: adamw", "optimizer: {betas: [0.9]}", ":12: train.optimizer.betas: the list has too few entries"),
    ("optimizer: adamw", "optimizer: {betas: [0.9, 1]}", ":12: train.optimizer.betas entry 2: expected a number below 1, found 1"),
    ("optimizer: adamw", "optimizer: {name: lamb, weight_decay: 0}", ":12: train.optimizer: lamb scales the updates of decayed"),
    ("optimizer: adamw", "optimizer: {backend: cuda}", ":12: train.optimizer.backend: 'cuda' is not known"),
    ('["builtin:all"]', "[{builtin: all, name: x}]", ":13: evaluate.benchmarks entry 1: name: goes with task:"),
    ('["builtin:all"]', "[{files: x}]", ":13: evaluate.benchmarks entry 1: a benchmark needs exactly one of builtin: and task:"),
    ('["builtin:all"]', "[{blimp: x}]", ":13: unknown key 'blimp' in evaluate.benchmarks entry 1; nearest: limit; valid: builtin, task"),
    ('["builtin:all"]', '["builtin:"]', ":13: evaluate.benchmarks entry 1: 'builtin:' is not a benchmark; write builtin:all"),
    ('["builtin:all"]', "[arc-easy]", ":13: evaluate.benchmarks entry 1: 'arc-easy' is not a benchmark; write builtin:all"),
    ('["builtin:all"]', "[{task: piqa, limit: 1}]", ":13: evaluate.benchmarks entry 1.limit: expected a number of at least 2, found 1"),
    ('["builtin:all"]', "[{task: piqa, shots: 0, shots_from: x}]", ":13: evaluate.benchmarks entry 1: shots_from: says where"),
    ('["builtin:all"]', "[]", ":13: evaluate: name at least one benchmark in benchmarks: or lm_eval:"),
    ('["builtin:all"]', "[], lm_eval: [a, a]", ":13: evaluate: lm_eval: a is named twice"),
    ('["builtin:all"]', "[], judge: {url: host, model: m}", ":13: evaluate.judge: url: 'host' is not a URL"),
    ("seeds: [0, 1]", "baselines: [a, a]", ": baselines: a is named twice"),
    ("2m", "soon", ":14: launch.checkpoint_every: 'soon' is not a number such as 90s, 2m, 1.5h or 1d"),
    ("data:", "dta:", ":8: unknown key 'dta'; nearest: data; valid: name, question"),
    (TEXT, "name: x", ":1: the key data is missing"),
    (TEXT, "name: x\ngrid: {}\ndata: {}", ":3: data: name at least one of synthetic: and web:"),
    (TEXT, "", ":1: expected a study (name:, grid:, data:, ...), but the file is empty"),
    (TEXT, "- a", ":1: expected a study (name:, grid:, data:, ...), but found"),
    ("question:", "name: b\nquestion:", ":2: the key 'name' stands here and on line 1; keep one"),
    ("  web:", "\tweb:", ":10: a tab: indent with spaces"),
    ("name: quality", "name: a: b", ":1: not valid YAML"),
    ("name: quality", "name: 'a", "not valid YAML"),
    ("name: quality", "name: {{x}}", ":1: a list or a mapping stands where a key should"),
    ("name: quality", "name: !!python/object/apply:os.getcwd []", ":1: the tag"),
    ("name: quality", "name: !!int x", ":1: 'x' is not the number it should be"),
    ("name: quality", "name: &a [*a]", ":1: an anchor that contains its own alias"),
    ("name: quality", "name: *nowhere", ":1: not valid YAML (found undefined alias"),
    ("name: quality", "name: " + "[" * 5000, ":1: brackets, blocks or aliases are nested too deeply"),
    ("Does it?", "Does\x07", ":2: the character '\\x07' is not allowed"),
    (TEXT, TEXT + "---\nname: b\n", ":20: a second document begins here"),
]


@pytest.mark.parametrize(("right", "wrong", "sentence"), MISTYPED, ids=[case[2][:50] for case in MISTYPED])
def test_a_mistake_is_told_with_its_line(file: Path, right: str, wrong: str, sentence: str) -> None:
    assert sentence in refused(file, TEXT.replace(right, wrong, 1))


def test_several_mistakes_are_counted(file: Path) -> None:
    assert refused(file, TEXT.replace("1e-3", "x").replace("1k", "y")).endswith("(and 1 more to mend)")


OVERRIDES = [
    ("train.lrr=1", "unknown key 'lrr' in train; nearest: lr; valid: optimizer"),
    ("lr=1", "unknown key 'lr'; nearest: train.lr; valid: name"),
    ("train.lr=3", "train.lr: expected auto or a number of at most 1, found 3"),
    ("seeds.x=1", "seeds holds a value, not keys"),
    ("train.lr.x=1", "train.lr holds a value, not keys"),
    ("grid.parms=[1]", "'parms' is no factor; nearest: params"),
    ("profiles.gpu.name=x", "a profile is chosen with --profile"),
    ("train.lr=a: b: c", "the value is not valid YAML"),
    ("data.web.files=x", "data.web: a source needs exactly one of"),
    ("seeds", "write path.to.field=value"),
]


@pytest.mark.parametrize(("text", "sentence"), OVERRIDES)
def test_a_wrong_override_is_quoted(file: Path, text: str, sentence: str) -> None:
    assert refused(file, TEXT, None, ["keep_models=none", text]).startswith(f"override {text}: {sentence}")


def test_an_unknown_profile_is_told_with_the_known(file: Path) -> None:
    assert refused(file, TEXT, "gpuu") == ": unknown profile 'gpuu'; nearest: gpu; valid: gpu, null"
    assert "has no profiles" in refused(file, TEXT.partition("profiles:")[0], "gpu")


def test_files_that_cannot_be_read(tmp_path: Path, file: Path) -> None:
    for path, words in [
        (tmp_path, "is a folder"),
        (tmp_path / "t.yaml", f"did you mean {file}"),
        (tmp_path / "no" / "s.yaml", "no folder"),
    ]:
        with pytest.raises(StudyError, match="study") as caught:
            load(path)
        assert words in str(caught.value)
    file.write_bytes(TEXT.encode() + b"question: \xe9")
    with pytest.raises(StudyError, match=":20: this is not UTF-8"):
        load(file)
    file.write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert load(file).name == "quality"


def test_anchors_and_merges_are_plain_yaml() -> None:
    found = document.read("a: &x {k: 1, l: 2}\nb:\n  <<: *x\n  k: 3\nc: *x\nd: *x\n")
    assert found.value == {"a": {"k": 1, "l": 2}, "b": {"k": 3, "l": 2}, "c": {"k": 1, "l": 2}, "d": {"k": 1, "l": 2}}
    assert (found.line(("b", "k")), found.line(("b", "missing", "deeper"))) == (4, 2)
    bomb = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
    with pytest.raises(document.DocumentError, match="more than 100,000 values"):
        document.read(bomb)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.integers(0, len(TEXT) - 1), st.sampled_from(["", " ", "\t", "\n", ":", "[", "}", "'", "&", "*", "!", "%", "x", "- ", "<<: ", "\x00"])
)
def test_no_slip_of_the_finger_ends_in_a_traceback(file: Path, at: int, slip: str) -> None:
    file.write_text(TEXT[:at] + slip + TEXT[at + 1 :])
    try:
        assert isinstance(load(file), Study)
    except StudyError as e:
        assert str(e).startswith(str(file))


def test_with_values_is_checked_and_leaves_the_rest(file: Path) -> None:
    study = load(file)
    changed = with_values(study, {"train.lr": 0.1, "data.web.noise.typos": 0})
    assert changed.train.lr == 0.1
    assert changed.data.web == Source.model_validate({"builtin": "web", "noise": {"typos": 0}})
    assert (changed.grid, changed.profiles, changed.train.batch_tokens) == (study.grid, study.profiles, 1000)
    assert study.train.lr == 0.001
    assert with_values(study, {"data.web": {"files": "x"}}).data.web == Source(files="x")
    for wrong in ({"train.lr": "x"}, {"train.lrr": 1}, {"data.web.seed": -1}, {"data.web.text_field": "x"}):
        with pytest.raises(StudyError, match=r"^(train|data|unknown)"):
            with_values(study, wrong)


def test_what_may_be_a_factor_changes_the_weights() -> None:
    paths = factor_paths()
    assert {"train.lr", "train.optimizer.weight_decay", "data.web", "data.web.noise.typos", "data.tokenizer", "model.family"} <= set(paths)
    assert not {path.split(".")[0] for path in paths} - {"data", "model", "train"}
    assert not {"data.held_out", "data.neutral", "data.neutral.seed", "data.max_epochs"} & set(paths)


def test_the_json_schema_accepts_the_file_and_refuses_wrong_keys() -> None:
    check = jsonschema.Draft202012Validator(schema())
    check.check_schema(schema())
    assert list(check.iter_errors(document.read(TEXT).value)) == []
    wrong = (
        ["  gpu:", "  gpu:\n    gird: {}"],
        ["typos:", "tipos:"],
        ["params:", "parms:"],
        ["train:", "trian:"],
        ["adamw", "sgd"],
        ["1e-3", "fast"],
    )
    for right, mistake in wrong:
        assert not check.is_valid(document.read(TEXT.replace(right, mistake, 1)).value), mistake


def test_loading_is_quick_and_needs_no_torch(file: Path) -> None:
    started = time.perf_counter()
    load(file, "gpu")
    assert time.perf_counter() - started < 0.3
    program = "import sys, ablate.study.load, ablate.study.grid; sys.exit(any(m in sys.modules for m in ('torch', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
