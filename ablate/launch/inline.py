"""Runs a job inside the driver's own process: for debugging, for tests, for one-core machines."""

from __future__ import annotations

import importlib
from pathlib import Path

from ablate.launch.base import Handle, hold


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
    """Does here what `python -m ablate.job FOLDER` does in a process of its own."""

    name = "inline"
    slots = 1

    def get_ready(self, compile: bool) -> None:
        """Nothing: the first job makes the imports, and the next ones find them."""

    def close(self) -> None:
        """Nothing was started."""

    def start(self, folder: Path) -> Handle:
        # by name: a job's imports (torch, transformers) take seconds that other drivers need not pay
        with hold(folder / "lock", f"the job {folder.name}"):
            importlib.import_module("ablate.job").work(folder)
        return InlineJob(folder)
