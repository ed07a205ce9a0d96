"""A stretch of training in one folder, step by step: lines, checkpoints, stopping, and going on where it stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ablate.errors import DivergedError, Interrupted
from ablate.leave import Leave
from ablate.train.guard import Guard
from ablate.train.lockstep import Seat, Step, Steps, Taken
from ablate.train.meter import FILE, Meter, lines

LINE_EVERY = 10  # steps between lines of metrics.jsonl, and between checks that the loss is finite
APART = 20  # times as long as the last checkpoint took to write: the least time until the next
TAIL = 0.05  # final_loss is the mean over this last share of the steps

Batches = Callable[[int, int], NDArray[np.int64]]


@dataclass
class Progress:
    """How far a stretch is. Saved with the tensors, so that a resumed run reports the numbers of an undisturbed one."""

    step: int = 0
    seconds: float = 0.0  # of training behind this state, the trunk's share of it included
    lost_seconds: float = 0.0  # trained here and thrown away by a kill
    pending: list[list[float]] = field(default_factory=list)  # [loss, gradient norm] of the steps since the last line
    tail_sum: float = 0.0
    tail_steps: int = 0
    pack: int = 1  # most that were trained at once behind this state
    micro_batch: int = 0  # sequences a pass behind this state, which a resumed run keeps to; 0 before the first checkpoint
    oom_halvings: int = 0
    guard: Guard = field(default_factory=Guard)
    notes: dict[str, Any] = field(default_factory=dict)  # the caller's: the trunk's ledger, what a branch took over


@dataclass(frozen=True)
class Plan:
    """What does not change along a stretch. `end` is None for a trunk, which has no last step."""

    lr: float
    scale: Callable[[int], float]
    sequences: int
    tokens: int
    end: int | None = None


class Walk:
    """Takes a model through one stretch. `name` is the checkpoint's; two walks may share a seat, one at a time."""

    def __init__(self, seat: Seat, plan: Plan, batch: Batches, folder: Path, name: str, every: float, leave: Leave) -> None:
        self.progress = Progress()
        self.folder = folder
        self._seat, self._plan, self._batch = seat, plan, batch
        self._name, self._every, self._leave = name, every, leave
        self._meter = Meter(folder)
        self._waiting: list[Taken] = []
        self._mark, self._saved, self._took = seat.clock.read(), time.perf_counter(), 0.0

    def resume(self) -> bool:
        """Load the newest whole checkpoint into the seat; False where there is none."""
        progress = self._seat.load(self.folder, self._name)
        if progress is None:
            return False
        self.progress = Progress(**{**progress, "guard": Guard(**progress.get("guard", {}))})
        self._seat.micro_batch = self.progress.micro_batch or self._seat.micro_batch
        self._seat.oom_halvings = self.progress.oom_halvings
        self.progress.lost_seconds += self._meter.rewind(self.progress.step, self.progress.seconds)
        return True

    def start(self) -> None:
        """Begin at step 0 with fresh weights."""
        self._seat.restore({})
        lost = self._meter.rewind(0, 0.0)
        self.progress = Progress(lost_seconds=lost)

    def follow(self, trunk: Walk, notes: dict[str, Any]) -> None:
        """Begin where `trunk` stands; the seat holds its state already."""
        lost = self._meter.rewind(trunk.progress.step, trunk.progress.seconds)
        before = trunk.progress
        self.progress = replace(before, lost_seconds=lost, pending=list(before.pending), guard=replace(before.guard), notes=notes)
        self._meter.restart([line for line in lines(trunk.folder / FILE) if line["step"] <= self.progress.step])

    def advance(self, end: int) -> Steps[None]:
        """Train up to step `end`. Raises DivergedError, and Interrupted (after a checkpoint) when asked to stop."""
        if self.progress.step < end:
            self._seat.prepare()
        self.progress.pack = max(self.progress.pack, self._seat.pack)
        self._mark, self._saved = self._seat.clock.read(), time.perf_counter()
        try:
            with self._leave.at_stake():
                yield from self._steps(end)
        finally:
            self._seat.clock.stop()

    def _steps(self, end: int) -> Steps[None]:
        while True:
            step = self.progress.step
            leaving, last = self._leave(), step >= end
            if leaving or last or step % LINE_EVERY == 0:
                self._collect()
            if leaving or time.perf_counter() - self._saved >= max(self._every, self._took * APART):
                self.save()
            if leaving:
                raise Interrupted(f"stopped at step {step}; a checkpoint is in {self.folder}, the same command goes on from it")
            if last:
                return
            self._seat.clock.start()
            batch = self._batch(step * self._plan.sequences, self._plan.sequences)
            try:
                self._waiting.append((yield Step(batch, self._plan.scale(step), self._leave)))
            except Interrupted:  # given up between two passes: nothing was updated, and the next round saves and leaves
                continue
            self.progress.step = step + 1

    def save(self) -> None:
        """Write a checkpoint. Its time is not training time."""
        began = time.perf_counter()
        self._collect()
        self._seat.clock.stop()
        self.progress.micro_batch, self.progress.oom_halvings = self._seat.micro_batch, self._seat.oom_halvings
        with self._leave.at_stake():
            self._seat.save(self.folder, self._name, asdict(self.progress), self.progress.guard.high > 0)
        self._saved = time.perf_counter()
        self._took = self._saved - began

    def _collect(self) -> None:
        """Wait for the steps under way, book their losses and seconds, and write a line where one is due."""
        progress = self.progress
        if self._waiting:
            first = progress.step - len(self._waiting)
            values = torch.stack([value for taken in self._waiting for value in taken]).tolist()  # one wait for all
            self._waiting.clear()
            for step, (loss, norm) in enumerate(zip(values[::2], values[1::2], strict=True), start=first):
                self._book(step, loss, norm)
        now = self._seat.clock.read()
        progress.seconds += now - self._mark
        self._mark = now
        if progress.pending and (progress.step % LINE_EVERY == 0 or progress.step == self._plan.end):
            self._meter.write(self._line())
            progress.pending = []

    def _book(self, step: int, loss: float, norm: float) -> None:
        if wrong := self.progress.guard.see(step, loss, norm):
            raise self._diverged(step, wrong)
        self.progress.pending.append([loss, norm])
        if self._plan.end is not None and step >= self._plan.end - math.ceil(TAIL * self._plan.end):
            self.progress.tail_sum += loss
            self.progress.tail_steps += 1

    def _diverged(self, step: int, wrong: str) -> DivergedError:
        """Keep the evidence: the losses up to here, and the last state that was still good."""
        self.progress.step = step
        if self.progress.pending:
            self._meter.write(self._line())
        good = self._seat.keep_good(self.folder, self._name, self.progress.guard.last_good(step))
        kept = f"; the last good state is kept in {good}" if good else ""
        lr = self._plan.lr * self._plan.scale(step)
        return DivergedError(f"{wrong} (learning rate {lr:.3g}); lower train.lr or raise train.warmup_steps{kept}")

    def _line(self) -> dict[str, Any]:
        progress, pending = self.progress, self.progress.pending
        return {
            "step": progress.step,
            "tokens": progress.step * self._plan.tokens,
            "loss": sum(loss for loss, _ in pending) / len(pending),
            "lr": self._plan.lr * self._plan.scale(progress.step - 1),
            "grad_norm": pending[-1][1],
            "tokens_per_s": round(progress.step * self._plan.tokens / max(progress.seconds, 1e-9), 1),
            "seconds": round(progress.seconds, 3),
        }
