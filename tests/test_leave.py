"""A worker that is asked to leave is gone within seconds, whatever it is doing. (That the next one goes on: test_drive.)"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate import prepare, resolve
from ablate.study import grid
from ablate.study.load import load
from ablate.train import device
from ablate.workspace import Workspace, write_json
from tests.studies import TINY, write, written

LIMIT_SECONDS = 20


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, list[grid.Run]]:
    """The data of one short family, ready."""
    space = Workspace(tmp_path_factory.mktemp("leave"))
    study = load(write(space.root, TINY.replace("[60k, 120k]", "[60k]").replace("[0, 1]", "[1]")))
    runs = resolve.runs(study)
    prepare.prepare(runs, study.evaluate, space, processes=1)
    return space, runs


def start(space: Workspace, runs: list[grid.Run], compile: bool, cache: Path) -> subprocess.Popen[str]:
    """A worker with a job for these runs."""
    rows = [
        {
            "digest": run.digest, "family": run.family, "recipe": run.recipe, "data": run.data.model_dump(mode="json"),
            "weights": run.weights, "fresh": True,
        }
        for run in runs
    ]  # fmt: skip
    study = load(space.root / "tiny.yaml").model_dump(mode="json", by_alias=True, include={"evaluate", "launch", "keep_models"})
    job = {
        "root": str(space.root), "study": study, "families": [rows], "device": "cpu", "compile": compile, "launcher": "test",
        "optimizer_backend": "torch",
    }  # fmt: skip
    folder = space.job(cache.name)
    write_json(folder / "job.json", job)
    env = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(cache), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "ablate.job", str(folder)], stderr=subprocess.PIPE, text=True, env=env)


def leaves(process: subprocess.Popen[str], when: Callable[[], bool], number: signal.Signals) -> str:
    """Signal the process once it is so far, and wait; what it said. Fails where it takes longer than anybody waits."""
    deadline = time.monotonic() + 120
    while not when():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"it never came so far: {process.communicate()[1]}")
        time.sleep(0.005)
    process.send_signal(number)
    began = time.monotonic()
    _, said = process.communicate(timeout=LIMIT_SECONDS)
    print(f"gone after {time.monotonic() - began:.2f} s")
    assert process.returncode == 1, said
    assert "the same command goes on" in said
    return said


@pytest.mark.slow
@pytest.mark.skipif(not device.can_compile(), reason="torch.compile needs a C++ compiler, and there is none here")
def test_while_it_compiles_it_leaves_at_once(prepared: tuple[Workspace, list[grid.Run]], tmp_path: Path) -> None:
    space, runs = prepared
    process = start(space, runs, True, tmp_path)
    assert "lost" not in leaves(process, lambda: bool(written(tmp_path, "**/*.cpp")), signal.SIGTERM)
    assert not list(space.runs.glob("*/outcome.json"))


def test_while_it_scores_it_keeps_what_is_scored(prepared: tuple[Workspace, list[grid.Run]], tmp_path: Path) -> None:
    space, runs = prepared
    folder = space.run(runs[0].digest)
    process = start(space, runs, False, tmp_path / "one")
    leaves(process, lambda: any((folder / "scores").glob("*.json")), signal.SIGUSR2)
    assert (folder / "train.json").exists() and not (folder / "outcome.json").exists()
