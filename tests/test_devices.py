"""`ablate run` with two devices a job, as a user runs it: processes killed, and the numbers of one device in the end."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from ablate.errors import StudyError
from ablate.resolve import runs
from ablate.study.load import load
from tests.studies import TINY, numbers, start, typed, write

ONE = (
    TINY.replace("synthetic_ratio: [0, 1]", "synthetic_ratio: [1]").replace("tokens: [60k, 120k]", "tokens: [60k]")
    .replace("warmup_steps: 10", "warmup_steps: 10, precision: float32").replace("slots: 2", "slots: 1, device: cpu")
)  # fmt: skip
TWO = ONE.replace("slots: 1", "slots: 1, devices: 2")


def test_a_step_that_cannot_be_dealt_evenly_is_refused(tmp_path: Path) -> None:
    study = load(write(tmp_path, TWO.replace("devices: 2", "devices: 3")))
    with pytest.raises(
        StudyError, match=r"the 8 sequences of a step .* cannot be dealt evenly to 3 devices; write train.batch_tokens: 576"
    ):
        runs(study)


def test_inline_has_no_processes_for_devices(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="needs a process for each"):
        load(write(tmp_path, TWO.replace("devices: 2", "devices: 2, with: inline")))


@pytest.mark.slow
def test_two_devices_give_the_numbers_of_one(tmp_path: Path) -> None:
    """One of two processes is killed on the way: the job is started again and goes on from its checkpoint."""
    alone, together = tmp_path / "alone", tmp_path / "together"
    alone.mkdir()
    together.mkdir()
    write(alone, ONE)
    typed("run", "tiny.yaml", "launch.with=inline", cwd=alone)
    write(together, TWO)
    driver = start("run", "tiny.yaml", cwd=together)
    deadline = time.monotonic() + 120
    while not list(together.glob("runs/families/*/trunk.sharded/state.json")):
        assert time.monotonic() < deadline and driver.poll() is None
        time.sleep(0.05)
    follower = next(together.glob("runs/jobs/*/lock.1"))
    os.kill(json.loads(follower.read_text())["pid"], signal.SIGKILL)
    out, err = driver.communicate(timeout=300)
    assert driver.returncode == 0, out + err
    assert "its worker ended with status 1" in out
    for one, two in zip(numbers(alone), numbers(together), strict=True):
        assert two[:2] == one[:2]
        if one[1] == "done":
            assert two[2:4] == pytest.approx(one[2:4], abs=0.005), "final loss and bits per byte"
    attempt = "select distinct devices, activation_checkpointing from attempts where status = 'done'"
    assert typed("query", attempt, "--format", "csv", cwd=together).splitlines()[1] == "2,0"
    assert not list(together.glob("runs/*/branch.*")), "checkpoints go when a run is recorded"
