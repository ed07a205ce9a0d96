"""What a person sees while a study runs: a live grid in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence, Set
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ablate.baselines import Baseline
from ablate.progress import Progress
from ablate.store.record import mean_score
from ablate.study.grid import Run
from ablate.study.quantities import format_count, format_seconds
from ablate.workspace import Workspace

LINE_SECONDS = 15.0
"""Between two progress lines where there is no terminal."""


class Display:
    """Follows a drive (see drive.Watcher); everything shown is read from the run folders."""

    def __init__(self, console: Console, space: Workspace) -> None:
        self.console = console
        self.space = space
        self.live: Live | None = None
        self.began = time.monotonic()
        self.last_line = 0.0
        self.runs: Sequence[Run] = ()
        self.state: dict[str, str] = {}
        self.progress = Progress((), space)
        self.already = 0.0

    def planned(self, runs: Sequence[Run], done: Set[str]) -> None:
        self.runs = runs
        self.state = {r.digest: "done" if r.digest in done else "waiting" for r in runs}
        self.progress = Progress(runs, self.space)
        self.already = self.progress.done(self.state)
        left = len(runs) - len(done)
        self.console.print(f"{len(runs)} runs: {len(done)} done, {left} to go" if left else f"{len(runs)} runs: all done, nothing to train")

    def preparing(self) -> None:
        self.console.print("preparing the tokenizer and the token shards")

    def said(self, line: str) -> None:
        self.console.print(f"  {line}")

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
            self.console.print(f"  done    {what}, seed {run.seed}: {_scored(outcome)}, loss {train['final_loss']:.3f}, {took}")
        else:
            self.console.print(f"  failed  {what}, seed {run.seed}: {outcome['error']}")

    def compared(self, baseline: Baseline, outcome: dict[str, Any]) -> None:
        self.console.print(f"  scored  the baseline {baseline.name}: {outcome['error'] or _scored(outcome)}")

    def restarted(self, job: str, reason: str) -> None:
        self.console.print(f"  job {job}: {reason}; started once more")

    def tick(self, running: Sequence[Run]) -> None:
        for run in running:
            self.state[run.digest] = "running"
        if self.live:
            self.live.update(self._view())
        elif time.monotonic() - self.last_line > LINE_SECONDS:
            self.last_line = time.monotonic()
            self.console.print(self._line())

    def stop(self) -> None:
        """Give the terminal back."""
        if self.live:
            self.live.stop()

    def _view(self) -> Group:
        table = Table(box=None, pad_edge=False)
        columns = sorted({r.tokens for r in self.runs})
        arms = sorted({r.factors["synthetic_ratio"] for r in self.runs})
        table.add_column("params")
        for tokens in columns:
            table.add_column(f"{format_count(tokens)} tokens")
        for params in sorted({r.params for r in self.runs}):
            cells = [[r for r in self.runs if r.params == params and r.tokens == tokens] for tokens in columns]
            table.add_row(format_count(params), *(_marks(cell, arms, self.state) for cell in cells))
        bar = ProgressBar(total=100, completed=100 * self.progress.done(self.state) / self.progress.total, width=40)
        return Group(table, bar, Text(self._line()))

    def _line(self) -> str:
        done = sum(s == "done" for s in self.state.values())
        elapsed = time.monotonic() - self.began
        ahead, made = self.progress.total - self.already, self.progress.done(self.state) - self.already
        left = format_seconds(elapsed * (ahead - made) / made) + " left" if made > 0.02 * ahead else "time left not known yet"
        rate = self.progress.tokens_per_s(self.state)
        speed = f", {rate / 1000:.0f}k tokens/s" if rate else ""
        return f"  {done} of {len(self.runs)} runs, {format_seconds(elapsed)} gone, {left}{speed}"


def _scored(outcome: dict[str, Any]) -> str:
    """The mean score, or what is in its way."""
    failed = sum(row.get("error") is not None for row in outcome["scores"])
    if failed:
        return f"{failed} of {len(outcome['scores'])} scores failed"
    mean = mean_score(outcome["scores"])
    return "no mean score" if mean is None else f"score {mean:+.3f}"


def _level(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return format_count(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


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
