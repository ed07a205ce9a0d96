"""The contract of every launcher: start a command on a job folder, say whether it lives, ask it to stop.

Who lives is decided by the lock in the job's folder and by nothing else: the kernel drops a flock with
its process, so a worker that was killed is dead at once and one whose driver was killed still lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from ablate.errors import BusyError

LAST_WORDS = "error.txt"
"""In a job's folder: why one of several processes ended, where it could say so."""
PROBE_SECONDS = 0.5
"""How long a lock may be found taken by somebody who only asks whether it is (`held` takes it for an instant)."""


class Handle(Protocol):
    """One started job."""

    folder: Path

    def alive(self) -> bool:
        """Whether its worker still runs."""

    def stop(self) -> None:
        """Ask it to write a checkpoint and leave; returns at once."""

    def exit_reason(self) -> str:
        """Once it is dead: why it ended, in words."""


class Launcher(Protocol):
    """Starts jobs; `slots` of them may live at once."""

    name: str
    slots: int

    def get_ready(self, compile: bool) -> None:
        """Begin with what every job needs, if they `compile` with the compiler, while their data are prepared; returns at once."""

    def start(self, folder: Path) -> Handle:
        """Start what `python -m ablate.job FOLDER` does."""

    def close(self) -> None:
        """Let go of what was made ready; what was started goes on."""


@contextmanager
def hold(lock: Path, what: str, wait: bool = False) -> Iterator[None]:
    """Hold `lock` while the block runs. If another holds it: wait for it, or BusyError naming its host and process."""
    fd = take(lock, what, wait)
    try:
        sign(fd, os.getpid())
        yield
    finally:
        os.close(fd)


def take(lock: Path, what: str, wait: bool = False) -> int:
    """Lock it and return the descriptor: the lock lasts as long as any process has it open."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + PROBE_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            return fd
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(fd)
                raise BusyError(f"{what} is held by {holder(lock)}; wait for it to end, or stop it") from None
            time.sleep(PROBE_SECONDS / 10)


def sign(fd: int, pid: int) -> None:
    """Say in the lock's file who holds it."""
    os.ftruncate(fd, 0)
    os.pwrite(fd, json.dumps({"host": socket.gethostname(), "pid": pid}).encode(), 0)


def held(lock: Path) -> bool:
    """Whether some process holds `lock`."""
    try:
        fd = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def holder(lock: Path) -> str:
    """Who holds the lock, in words."""
    try:
        signed = json.loads(lock.read_text())
        return f"process {signed['pid']} on {signed['host']}"
    except (ValueError, KeyError):
        return "another process"


def lives(folder: Path) -> bool:
    """Whether any process of the job in `folder` does: the one that the launcher started, or one that torchrun started for it."""
    return any(held(lock) for lock in sorted(folder.glob("lock*")))


def ask_to_leave(folder: Path) -> None:
    """Ask the job's first process, which the others follow, to write a checkpoint and leave."""
    for lock in (folder / "lock.0", folder / "lock"):
        if held(lock):
            with contextlib.suppress(ValueError, ProcessLookupError):
                signed = json.loads(lock.read_text())
                if signed["host"] == socket.gethostname():
                    os.kill(signed["pid"], signal.SIGTERM)
                return


@contextmanager
def stand(folder: Path, rank: int) -> Iterator[None]:
    """Be one of the processes that torchrun starts for a job: hold a lock of one's own, since it hands on no descriptor, and end when
    torchrun does, however it ends."""
    with hold(folder / f"lock.{rank}", f"place {rank} of the job {folder.name}"):
        parent = os.getppid()
        if (folder / "lock").exists() and not held(folder / "lock"):
            os._exit(1)

        def watch() -> None:
            while os.getppid() == parent:
                time.sleep(PROBE_SECONDS)
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
        yield


class Adopted:
    """A job that an earlier driver started and that still lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def alive(self) -> bool:
        return lives(self.folder)

    def stop(self) -> None:
        ask_to_leave(self.folder)

    def exit_reason(self) -> str:
        return "its worker ended (started by an earlier driver, so its exit status is unknown)"
