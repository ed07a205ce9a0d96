"""Building what several processes may want at once: one at a time, and a full disk gets its sentence."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ablate.workspace import room_for


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold the lock file, waiting for whoever holds it now; the system takes it back however its holder dies.

    Raises DiskFullError where the block finds no room.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("ab") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        with room_for(lock.parent):
            yield
