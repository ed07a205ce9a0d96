"""Runs a job inside the driver's own process: for debugging, for tests, for one-core machines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ablate.launch.base import Handle


class InlineJob:
    """A job that has already ended when `start` returns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def alive(self) -> bool:
        return False

    def stop(self) -> None:
        """Nothing to stop."""

    def exit_reason(self) -> str:
        return f"it ended without an outcome; see {self.folder}"


class InlineLauncher:
    """`work` is what `python -m ablate.job FOLDER` would have done."""

    name = "inline"
    slots = 1

    def __init__(self, work: Callable[[Path], None]) -> None:
        self.work = work

    def start(self, folder: Path) -> Handle:
        self.work(folder)
        return InlineJob(folder)
