"""How a worker and a driver leave when they are asked to: a worker with a checkpoint where steps would be lost, else at once.

Everything but steps in memory is in files that count from the moment they are renamed into place, so a worker that is
compiling, scoring or reading may simply end. One that is training is given time to come to the end of a pass.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

GRACE_SECONDS = 10.0
"""Time to come to a place where a checkpoint can be written. Once it is being written, it is given all the time it takes."""
_SIGNALS = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)


class Leave:
    """Whether this process was asked to leave. Call it wherever a checkpoint could be written."""

    def __init__(self, asked: Callable[[], bool] = lambda: False) -> None:
        self._asked = asked
        self._at_stake = 0
        self.heard = False
        """Whether the work has been told, and so is leaving by itself."""

    def __call__(self) -> bool:
        self.heard = self._asked()
        return self.heard

    @property
    def loses_steps(self) -> bool:
        return self._at_stake > 0

    @contextmanager
    def at_stake(self) -> Iterator[None]:
        """While the block runs, there are steps that no checkpoint has."""
        self._at_stake += 1
        try:
            yield
        finally:
            self._at_stake -= 1


def on_signals() -> Leave:
    """From now on SIGTERM, SIGUSR2 and SIGINT ask this process to leave; call it in the main thread.

    A thread watches, for the main one may be inside a compiler, a kernel or a library for longer than anybody waits.
    """
    asked = threading.Event()
    leave = Leave(asked.is_set)
    inlet, outlet = os.pipe()
    os.set_blocking(outlet, False)
    signal.set_wakeup_fd(outlet)  # written to at once, whatever the main thread is doing
    for number in _SIGNALS:
        signal.signal(number, lambda _number, _frame: None)
    threading.Thread(target=_watch, args=(inlet, asked, leave), daemon=True).start()
    return leave


@contextmanager
def signals_as_interrupt() -> Iterator[None]:
    """SIGTERM and SIGUSR2 (Slurm's warning) to the driver are Ctrl-C."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGUSR2)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(inlet: int, asked: threading.Event, leave: Leave) -> None:
    while os.read(inlet, 1)[0] not in _SIGNALS:
        pass
    deadline = time.monotonic() + (GRACE_SECONDS if leave.loses_steps else 0)
    asked.set()
    while time.monotonic() < deadline and leave.loses_steps and not leave.heard:
        time.sleep(0.02)
    if not leave.heard:
        lost = f"no pass ended within {GRACE_SECONDS:g} s, so its steps since the last checkpoint are lost; " if leave.loses_steps else ""
        print(f"stopped; {lost}the same command goes on from what is kept", file=sys.stderr, flush=True)
        os._exit(1)
