"""How far a study is, from what its jobs have written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ablate import resolve
from ablate.progress import Progress
from ablate.study.grid import families
from ablate.study.load import load
from ablate.workspace import Workspace
from tests.studies import write


def metrics(folder: Path, tokens: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text(json.dumps({"tokens": tokens, "tokens_per_s": 1000.0}) + "\n")


def test_work_grows_from_nothing_to_all(tmp_path: Path) -> None:
    runs = resolve.runs(load(write(tmp_path)))
    space = Workspace(tmp_path)
    progress = Progress(runs, space)
    state = {run.digest: "waiting" for run in runs}
    seen = [progress.done(state)]
    first = families(runs)[0]
    state.update({run.digest: "running" for run in first.runs})
    metrics(space.family(first.digest), 20_000)
    seen.append(progress.done(state))
    assert progress.tokens_per_s(state) == 1000
    metrics(space.family(first.digest), 93 * 512)
    metrics(space.run(first.runs[0].digest), 110 * 512)
    seen.append(progress.done(state))
    assert progress.tokens_per_s(state) == 1000, "the trunk waits while a branch trains"
    state[first.runs[0].digest] = "done"
    seen.append(progress.done(state))
    state.update({run.digest: "done" for run in first.runs})
    seen.append(progress.done(state))
    assert seen == sorted(set(seen)) and seen[0] == 0
    assert seen[-1] == pytest.approx(progress.total / 2)
    state.update({run.digest: "failed" for run in runs})
    assert progress.done(state) == progress.total
