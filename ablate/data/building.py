"""Building what several processes may want at once, one at a time, and by several processes: a full disk and a killed process
get their sentence."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ablate.errors import RunError
from ablate.workspace import room_for


@contextmanager
def alone(lock: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock file, waiting for whoever holds it now (`waiting` is called before); the system takes it back however its holder dies.

    Raises DiskFullError where the block finds no room.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("ab") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(f, fcntl.LOCK_EX)
        with room_for(lock.parent):
            yield


@contextmanager
def pool(processes: int, start: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()) -> Iterator[ProcessPoolExecutor]:
    """So many processes, each begun with `start(*arguments)`; they end when this one is interrupted or killed.

    Raises RunError where one of them is killed.
    """
    # spawn: a fork would inherit the threads' locks of the libraries that are loaded here
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, initializer=_begin, initargs=(start, arguments)) as made:
        try:
            yield made
        except BrokenProcessPool as e:
            raise RunError(
                "a process that worked on the text was killed, as the system does where memory is short; what is built so far is kept: "
                "free some memory, then run the same command again"
            ) from e
        except KeyboardInterrupt:  # else the pool would wait until all is done
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _begin(start: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if start is not None:
        start(*arguments)


def _end_with_parent() -> None:
    """A pool does not notice that the process it works for was killed, and would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
