"""One process a job on this machine. A worker outlives its driver: it has a session of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

from ablate.launch.base import LAST_WORDS, Handle, ask_to_leave, lives, sign, take
from ablate.launch.forking import ForkServer

_SLOT = "slot"
"""In a job's folder: which of the launcher's slots it has, and so which GPUs."""


_Started = tuple[int, Callable[[], int | None]]
"""A process, and what waits for its exit status."""


def environment(threads: int, compiled: Path, slot: int, gpus: int, devices: int = 1) -> dict[str, str]:
    """That of a worker: its threads, where kernels are kept unless the user has said so to torch, and of `gpus` those that its slot
    has, `devices` of them. Who measures a job's speed must run in the same."""
    env = {"TORCHINDUCTOR_CACHE_DIR": str(compiled.absolute()), **os.environ}
    env.update(OMP_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM="false", TORCHINDUCTOR_COMPILE_THREADS="1")
    if gpus:
        visible = env.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
        env["CUDA_VISIBLE_DEVICES"] = ",".join(visible[(slot * devices + i) % len(visible)] for i in range(devices))
    return env


class LocalJob:
    """A worker process of ours."""

    def __init__(self, folder: Path, wait: Callable[[], int | None]) -> None:
        """`wait` waits for its exit status, which may be unknown; asked once, when the lock is free."""
        self.folder = folder
        self._wait = wait
        self._ended = False
        self._status: int | None = None

    def alive(self) -> bool:
        if not self._ended and not lives(self.folder):
            self._ended, self._status = True, self._wait()
        return not self._ended

    def stop(self) -> None:
        ask_to_leave(self.folder)

    def exit_reason(self) -> str:
        status = self._status
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / LAST_WORDS).read_text(encoding="utf-8")
        if status is None:
            return f"its worker ended, and so did the process that knew how; see {self.folder / 'log.txt'}"
        if status < 0:
            return f"its worker was killed by {signal.Signals(-status).name}" + (" (out of memory?)" if status == -signal.SIGKILL else "")
        return f"its worker ended with status {status}; see {self.folder / 'log.txt'}"


class LocalLauncher:
    """Starts `python -m ablate.job FOLDER` here, under torchrun where a job has several devices; each slot sees its own GPUs.
    On the CPU of a Linux machine, once it was told to get ready, it has a process that did the imports fork itself."""

    name = "local"

    def __init__(self, slots: int, threads: int, compiled: Path, gpus: int = 0, devices: int = 1, compile: bool = False) -> None:
        self.slots = slots
        self.threads = threads
        self.compiled = compiled
        self.gpus = gpus
        self.devices = devices
        self.compile = compile
        self._server: ForkServer | None = None

    def get_ready(self) -> None:
        if not self.gpus and self.devices == 1 and sys.platform == "linux" and self._server is None:
            self._server = ForkServer(environment(self.threads, self.compiled, 0, 0), self.compile)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def start(self, folder: Path) -> Handle:
        slot = min(set(range(self.slots)) - _taken(folder.parent), default=0)
        # The worker inherits the job's lock: there is no moment in which it lives and a new driver could think that it does not.
        lock = take(folder / "lock", f"the job {folder.name}")
        (folder / _SLOT).write_text(str(slot), encoding="utf-8")
        with (folder / "log.txt").open("ab") as log:
            process, wait = self._fork(folder, lock, log) or self._spawn(folder, lock, log, slot)
        sign(lock, process)
        os.close(lock)
        return LocalJob(folder, wait)

    def _fork(self, folder: Path, lock: int, log: IO[bytes]) -> _Started | None:
        process = self._server.fork(folder, lock, log.fileno()) if self._server is not None else None
        if self._server is None or process is None:
            return None
        return process, partial(self._server.status, process)

    def _spawn(self, folder: Path, lock: int, log: IO[bytes], slot: int) -> _Started:
        process = subprocess.Popen(
            self._command(folder, lock),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(lock,),
            env=environment(self.threads, self.compiled, slot, self.gpus, self.devices),
        )
        return process.pid, process.wait

    def _command(self, folder: Path, lock: int) -> list[str]:
        if self.devices == 1:
            return [sys.executable, "-m", "ablate.job", str(folder), str(lock)]
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
        return [*torchrun, "--nproc-per-node", str(self.devices), "-m", "ablate.job", str(folder)]


def _taken(jobs: Path) -> set[int]:
    """Slots of the jobs that live, whichever driver started them: a GPU goes to one job at a time."""
    return {int(path.read_text(encoding="utf-8")) for path in jobs.glob(f"*/{_SLOT}") if lives(path.parent)}
