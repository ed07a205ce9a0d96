"""How far a study is, read from the metrics that its jobs write: for the display's bar and the time left."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ablate.study.grid import Family, Run, families
from ablate.train import schedule
from ablate.workspace import Workspace

FIXED_PARAMS = 70_000
"""A step costs about as much as for this many more parameters, whatever its size (measured on a CPU: docs/performance.md)."""
FRESH_SECONDS = 20.0
"""Metrics older than this are not of something that trains now."""


class Progress:
    """Work done and to do. The unit is a parameter times a token of training."""

    def __init__(self, runs: Sequence[Run], space: Workspace) -> None:
        self.space = space
        self.families = families(runs)
        self.total = sum(_work(f, _end(f), {r.digest: _tokens(r) for r in f.runs}) for f in self.families)

    def done(self, state: Mapping[str, str]) -> float:
        """Work behind us; `state` is the status of every run by digest."""
        return sum(self._done(family, state) for family in self.families)

    def tokens_per_s(self, state: Mapping[str, str]) -> float:
        """Of all that trains now, together."""
        rate, fresh = 0.0, time.time() - FRESH_SECONDS
        for family in self.families:
            running = [self.space.run(r.digest) for r in family.runs if state[r.digest] == "running"]
            written = {p.stat().st_mtime: p for f in [self.space.family(family.digest), *running] if (p := f / "metrics.jsonl").exists()}
            if running and written and max(written) > fresh:  # a trunk or one branch: never both at once
                rate += float(_last(written[max(written)]).get("tokens_per_s", 0.0))
        return rate

    def _done(self, family: Family, state: Mapping[str, str]) -> float:
        ended = [r for r in family.runs if state[r.digest] in ("done", "failed")]
        reached = {r.digest: _tokens(r) for r in ended}
        if len(ended) == len(family.runs):
            return _work(family, _end(family), reached)
        if not any(state[r.digest] == "running" for r in family.runs):
            return 0.0
        trunk = _last(self.space.family(family.digest) / "metrics.jsonl").get("tokens", 0)
        active = [r for r in family.runs if r.digest not in reached]
        for run in active[:1]:  # ascending in tokens: the others wait for the trunk
            reached[run.digest] = max(_fork(run), int(_last(self.space.run(run.digest) / "metrics.jsonl").get("tokens", 0)))
        return _work(family, max(int(trunk), *(_fork(r) for r in ended), 0), reached)


def _work(family: Family, trunk_tokens: int, reached: Mapping[str, int]) -> float:
    """Work of the trunk up to `trunk_tokens` and of each branch up to the tokens it has reached."""
    branches = sum(max(0, reached.get(r.digest, 0) - _fork(r)) for r in family.runs)
    return float((family.runs[0].params + FIXED_PARAMS) * (trunk_tokens + branches))


def _end(family: Family) -> int:
    return max(_fork(r) for r in family.runs)


def _fork(run: Run) -> int:
    train = run.recipe["train"]
    return schedule.fork_of(schedule.steps_of(run.tokens, train["batch_tokens"]), train["decay"]) * int(train["batch_tokens"])


def _tokens(run: Run) -> int:
    batch = int(run.recipe["train"]["batch_tokens"])
    return schedule.steps_of(run.tokens, batch) * batch


def _last(path: Path) -> dict[str, float]:
    """The last whole line of a metrics.jsonl; empty where there is none yet."""
    try:
        with path.open("rb") as f:
            f.seek(max(0, os.fstat(f.fileno()).st_size - 2000))
            lines = [line for line in f.read().split(b"\n")[:-1] if line]
    except FileNotFoundError:
        return {}
    return dict(json.loads(lines[-1])) if lines and lines[-1].startswith(b"{") else {}
