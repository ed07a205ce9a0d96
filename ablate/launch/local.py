"""One process a job on this machine. A worker outlives its driver: it has a session of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

from ablate.launch.base import LAST_WORDS, Handle, ask_to_leave, lives, sign, take
from ablate.launch.forking import ForkServer, Started, can_fork

_SLOT = "slot"
"""In a job's folder: which of the launcher's slots it has, and so which GPUs."""


def environment(threads: int, compiled: Path, slot: int, gpus: int, devices: int = 1) -> dict[str, str]:
    """That of a worker: its threads, with which it compiles for a GPU too; where kernels are kept unless the user has said so to
    torch; and of `gpus` those that its slot has, `devices` of them: on a CPU none, for kernels are kept by the GPU that is seen, and
    no fork could use one. Who measures a job's speed must run in the same."""
    env = {"TORCHINDUCTOR_CACHE_DIR": str(compiled.absolute()), **os.environ}
    env.update(OMP_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM="false", TORCHINDUCTOR_COMPILE_THREADS=str(threads if gpus else 1))
    visible = env.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
    env["CUDA_VISIBLE_DEVICES"] = ",".join(visible[(slot * devices + i) % len(visible)] for i in range(devices if gpus else 0))
    return env


def fork_server(threads: int, compiled: Path, gpus: int, devices: int, compile: bool) -> ForkServer | None:
    """What forks workers in their environment, if they `compile` with the compiler loaded; None where they are started one by one."""
    return ForkServer(environment(threads, compiled, 0, 0), compile) if can_fork(gpus, devices) else None


class LocalJob:
    """A worker process of ours."""

    def __init__(self, folder: Path, poll: Callable[[], int | None]) -> None:
        self.folder = folder
        self._poll = poll
        self._ended = False
        self._status: int | None = None

    def alive(self) -> bool:
        if not self._ended and not lives(self.folder):
            try:
                self._status = self._poll()
                self._ended = self._status is not None
            except ConnectionError:
                self._ended = True
        return not self._ended

    def stop(self) -> None:
        ask_to_leave(self.folder)

    def exit_reason(self) -> str:
        status = self._status
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / LAST_WORDS).read_text(encoding="utf-8")
        if status is None:
            return f"its worker ended, why is unknown, for the process that it was forked from ended too; see {self.folder / 'log.txt'}"
        if status < 0:
            return f"its worker was killed by {signal.Signals(-status).name}" + (" (out of memory?)" if status == -signal.SIGKILL else "")
        return f"its worker ended with status {status}; see {self.folder / 'log.txt'}"


class LocalLauncher:
    """Starts `python -m ablate.job FOLDER` here, under torchrun where a job has several devices; each slot sees its own GPUs.
    On the CPU of a Linux machine, once it was told to get ready, a process that has made the imports forks itself and does the same."""

    name = "local"

    def __init__(self, slots: int, threads: int, compiled: Path, gpus: int = 0, devices: int = 1) -> None:
        self.slots = slots
        self.threads = threads
        self.compiled = compiled
        self.gpus = gpus
        self.devices = devices
        self._server: ForkServer | None = None

    def get_ready(self, compile: bool) -> None:
        self._server = self._server or fork_server(self.threads, self.compiled, self.gpus, self.devices, compile)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def start(self, folder: Path) -> Handle:
        slot = min(set(range(self.slots)) - _taken(folder.parent), default=0)
        # The worker inherits the job's lock: there is no moment in which it lives and a new driver could think that it does not.
        lock = take(folder / "lock", f"the job {folder.name}")
        try:
            (folder / _SLOT).write_text(str(slot), encoding="utf-8")
            with (folder / "log.txt").open("ab") as log:
                forked = self._server.job(folder, lock, log.fileno()) if self._server else None
                process, poll = forked or self._spawn(folder, lock, log, slot)
            sign(lock, process)
        finally:
            os.close(lock)
        return LocalJob(folder, poll)

    def _spawn(self, folder: Path, lock: int, log: IO[bytes], slot: int) -> Started:
        process = subprocess.Popen(
            self._command(folder, lock),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(lock,),
            env=environment(self.threads, self.compiled, slot, self.gpus, self.devices),
        )
        return process.pid, process.poll

    def _command(self, folder: Path, lock: int) -> list[str]:
        if self.devices == 1:
            return [sys.executable, "-m", "ablate.job", str(folder), str(lock)]
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
        return [*torchrun, "--nproc-per-node", str(self.devices), "-m", "ablate.job", str(folder)]


def _taken(jobs: Path) -> set[int]:
    """Slots of the jobs that live, whichever driver started them: a GPU goes to one job at a time."""
    return {int(path.read_text(encoding="utf-8")) for path in jobs.glob(f"*/{_SLOT}") if lives(path.parent)}
