"""Who pays for seconds of training: those of a step, shared by the models that it trains, and those of a trunk, cut at the
forks, each piece shared by the runs that needed it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


class Clock:
    """Device-seconds of training that one model has to pay for: while `models` are trained at once, each pays for its share.

    It runs from the making of a batch to the collecting of losses, and stands still while something is compiled, saved or scored.
    """

    def __init__(self, devices: int = 1) -> None:
        self._seconds, self._models, self._devices = 0.0, 1, devices
        self._since: float | None = None

    def read(self) -> float:
        """The seconds so far; only differences mean anything."""
        now = time.perf_counter()
        if self._since is not None:
            self._seconds += (now - self._since) * self._devices / self._models
            self._since = now
        return self._seconds

    def start(self, models: int | None = None) -> None:
        """Run on, from now on shared by `models` if that is given."""
        self.read()
        self._models = models or self._models
        self._since = time.perf_counter()

    def stop(self) -> None:
        self.read()
        self._since = None


@dataclass(frozen=True)
class Segment:
    """A stretch of trunk that ends at the fork `end`. The runs in `payers` share it equally, and nobody else ever pays
    for it: a budget added later pays for its own extension only, so that all shares add up to what was spent."""

    end: int
    seconds: float
    lost_seconds: float
    payers: tuple[str, ...]


class Ledger:
    """The segments of one trunk, in order."""

    def __init__(self, rows: Sequence[dict[str, Any]] = ()) -> None:
        self._segments = [Segment(row["end"], row["seconds"], row["lost_seconds"], tuple(row["payers"])) for row in rows]

    def rows(self) -> list[dict[str, Any]]:
        """As JSON."""
        return [asdict(segment) for segment in self._segments]

    def close(self, end: int, seconds: float, lost_seconds: float, payers: Sequence[str]) -> None:
        """End a segment at the fork `end`, given the trunk's totals so far. A fork closed before stays as it is."""
        if self._segments and self._segments[-1].end >= end:
            return
        before = sum(s.seconds for s in self._segments)
        lost_before = sum(s.lost_seconds for s in self._segments)
        self._segments.append(Segment(end, seconds - before, lost_seconds - lost_before, tuple(payers)))

    def share(self, digest: str) -> tuple[float, float]:
        """(seconds, lost seconds) of the trunk that the run `digest` pays for."""
        mine = [s for s in self._segments if digest in s.payers]
        return sum(s.seconds / len(s.payers) for s in mine), sum(s.lost_seconds / len(s.payers) for s in mine)
