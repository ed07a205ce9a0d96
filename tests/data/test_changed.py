"""Files that change under a study are refused, and no shard says that it is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ablate import prepare, resolve
from ablate.data import shards, tokenizer
from ablate.errors import DataError, StudyError
from ablate.study.load import load
from ablate.study.spec import Data, Source
from ablate.study.spec import Tokenizer as Spec
from ablate.workspace import Workspace
from tests.studies import TINY, write


def corpus(path: Path, mark: str) -> Path:
    path.write_text("".join(json.dumps({"text": f"the cat sat on a mat {mark} {i} times because it was warm"}) + "\n" for i in range(600)))
    return path


def test_while_they_are_tokenised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = corpus(tmp_path / "a.jsonl", "x")
    source, space = Source(files=str(path)), Workspace(tmp_path)
    bpe = tokenizer.load(tokenizer.prepare(Data(web=source, tokenizer=Spec(train_bpe=300)), space))
    append = shards._append

    def meanwhile(*arguments: Any) -> Any:
        corpus(path, "another")
        return append(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(shards, "_append", meanwhile)
        with pytest.raises(DataError, match="the files were changed while they were tokenised"):
            shards.prepare(source, 0, "t", bpe, 1, space)
    assert not [p for p in space.data.glob("*/manifest.json") if json.loads(p.read_text())["complete"]]
    assert shards.prepare(source, 0, "t", bpe, 1, space).byte_counts.size > 500


def test_put_back_after_part_of_the_change_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = corpus(tmp_path / "a.jsonl", "x")
    source, space = Source(files=str(path)), Workspace(tmp_path)
    bpe = tokenizer.load(tokenizer.prepare(Data(web=source, tokenizer=Spec(train_bpe=300)), space))
    monkeypatch.setattr(shards, "COMMIT_BYTES", 100)
    monkeypatch.setattr(shards, "BLOCK_DOCUMENTS", 50)
    undisturbed = shards.prepare(source, 0, "t", bpe, 1, Workspace(tmp_path / "other")).content
    append, blocks = shards._append, []

    def changed_later(*arguments: Any) -> Any:
        blocks.append(arguments)
        if len(blocks) == 5:
            corpus(path, "another")
        return append(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(shards, "_append", changed_later)
        with pytest.raises(DataError, match="the files were changed while they were tokenised"):
            shards.prepare(source, 0, "t", bpe, 1, space)
    assert len(blocks) == 5, "noticed before it was written down"
    assert not list(space.data.glob("*/manifest.json"))
    corpus(path, "x")
    assert shards.prepare(source, 0, "t", bpe, 1, space).content == undisturbed


def test_between_reading_the_study_and_preparing_it(tmp_path: Path) -> None:
    path = corpus(tmp_path / "a.jsonl", "x")
    study = load(write(tmp_path, TINY.replace("web: builtin:web", f"web: {{files: {path}}}")))
    runs = resolve.runs(study)
    corpus(path, "another")
    with pytest.raises(StudyError, match=r"data\.web: files: .* has changed since the study was read"):
        prepare.prepare(runs, study.evaluate, Workspace(tmp_path), 1)
