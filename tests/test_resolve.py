"""A run's digest knows what changes its weights and nothing else of the study."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablate import resolve
from ablate.errors import StudyError
from ablate.study import grid
from ablate.study.load import load
from tests.studies import TINY, write


def digests(folder: Path, text: str = TINY, *overrides: str) -> list[str]:
    return [run.digest for run in resolve.runs(load(write(folder, text), None, overrides))]


@pytest.mark.parametrize(
    "override",
    [
        "grid.params=[50k, 100k]",
        "grid.tokens=[60k, 120k, 240k]",
        "grid.synthetic_ratio=[0, 1/2, 1]",
        "seeds=[0, 1, 2]",
        "evaluate.benchmarks=[builtin:unseen_sums]",
        "name=another",
        "launch.slots=7",
        "train.optimizer.backend=torch",
        "launch.share=none",
        "keep_models=none",
        "data.max_epochs=1",
    ],
)
def test_what_is_around_a_run_changes_no_digest(tmp_path: Path, override: str) -> None:
    before = digests(tmp_path)
    assert set(before) <= set(digests(tmp_path, TINY, override))


@pytest.mark.parametrize(
    "override",
    [
        "train.lr=0.005",
        "train.batch_tokens=256",
        "train.decay=0.3",
        "train.optimizer.weight_decay=0.2",
        "train.optimizer=lamb",
        "data.seq_len=128",
        "data.tokenizer.train_bpe=600",
        "model.tie_word_embeddings=false",
        "seeds=[1]",
    ],
)
def test_what_changes_the_weights_changes_every_digest(tmp_path: Path, override: str) -> None:
    assert not set(digests(tmp_path)) & set(digests(tmp_path, TINY, override))


def test_digests_do_not_change_unnoticed(tmp_path: Path) -> None:
    """What was trained before is found again; where it must not be, raise NUMERICS_VERSION and write down the new ones."""
    assert digests(tmp_path, TINY, "train.precision=float32") == [
        "b548a997c14c9f35",
        "0390c7753367870a",
        "a8c64a3874f70206",
        "c7437dd65e237c15",
    ]


def test_a_source_changes_the_runs_that_read_it_or_share_its_tokenizer(tmp_path: Path) -> None:
    before, after = digests(tmp_path), digests(tmp_path, TINY, "data.web={builtin: web, seed: 1}")
    assert not set(before) & set(after), "the tokenizer is trained on both sources"


def test_a_factor_on_the_data_reaches_the_data(tmp_path: Path) -> None:
    study = load(write(tmp_path), None, ["grid.data.web.noise.typos=[0, 0.1]"])
    runs = resolve.runs(study)
    assert {run.data.web.noise.typos for run in runs if run.data.web is not None} == {0, 0.1}
    assert len({run.digest for run in runs}) == 6, "what reads no web text is one run at both levels"
    assert len({run.recipe["data"]["tokenizer"] for run in runs}) == 1, "no level has the kinder vocabulary"


def test_the_data_of_the_shipped_study_keep_their_digests() -> None:
    """Whoever has results of the embedded corpora can go on with them."""
    path = Path(__file__).parents[1] / "studies" / "quality_vs_quantity.yaml"
    found = [grid.digest([run.recipe["data"] for run in resolve.runs(load(path, profile))]) for profile in (None, "null")]
    assert found == ["a8968d8f9e792ed5", "da6b8873eea25f56"]


MIXED = """
data:
  sources: {a: {builtin: web, seed: 1}, b: {builtin: web, seed: 2}, code: builtin:neutral}
  synthetic: builtin:textbook
  web: {sources: {a: 0.8, b: 0.2}}
"""


def mixed(folder: Path, *overrides: str) -> list[grid.Run]:
    text = TINY.replace("data:\n  synthetic: builtin:textbook\n  web: builtin:web\n", MIXED.lstrip())
    return resolve.runs(load(write(folder, text), None, overrides))


def test_a_role_may_be_a_mix_and_any_named_source_have_a_share(tmp_path: Path) -> None:
    runs = mixed(tmp_path, "grid.synthetic_ratio=[0, 1/2]", "grid.data.shares.code=[0, 0.1]", "grid.tokens=[60k]")
    assert [run.recipe["data"]["shares"] for run in runs] == [
        {"web.a": "4/5", "web.b": "1/5"},
        {"code": "1/10", "web.a": "18/25", "web.b": "9/50"},
        {"synthetic": "1/2", "web.a": "2/5", "web.b": "1/10"},
        {"code": "1/10", "synthetic": "1/2", "web.a": "8/25", "web.b": "2/25"},
    ]
    assert [run.factors["data.shares.code"] for run in runs] == [0, 0.1, 0, 0.1]
    assert len({run.recipe["data"]["tokenizer"] for run in runs}) == 1
    assert {name: source.builtin for name, source in runs[1].data.trained_on().items()} == {
        "code": "neutral", "synthetic": "textbook", "web.a": "web", "web.b": "web",
    }  # fmt: skip


def test_the_order_in_which_a_mix_is_written_does_not_matter(tmp_path: Path) -> None:
    first = mixed(tmp_path, "data.web={sources: {a: 0.8, b: 0.2}}")
    second = mixed(tmp_path, "data.web={sources: {b: 1/5, a: 4/5}}")
    assert [(run.digest, list(run.recipe["data"]["shares"])) for run in first] == [
        (run.digest, list(run.recipe["data"]["shares"])) for run in second
    ]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["data.web={sources: {a: 0.8, b: 0.1}}"], "the shares add up to 0.9, not to 1"),
        (["data.web={sources: {a: 0.8, c: 0.2}}"], "c is not in data.sources, which has: a, b, code"),
        (["data.shares.nowhere=0.1"], "nowhere is not in data.sources"),
        (["grid.data.shares.code=[0.5]"], "synthetic_ratio: 1 and data.shares, which add up to 0.5, are together more than 1"),
        (["data.web=null", "data.shares.code=0.5"], "synthetic_ratio: 0 beside data.shares of 0.5 needs data.web"),
        (["data.sources.a={sources: {b: 1}}"], "a is a mix itself"),
        (["data.neutral={sources: {b: 1}}"], "neutral: a text that is measured needs its documents"),
        (["data.sources.web=builtin:web"], "web is the name of a role"),
    ],
)
def test_mixes_that_make_no_sense(tmp_path: Path, overrides: list[str], sentence: str) -> None:
    with pytest.raises(StudyError, match=sentence):
        mixed(tmp_path, *overrides)


def test_one_tokenizer_serves_every_level_of_a_source(tmp_path: Path) -> None:
    """Trained on all of them, whatever their order; with train_on the user says on what, and further levels change nothing."""
    levels = ["builtin:web", "{builtin: web, seed: 1}"]
    several = [mixed(tmp_path, f"grid.data.web=[{', '.join(order)}]") for order in (levels, levels[::-1])]
    assert len({run.recipe["data"]["tokenizer"] for runs in several for run in runs}) == 1
    assert several[0][0].data.tokenizer.train_on
    fixed = "data.tokenizer={train_bpe: 512, train_on: [builtin:web]}"
    chosen = [mixed(tmp_path, fixed, *more) for more in ([], [f"grid.data.web=[{', '.join(levels)}]"])]
    assert len({run.recipe["data"]["tokenizer"] for runs in chosen for run in runs}) == 1


def test_nothing_is_left_to_decide(tmp_path: Path) -> None:
    text = TINY.replace("train: {lr: 0.004, batch_tokens: 512, warmup_steps: 10}", "").replace("[60k, 120k]", "[20M]")
    (run, _) = resolve.runs(load(write(tmp_path, text)))
    assert "auto" not in str(run.recipe)
    assert run.recipe["train"]["batch_tokens"] % run.recipe["data"]["seq_len"] == 0


def test_a_batch_must_be_whole_sequences(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"train.batch_tokens: 500 .* 64"):
        digests(tmp_path, TINY, "train.batch_tokens=500")


def test_a_schedule_of_the_whole_run_shares_no_trunk(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"cosine depends on the token budget .* launch: \{share: none\}"):
        digests(tmp_path, TINY, "train.schedule=cosine")
    runs = resolve.runs(load(write(tmp_path), None, ["train.schedule=cosine", "train.min_lr=0.1", "launch.share=none"]))
    assert {(run.recipe["train"]["schedule"], run.recipe["train"]["min_lr"]) for run in runs} == {("cosine", 0.1)}
    with pytest.raises(StudyError, match="min_lr: belongs to schedule: cosine and linear"):
        load(write(tmp_path), None, ["train.min_lr=0.1"])
    with pytest.raises(StudyError, match="decay: belongs to schedule: wsd"):
        load(write(tmp_path), None, ["train.schedule=linear", "train.decay=0.1"])


def test_a_long_warm_up_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="warm up for 50 of its 117 steps"):
        digests(tmp_path, TINY, "train.warmup_steps=50")


def test_the_shipped_studys_digests_change_with_the_numerics_version_alone() -> None:
    """What was trained before stays trained: an option that a study does not use must not be in its digests."""
    study = load(Path(__file__).parents[1] / "studies" / "quality_vs_quantity.yaml", None, ["train.precision=float32"])
    runs = [run.digest for run in resolve.runs(study)]
    assert (len(runs), grid.digest(runs)) == (54, "c63de4331b937a6c")


def test_the_backend_of_the_optimizer_is_no_factor(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="cannot be a factor"):
        digests(tmp_path, TINY, "grid.train.optimizer.backend=[auto, torch]")
