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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from ablate.errors import BusyError


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
    lock.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise BusyError(f"{what} is held by {_holder(lock)}; wait for it to end, or stop it") from None
        os.ftruncate(fd, 0)
        os.write(fd, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode())
        yield
    finally:
        os.close(fd)


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


def _holder(lock: Path) -> str:
    try:
        holder = json.loads(lock.read_text())
        return f"process {holder['pid']} on {holder['host']}"
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
