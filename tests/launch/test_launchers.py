"""One contract for every launcher: a job starts, holds its lock while it lives, and ends; and locks themselves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ablate.errors import BusyError
from ablate.launch.base import Adopted, Handle, Launcher, held, hold
from ablate.launch.inline import InlineLauncher
from ablate.launch.local import LocalJob, LocalLauncher, environment
from ablate.workspace import write_json


@pytest.fixture(params=["local", "inline", pytest.param("torchrun", marks=pytest.mark.slow)])
def launcher(request: pytest.FixtureRequest, tmp_path: Path) -> Launcher:
    if request.param == "inline":
        return InlineLauncher()
    return LocalLauncher(2, 1, tmp_path / "compiled", devices=2 if request.param == "torchrun" else 1)


def job(folder: Path, name: str = "a job, with 'quotes'") -> Path:
    """A job with nothing to do."""
    study = {"evaluate": {}, "launch": {"share": "trunk", "pack": "auto", "activation_checkpointing": "auto"}, "keep_models": "all"}
    path = folder / "jobs" / name
    write_json(
        path / "job.json",
        {
            "root": str(folder),
            "study": study,
            "families": [],
            "device": "cpu",
            "compile": False,
            "launcher": "test",
            "optimizer_backend": "auto",
        },
    )
    return path


def test_kernels_are_kept_in_the_folder_of_the_study_unless_torch_was_told_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    assert environment(1, tmp_path, slot=0, gpus=0)["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/everybody/s")
    assert environment(1, tmp_path, slot=0, gpus=0)["TORCHINDUCTOR_CACHE_DIR"] == "/everybody/s"


def test_a_job_starts_and_ends(launcher: Launcher, tmp_path: Path) -> None:
    handle = launcher.start(job(tmp_path))
    deadline = time.monotonic() + 60
    while handle.alive():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (handle.folder / "lock").exists()
    assert not held(handle.folder / "lock")
    assert not Adopted(handle.folder).alive()
    assert handle.exit_reason()


def test_a_lock_names_its_holder_and_goes_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from ablate.launch.base import hold\n"
        "with hold(Path(sys.argv[1]), 'it'):\n    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    assert held(tmp_path / "lock")
    with pytest.raises(BusyError, match=f"process {holder.pid} on"), hold(tmp_path / "lock", "the folder"):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert not held(tmp_path / "lock")
    with hold(tmp_path / "lock", "the folder"):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_each_slot_sees_one_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert [environment(1, tmp_path, slot, gpus=2)["CUDA_VISIBLE_DEVICES"] for slot in range(2)] == ["4", "7"]


def test_each_slot_sees_as_many_gpus_as_a_job_has_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,4,6")
    assert [environment(1, tmp_path, slot, gpus=4, devices=2)["CUDA_VISIBLE_DEVICES"] for slot in range(2)] == ["0,2", "4,6"]


def test_a_living_job_keeps_its_slot_whichever_driver_started_it(tmp_path: Path) -> None:
    """So a new driver starts nothing on the GPU of a job that it adopts."""
    started = [LocalLauncher(2, 1, tmp_path / "compiled").start(job(tmp_path, name)) for name in ("a", "b")]
    try:
        assert [(handle.folder / "slot").read_text() for handle in started] == ["0", "1"]
        _kill(started[0])
        started.append(LocalLauncher(2, 1, tmp_path / "compiled").start(job(tmp_path, "c")))
        assert (started[-1].folder / "slot").read_text() == "0"
    finally:
        for handle in started:
            _kill(handle)


def _kill(handle: Handle) -> None:
    assert isinstance(handle, LocalJob)
    handle.process.kill()
    handle.process.wait()


@pytest.mark.slow
def test_the_processes_of_a_job_die_with_torchrun(tmp_path: Path) -> None:
    handle = LocalLauncher(1, 1, tmp_path / "compiled", devices=2).start(job(tmp_path))
    deadline = time.monotonic() + 60
    while not all(held(handle.folder / f"lock.{rank}") for rank in (0, 1)):
        assert time.monotonic() < deadline and handle.alive()
        time.sleep(0.01)
    os.kill(json.loads((handle.folder / "lock").read_text())["pid"], signal.SIGKILL)
    while handle.alive() or Adopted(handle.folder).alive():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not any(held(lock) for lock in handle.folder.glob("lock*"))
