"""What a person sees while a study runs: a live grid in a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ablate.store.record import mean_score
from ablate.study.grid import Run
from ablate.study.quantities import format_count, format_seconds
from ablate.workspace import Workspace

LINE_SECONDS = 15.0
"""Between two progress lines where there is no terminal."""


class Display:
    """Follows a drive (see drive.Watcher); everything shown is read from the run folders."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live: Live | None = None
        self.began = time.monotonic()
        self.last_line = 0.0
        self.runs: Sequence[Run] = ()
        self.state: dict[str, str] = {}
        self.already = 0.0

    def planned(self, runs: Sequence[Run], done: Set[str]) -> None:
        self.runs = runs
        self.state = {r.digest: "done" if r.digest in done else "waiting" for r in runs}
        self.already = sum(_cost(r) for r in runs if r.digest in done)
        left = len(runs) - len(done)
        self.console.print(f"{len(runs)} runs: {len(done)} done, {left} to go" if left else f"{len(runs)} runs: all done, nothing to train")

    def preparing(self) -> None:
        self.console.print("preparing the tokenizer and the token shards")

    def started(self, jobs: int, slots: int) -> None:
        self.console.print(f"training: {jobs} jobs on {slots} slot{'s' * (slots != 1)}")
        if self.console.is_terminal:
            self.live = Live(console=self.console, refresh_per_second=4, transient=True)
            self.live.start()

    def finished(self, run: Run, outcome: dict[str, Any]) -> None:
        self.state[run.digest] = outcome["status"]
        what = ", ".join(f"{name} {_level(value)}" for name, value in run.factors.items())
        if outcome["status"] == "done":
            train = outcome["train"]
            took = format_seconds(train["train_seconds"])
            score = f"score {mean_score(outcome['scores']):+.3f}, loss {train['final_loss']:.3f}"
            self.console.print(f"  done    {what}, seed {run.seed}: {score}, {took}")
        else:
            self.console.print(f"  failed  {what}, seed {run.seed}: {outcome['error']}")

    def restarted(self, job: str, reason: str) -> None:
        self.console.print(f"  job {job}: {reason}; started once more")

    def tick(self, space: Workspace, waiting: Sequence[Run]) -> None:
        for run in waiting:
            self.state[run.digest] = "running"
        if self.live:
            self.live.update(self._view(space))
        elif time.monotonic() - self.last_line > LINE_SECONDS:
            self.last_line = time.monotonic()
            self.console.print(self._line(space))

    def stop(self) -> None:
        """Give the terminal back."""
        if self.live:
            self.live.stop()

    def _view(self, space: Workspace) -> Group:
        table = Table(box=None, pad_edge=False)
        columns = sorted({r.tokens for r in self.runs})
        arms = sorted({r.factors["synthetic_ratio"] for r in self.runs})
        table.add_column("params")
        for tokens in columns:
            table.add_column(f"{format_count(tokens)} tokens")
        for params in sorted({r.params for r in self.runs}):
            cells = [[r for r in self.runs if r.params == params and r.tokens == tokens] for tokens in columns]
            table.add_row(format_count(params), *(_marks(cell, arms, self.state) for cell in cells))
        bar = ProgressBar(total=100, completed=100 * self._share(), width=40)
        return Group(table, bar, Text(self._line(space)))

    def _share(self) -> float:
        total = sum(_cost(r) for r in self.runs)
        return sum(_cost(r) for r in self.runs if self.state[r.digest] in ("done", "failed")) / total if total else 1.0

    def _line(self, space: Workspace) -> str:
        done = sum(s == "done" for s in self.state.values())
        elapsed = time.monotonic() - self.began
        total = sum(_cost(r) for r in self.runs)
        now = self._share() * total - self.already
        left = format_seconds(elapsed * (total - self.already - now) / now) + " left" if now > 0 else "time left not known yet"
        rates = [rate for path in _metrics(space, self.runs, self.state) if (rate := _last_rate(path))]
        speed = f", {format_count(sum(rates))} tokens/s" if rates else ""
        return f"  {done} of {len(self.runs)} runs, {format_seconds(elapsed)} gone, {left}{speed}"


def _cost(run: Run) -> float:
    return float(run.params) * run.tokens


def _level(value: Any) -> str:
    return (
        format_count(value)
        if isinstance(value, int) and not isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _marks(cell: Sequence[Run], arms: Sequence[float], state: dict[str, str]) -> Text:
    text = Text()
    looks = {"done": ("●", "green"), "failed": ("✗", "red"), "running": ("◐", "yellow"), "waiting": ("·", "dim")}
    for arm in arms:
        for run in cell:
            if run.factors["synthetic_ratio"] == arm:
                mark, style = looks[state[run.digest]]
                text.append(mark, style=style)
        text.append(" ")
    return text


def _metrics(space: Workspace, runs: Sequence[Run], state: dict[str, str]) -> list[Path]:
    """metrics.jsonl of what trains now: written to within the last 20 seconds."""
    folders = {space.family(r.family) for r in runs if state[r.digest] == "running"} | {
        space.run(r.digest) for r in runs if state[r.digest] == "running"
    }
    fresh = time.time() - 20
    return [p for folder in folders if (p := folder / "metrics.jsonl").exists() and p.stat().st_mtime > fresh]


def _last_rate(path: Path) -> float | None:
    with path.open("rb") as f:
        f.seek(max(0, os.fstat(f.fileno()).st_size - 2000))
        lines = f.read().splitlines()
    try:
        return float(json.loads(lines[-1])["tokens_per_s"])
    except (IndexError, ValueError, KeyError):
        return None  # a line that is just being written
