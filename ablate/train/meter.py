"""metrics.jsonl: what a person or a figure reads about a run, one JSON object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ablate.workspace import renamed_into_place

FILE = "metrics.jsonl"


class Meter:
    """Appends lines to a folder's metrics.jsonl.

    A line: step (steps done), tokens (seen so far), loss (nats a token, mean since the line before), lr, grad_norm
    (of the last step, before clipping), tokens_per_s, seconds (of training so far).
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / FILE

    def write(self, line: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as f:
            f.write(json.dumps(line, allow_nan=False) + "\n")

    def rewind(self, step: int, seconds: float) -> float:
        """Drop what was written after the checkpoint at `step`; returns the seconds of training that were lost with it."""
        kept = lines(self._path)
        dropped = [line for line in kept if line["step"] > step]
        self.restart([line for line in kept if line["step"] <= step])
        return max(0.0, dropped[-1]["seconds"] - seconds) if dropped else 0.0

    def restart(self, kept: list[dict[str, Any]]) -> None:
        """Replace the file's lines."""
        with renamed_into_place(self._path) as part:
            part.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")


def lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a metrics file; none where there is no file. A line cut short by a kill ends it."""
    found: list[dict[str, Any]] = []
    if path.exists():
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                found.append(json.loads(text))
            except ValueError:
                break
    return found
