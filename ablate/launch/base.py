"""The contract of every launcher: start a command on a job folder, say whether it lives, ask it to stop.

Who lives is decided by the lock in the job's folder and by nothing else: the kernel drops a flock with
its process, so a worker that was killed is dead at once and one whose driver was killed still lives.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from ablate.errors import BusyError

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

    def start(self, folder: Path) -> Handle:
        """Start `python -m ablate.job FOLDER`."""


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


class Adopted:
    """A job that an earlier driver started and that still lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def alive(self) -> bool:
        return held(self.folder / "lock")

    def stop(self) -> None:
        try:
            holder = json.loads((self.folder / "lock").read_text())
        except ValueError:
            return
        if holder["host"] == socket.gethostname() and self.alive():
            os.kill(holder["pid"], signal.SIGTERM)

    def exit_reason(self) -> str:
        return "its worker ended (started by an earlier driver, so its exit status is unknown)"
