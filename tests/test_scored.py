"""What may be measured: no text that an arm trains on, under whatever name it is given."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from ablate.errors import DataError, StudyError
from ablate.scored import Wanted
from ablate.study.load import load
from tests.studies import TINY, write


def wanted(folder: Path, web: dict[str, Any], measured: dict[str, Any]) -> Wanted:
    study = load(write(folder, TINY.replace("web: builtin:web", f"web: {web}\n  held_out: {{other: {measured}}}")))
    return Wanted(study.evaluate, study.data)


def test_a_text_that_is_trained_on_is_not_held_out(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(f"A robin is a bird, says {name}.")
    shutil.copy(tmp_path / "a.txt", tmp_path / "copy.txt")
    a, every, copy = ({"files": str(tmp_path / name)} for name in ("a.txt", "?.txt", "copy.txt"))
    for measured in (a, copy):
        with pytest.raises(StudyError, match=r"data\.held_out\.other: files: .* is also what data\.web trains on"):
            wanted(tmp_path, every, measured).check()
    wanted(tmp_path, {"files": str(tmp_path / "b.txt")}, a).check()
    wanted(tmp_path, {"builtin": "web"}, {"builtin": "web"}).check()


def test_two_conditions_may_part_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one", "n": 1}\n{"text": "two", "n": 2}\n')
    web, measured = ({"files": str(tmp_path / "a.jsonl"), "where": f"n == {n}"} for n in (1, 2))
    wanted(tmp_path, web, measured).check()
    with pytest.raises(StudyError, match="trains on"):
        wanted(tmp_path, web, web).check()


def test_answers_that_leave_no_room_for_a_prompt_are_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "g.jsonl").write_text('{"question": "1 + 1?", "answer": "#### 2"}\n{"question": "1 + 2?", "answer": "#### 3"}\n')
    study = TINY.replace("[builtin:grammar, builtin:which_kind]", f"[{{task: gsm8k, files: {tmp_path}/g.jsonl, shots: 0}}]")
    with pytest.raises(DataError, match=r"evaluate\.benchmarks: gsm8k: up to 256 tokens are to be written, and the model sees 64 at once"):
        wanted_of(tmp_path, study).check()
    wanted_of(tmp_path, study.replace("seq_len: 64", "seq_len: 257")).check()


def test_a_task_of_lm_eval_by_the_name_of_a_benchmark_is_refused(tmp_path: Path) -> None:
    study = TINY.replace("builtin:which_kind]", "builtin:which_kind], lm_eval: [grammar]")
    with pytest.raises(StudyError, match="a benchmark is called grammar already"):
        wanted_of(tmp_path, study).check()


def wanted_of(folder: Path, text: str) -> Wanted:
    study = load(write(folder, text))
    return Wanted(study.evaluate, study.data)
