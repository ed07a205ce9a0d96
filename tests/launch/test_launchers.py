"""One contract for every launcher: a job starts, holds its lock while it lives, and ends; and locks themselves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ablate.errors import BusyError
from ablate.launch.base import Adopted, Handle, Launcher, held, hold
from ablate.launch.forking import MODULE
from ablate.launch.inline import InlineLauncher
from ablate.launch.local import LocalLauncher, environment
from ablate.train import device
from ablate.workspace import write_json

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="jobs are forked on Linux only")


@pytest.fixture(params=["local", "inline", pytest.param("torchrun", marks=pytest.mark.slow)])
def launcher(request: pytest.FixtureRequest, tmp_path: Path) -> Launcher:
    if request.param == "inline":
        return InlineLauncher()
    return LocalLauncher(2, 1, tmp_path / "compiled", devices=2 if request.param == "torchrun" else 1)


@pytest.fixture
def forking(tmp_path: Path) -> Iterator[LocalLauncher]:
    """One that is ready to fork its jobs."""
    launcher = LocalLauncher(2, 1, tmp_path / "compiled")
    launcher.get_ready(compile=False)
    yield launcher
    launcher.close()


def job(folder: Path, name: str = "a job, with 'quotes'", family: str | None = None) -> Path:
    """A job with nothing to do, or one that waits until nobody holds that family."""
    study = {"evaluate": {}, "launch": {"share": "trunk", "pack": "none", "activation_checkpointing": "auto"}, "keep_models": "all"}
    path = folder / "jobs" / name
    write_json(
        path / "job.json",
        {
            "root": str(folder),
            "study": study,
            "families": [[{"family": family}]] if family else [],
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
    assert [environment(3, tmp_path, slot=0, gpus=n)["TORCHINDUCTOR_COMPILE_THREADS"] for n in (0, 1)] == ["1", "3"]
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/everybody/s")
    assert environment(1, tmp_path, slot=0, gpus=0)["TORCHINDUCTOR_CACHE_DIR"] == "/everybody/s"


def test_a_job_starts_and_ends(launcher: Launcher, tmp_path: Path) -> None:
    launcher.get_ready(compile=False)
    handle = launcher.start(job(tmp_path))
    _wait(handle)
    launcher.close()
    assert (handle.folder / "lock").exists()
    assert not held(handle.folder / "lock")
    assert not Adopted(handle.folder).alive()
    assert handle.exit_reason()


@contextmanager
def busy(folder: Path) -> Iterator[str]:
    """A family that jobs wait for while the block runs."""
    with hold(folder / "runs" / "families" / "busy" / "lock", "the family"):
        yield "busy"


def _wait(handle: Handle) -> None:
    deadline = time.monotonic() + 60
    while handle.alive():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _pid(handle: Handle) -> int:
    return int(json.loads((handle.folder / "lock").read_text())["pid"])


@on_linux
def test_forked_jobs_are_processes_of_their_own(forking: LocalLauncher, tmp_path: Path) -> None:
    with busy(tmp_path) as family:
        first, second = forking.start(job(tmp_path, "a", family)), forking.start(job(tmp_path, "b"))
        assert os.getsid(_pid(first)) not in (os.getsid(0), *map(os.getsid, _servers(os.getpid())))
        _kill(first)
    assert "killed by SIGKILL" in first.exit_reason()
    _wait(second)
    assert "ended with status 0" in second.exit_reason()

    broken = tmp_path / "jobs" / "broken"
    write_json(broken / "job.json", {"root": str(tmp_path)})
    third = forking.start(broken)
    _wait(third)
    assert "ended with status 1" in third.exit_reason() and "log.txt" in third.exit_reason()
    assert "Traceback" in (broken / "log.txt").read_text()
    for handle in (first, second, third):
        with pytest.raises(ProcessLookupError):  # nor is it left as a zombie
            os.kill(_pid(handle), 0)


@pytest.mark.slow
@pytest.mark.skipif(not device.can_compile(), reason="torch.compile needs a C++ compiler, and there is none here")
@on_linux
def test_what_is_forked_has_no_thread_that_a_fork_would_miss(tmp_path: Path) -> None:
    code = (
        "import os; from pathlib import Path; from ablate import forkserver; forkserver.get_ready(compile=True)\n"
        "print(*(path.read_text() for path in Path('/proc/self/task').glob('*/comm')))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(1, tmp_path, 0, 0), capture_output=True, text=True, check=True)
    assert len([name for name in done.stdout.split() if not name.startswith("jemalloc")]) == 1, done.stdout  # jemalloc sees to itself


@on_linux
def test_a_job_whose_lock_was_deleted_is_waited_for(forking: LocalLauncher, tmp_path: Path) -> None:
    with busy(tmp_path) as family:
        handle = forking.start(job(tmp_path, "a", family))
        pid = _pid(handle)
        (handle.folder / "lock").unlink()
        assert handle.alive() and handle.alive()
        os.kill(pid, signal.SIGKILL)
        _wait(handle)
    assert "killed by SIGKILL" in handle.exit_reason()


@on_linux
def test_without_its_server_jobs_go_on_and_new_ones_start_by_themselves(forking: LocalLauncher, tmp_path: Path) -> None:
    with busy(tmp_path) as family:
        first = forking.start(job(tmp_path, "a", family))
        (server,) = _servers(os.getpid())
        os.kill(server, signal.SIGKILL)
        second = forking.start(job(tmp_path, "b"))
        _wait(second)
        assert first.alive()
        _kill(first)
    assert "why is unknown" in first.exit_reason() and "ended with status 0" in second.exit_reason()


@on_linux
def test_a_server_ends_with_its_driver_and_its_jobs_do_not(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from ablate.launch.local import LocalLauncher\n"
        "launcher = LocalLauncher(1, 1, Path(sys.argv[1])); launcher.get_ready(compile=False)\n"
        "launcher.start(Path(sys.argv[2])); print('started', flush=True); signal.pause()"
    )
    folder = job(tmp_path, family="busy")
    with busy(tmp_path):
        driver = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "compiled"), str(folder)], stdout=subprocess.PIPE, text=True)
        assert driver.stdout is not None and driver.stdout.readline() == "started\n"
        (server,) = _servers(driver.pid)
        driver.kill()
        driver.wait()
        driver.stdout.close()
        deadline = time.monotonic() + 20
        while _runs(server):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert Adopted(folder).alive()
        _kill(Adopted(folder))


@on_linux
def test_a_driver_that_is_stopped_before_the_server_is_ready_starts_nothing(tmp_path: Path) -> None:
    launcher, folder = LocalLauncher(1, 1, tmp_path / "compiled"), job(tmp_path)
    launcher.get_ready(compile=False)
    signal.setitimer(signal.ITIMER_REAL, 0.5)  # it imports for seconds
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            launcher.start(folder)
    finally:
        signal.signal(signal.SIGALRM, before)
        launcher.close()
    assert not _servers(os.getpid()) and not held(folder / "lock")


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


def test_a_job_on_the_cpu_sees_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert environment(1, tmp_path, slot=0, gpus=0)["CUDA_VISIBLE_DEVICES"] == ""


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
    with suppress(ProcessLookupError):
        os.kill(_pid(handle), signal.SIGKILL)
    _wait(handle)


def _servers(driver: int) -> list[int]:
    """The processes that `driver` has for forking."""
    children = Path(f"/proc/{driver}/task/{driver}/children").read_text().split()
    return [int(child) for child in children if MODULE in Path(f"/proc/{child}/cmdline").read_text()]


def _runs(process: int) -> bool:
    """Whether it is there, other than as a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


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
