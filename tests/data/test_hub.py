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
from transformers import PreTrainedTokenizerFast

from ablate.data import tokenizer
from tests.data.hub_stub import COMMIT, hub
from tests.studies import TINY, write

pytest.importorskip("datasets", reason="the extra `hf` is not installed")

CARD = """---
configs:
- config_name: default
  data_files: [{split: train, path: data/train-*}, {split: test, path: data/test-*}]
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
    text = TINY.replace("builtin:web", web).replace("{train_bpe: 512}", "hf:owner/words").replace("seq_len: 64", "seq_len: 64\n  max_epochs: 100")
    return str(write(folder, text))


def test_prefetched_once_no_network_is_needed(asked: list[str], tmp_path: Path) -> None:
    written = study(tmp_path)
    before = ablate(tmp_path, "prefetch", written, status=2, **OFFLINE)
    assert "hf:owner/words is not on this machine, and the hub cannot be reached" in before
    fetched = ablate(tmp_path, "prefetch", written)
    assert f"data set hf: owner/pages at {COMMIT[:12]}: 2 files" in fetched
    assert "everything is here" in fetched
    assert not any("test-0" in request and "GET" in request for request in asked), "only the split that is asked for"
    asked.clear()
    again = ablate(tmp_path, "prefetch", written, **OFFLINE)
    planned = json.loads(ablate(tmp_path, "plan", written, "--format", "json", **OFFLINE).partition("\n{")[2].join(["{", ""]))
    assert again == fetched
    assert planned["absent"] == []
    assert planned["epochs"]["web"] > 1
    assert asked == []


READ = """
from ablate.data import sources
from ablate.data.hygiene import Tally
from ablate.study.spec import Source
source = Source(hf="owner/pages", where="score > 1", revision=REVISION)
print(sources.digest(source), len(list(sources.read(source, Tally()))))
"""


def read(revision: str, **env: str) -> str:
    code = READ.replace("REVISION", repr(revision))
    return subprocess.run([sys.executable, "-c", code], env={**os.environ, **env}, text=True, capture_output=True, check=True).stdout


def test_a_branch_means_the_commit_that_it_meant_first(asked: list[str]) -> None:
    first = read("main")
    assert first.split()[1] == "180"
    assert read("main", **OFFLINE) == first == read(COMMIT, **OFFLINE)
    assert sum("revision/main" in request for request in asked) == 1


@pytest.mark.parametrize(
    ("web", "sentence"),
    [
        ("hf:owner/nothing", "hf:owner/nothing is not on the hub, or not for you"),
        ("{hf: owner/pages, split: dev}", "owner/pages has no split 'dev'; it has: train, test"),
        ("{hf: owner/pages, config: german}", "owner/pages: "),
    ],
)
def test_what_the_hub_does_not_have(asked: list[str], tmp_path: Path, web: str, sentence: str) -> None:
    assert sentence in ablate(tmp_path, "prefetch", study(tmp_path, web), status=2)


def test_without_a_network_a_plan_says_what_is_absent_and_a_run_is_refused(tmp_path: Path) -> None:
    shipped = str(Path(__file__).parents[2] / "studies" / "tinystories_to_7b.yaml")
    env = {"HF_HOME": str(tmp_path / "hf"), **OFFLINE}
    planned = ablate(tmp_path, "plan", shipped, **env)
    assert "absent    hf: HuggingFaceTB/smollm-corpus is not on this machine" in planned
    assert "7B" in planned
    assert "run `ablate prefetch STUDY` where there is a network" in ablate(tmp_path, "run", shipped, status=2, **env)
