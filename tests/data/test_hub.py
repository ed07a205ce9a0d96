"""Data sets and tokenizers of a hub on this machine: fetched once, pinned, and then read without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from huggingface_hub import constants
from transformers import PreTrainedTokenizerFast

from ablate import plan
from ablate.data import tokenizer
from ablate.study.load import load
from ablate.workspace import Workspace
from tests.data.hub_stub import COMMIT, hub
from tests.studies import TINY, write

pytest.importorskip("datasets", reason="the extra `hf` is not installed")

CARD = """---
configs:
- config_name: default
  data_files: [{split: train, path: data/train-*}, {split: test, path: data/test-*}]
---
"""
CARD_OF_LINES = """---
configs:
- config_name: default
  data_files: [{split: train, path: lines-*}]
---
"""
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hub")
    pages, made = root / "datasets" / "owner" / "pages", root / "models" / "owner" / "words"
    (pages / "data").mkdir(parents=True)
    (pages / "README.md").write_text(CARD)
    rows = [{"text": f"page {i} of the hub says that {i} + 1 is {i + 1}", "score": i % 5} for i in range(300)]
    for name, some in {"train-0": rows[:200], "train-1": rows[200:], "test-0": rows[:9]}.items():
        pyarrow.parquet.write_table(pa.Table.from_pylist(some), pages / "data" / f"{name}.parquet")
    lines = root / "datasets" / "owner" / "lines"
    lines.mkdir()
    (lines / "README.md").write_text(CARD_OF_LINES)
    for n in range(3):
        (lines / f"lines-{n}.jsonl").write_text("".join(json.dumps({"text": f"line {10 * n + i}"}) + "\n" for i in range(10)))
    goals = root / "datasets" / "baber" / "piqa"
    (goals / "data").mkdir(parents=True)
    (goals / "README.md").write_text(CARD.replace("test", "validation"))
    asked = [{"goal": f"count to {i}", "sol1": f"say {i}", "sol2": "say nothing", "label": 0} for i in range(3)]
    for name in ("train-0", "validation-0"):
        pyarrow.parquet.write_table(pa.Table.from_pylist(asked), goals / "data" / f"{name}.parquet")
    bpe = tokenizer.train_bpe([[row["text"] for row in rows] * 2], 300)
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>").save_pretrained(made)
    return root


@pytest.fixture
def asked(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    with hub(root) as (address, asked):
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        yield asked


def ablate(folder: Path, *arguments: str, status: int = 0, **env: str) -> str:
    """The hub's libraries read their environment as they load: a process of its own."""
    command = [sys.executable, "-m", "ablate", *arguments]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **env}, text=True, capture_output=True, timeout=120)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def study(folder: Path, web: str = '{hf: owner/pages, where: "score > 1"}') -> str:
    text = (
        TINY.replace("builtin:web", web + '\n  held_out: {some: {hf: owner/lines, split: "train[:15]"}}')
        .replace("{train_bpe: 512}", "hf:owner/words")
        .replace("seq_len: 64", "seq_len: 64\n  max_epochs: 100")
        .replace("builtin:which_kind", "{task: piqa, shots: 2}")
    )
    return str(write(folder, text))


@pytest.mark.slow
def test_a_plan_asks_nobody_for_benchmarks(asked: list[str], tmp_path: Path) -> None:
    """In processes of their own: with a hub that answers, without one, and after all was fetched."""
    written = str(write(tmp_path, TINY.replace("builtin:which_kind", "{task: piqa, shots: 2}")))
    elsewhere, nowhere = ("launch.gpu=H100", "launch.mfu=0.4"), {"HF_ENDPOINT": "http://127.0.0.1:9"}
    gone = "benchmarks that are not on this machine: piqa: `ablate prefetch` fetches them"
    assert gone in ablate(tmp_path, "plan", written, *elsewhere) and asked == []
    assert "hf:baber/piqa is not on this machine, and the hub cannot be reached" in ablate(tmp_path, "run", written, status=2, **nowhere)
    ablate(tmp_path, "prefetch", written)
    assert "absent" not in ablate(tmp_path, "plan", written, *elsewhere, **nowhere)


@pytest.mark.slow
def test_prefetched_once_no_network_is_needed(asked: list[str], tmp_path: Path) -> None:
    written = study(tmp_path)
    fetched = ablate(tmp_path, "prefetch", written)
    assert f"data set hf: owner/pages at {COMMIT[:12]}: 2 files" in fetched
    assert f"data set hf: owner/lines at {COMMIT[:12]}: 2 files" in fetched, "a slice"
    assert fetched.count(f"data set hf: baber/piqa at {COMMIT[:12]}: 1 files") == 2, "the items, and the split of the examples"
    assert "everything is here" in fetched
    assert not any("test-0" in request and "GET" in request for request in asked), "only the split that is asked for"
    asked.clear()
    elsewhere = ("launch.gpu=H100", "launch.mfu=0.4")  # so that nothing is measured here
    planned = ablate(tmp_path, "plan", written, *elsewhere, **OFFLINE)
    assert "absent" not in planned
    assert "epochs" in planned
    assert asked == []


def script(code: str, **env: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **env}, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


READ = """
from ablate.data import sources
from ablate.data.hygiene import Tally
from ablate.study.spec import Source
for revision in REVISIONS:
    source = Source(hf="owner/pages", where="score > 1", revision=revision)
    print(sources.digest(source), len(list(sources.read(source, Tally()))))
"""


def test_a_branch_means_the_commit_that_it_meant_first(asked: list[str]) -> None:
    first = script(READ.replace("REVISIONS", "['main']"))
    assert first.split()[1] == "180"
    assert script(READ.replace("REVISIONS", f"['main', {COMMIT!r}]"), **OFFLINE) == 2 * first
    assert sum("revision/main" in request for request in asked) == 1


SLICED = """
import datasets
from ablate.data import hub, sources
from ablate.data.hygiene import Tally
from ablate.study.spec import Source
def lines(split):
    return Source(hf="owner/lines", split=split)
print(len(list(sources.read(Source(hf="owner/pages", split="train[:150]", where="score > 1"), Tally()))))
plain = [f"LINES/lines-{n}.jsonl" for n in range(3)]
for split in ("train[:3]", "train[5:15]", "train[12:20]"):
    print(list(sources.read(lines(split), Tally())) == list(datasets.load_dataset("json", data_files=plain, split=split)["text"]))
print([hub.is_here(lines(split)) for split in ("train[:15]", "train[18:20]", "train[:21]", "train[18:]", "train")])
print([sources.shares_text(lines("train[:10]"), lines(other)) for other in ("train[10:20]", "train[9:20]", "train")])
print(len({sources.digest(lines(split)) for split in ("train[:10]", "train[0:1_0]", "train[:11]", "train")}))
"""


def test_of_a_slice_the_files_that_hold_it_are_fetched_and_no_more(asked: list[str], root: Path) -> None:
    told = script(SLICED.replace("LINES", str(root / "datasets" / "owner" / "lines"))).splitlines()
    assert told[0] == "90", "where: is asked of the rows of the slice"
    assert told[1:4] == ["True"] * 3, "the rows that datasets gives"
    assert told[4] == "[True, True, False, False, False]"
    assert told[5] == "[False, True, True]"
    assert told[6] == "3"
    got = {request.rpartition("/")[2] for request in asked if request.startswith("GET") and "/resolve/" in request}
    assert got - {"README.md"} == {"train-0.parquet", "lines-0.jsonl", "lines-1.jsonl"}


REFUSED = """
from ablate.data import hub, sources
from ablate.data.hygiene import Tally
from ablate.errors import DataError
from ablate.study.spec import Source, Tokenizer
for options in OPTIONS:
    try:
        list(sources.read(Source(**options), Tally()))
    except DataError as e:
        print(type(e).__name__, e)
try:
    hub.tokenizer(Tokenizer(hf="owner/nothing"))
except DataError as e:
    print(type(e).__name__, e)
"""


def test_what_the_hub_does_not_have_and_what_it_refuses(asked: list[str]) -> None:
    wrong = [{"hf": "owner/nothing"}, {"hf": "owner/pages", "split": "dev"}, {"hf": "owner/pages", "config": "german"}]
    wrong += [{"hf": "owner/lines", "split": split} for split in ("train[:31]", "train[30:]")]
    wrong += [{"hf": "owner/closed"}, {"hf": "no--name/pages"}]
    lines = script(REFUSED.replace("OPTIONS", repr(wrong))).splitlines()
    sentences = [
        "DataError the data set hf:owner/nothing is not on the hub, or not for you",
        "DataError hf: owner/pages has no split 'dev'; it has: train, test",
        "DataError hf: owner/pages: ",
        "DataError hf: owner/lines: the split train has 30 rows, fewer than train[:31] asks for",
        "DataError hf: owner/lines: the split train has 30 rows, fewer than train[30:] asks for",
        "DataError the data set hf:owner/closed: the hub refused (",
        "DataError the data set hf:no--name/pages is no name that the hub could have (",
        "DataError the tokenizer hf:owner/nothing is not on the hub, or not for you",
    ]
    assert len(lines) == len(sentences)
    assert all(line.startswith(sentence) for line, sentence in zip(lines, sentences, strict=True)), lines


TASK = """
from ablate.errors import DataError
from ablate.evals.benchmarks import catalogue
from ablate.study.spec import Benchmark
try:
    catalogue([Benchmark(task="piqa")], fresh=False)
except DataError as e:
    print(type(e).__name__, e)
"""


def test_without_a_network_what_is_missing_gets_a_sentence(tmp_path: Path) -> None:
    lines = script(REFUSED.replace("OPTIONS", "[{'hf': 'owner/pages'}]") + TASK, **OFFLINE, HF_HOME=str(tmp_path / "hf")).splitlines()
    assert len(lines) == 3
    assert all(line.startswith("NetworkError") and "run `ablate prefetch STUDY`" in line for line in lines)
    assert all("where there is a network" in line for line in lines[:2])
    assert lines[2].startswith("NetworkError the data set hf:baber/piqa is not on this machine")


def test_the_shipped_study_is_priced_without_asking_anybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    path = Path(__file__).parents[2] / "studies" / "tinystories_to_7b.yaml"
    price = plan.price(load(path), Workspace(tmp_path))
    assert set(price.absent) == {"hf: HuggingFaceTB/smollm-corpus", "hf: HuggingFaceFW/fineweb-edu", "hf: Salesforce/wikitext"}
    assert [size.params for size in price.sizes][-1] == 7_000_000_000
    assert price.epochs == {}
    assert price.device_hours is not None
