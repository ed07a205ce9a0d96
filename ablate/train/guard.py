"""When a run's loss says that going on is a waste: it is no number any more, or it rose and does not come back."""

from __future__ import annotations

import math
from dataclasses import dataclass

HORIZON = 1000
"""Steps over which mean and noise are averaged."""
DEVIATIONS = 7
FIRST = 100
"""Losses to have seen before any is judged."""
SHORTEST, LONGEST = 50, 500
"""A rise is given a tenth of the steps before it to come back, within these bounds."""


@dataclass
class Guard:
    """Watches one run, step by step. Its fields are its state: saved and restored, it goes on as if never interrupted.

    A loss is high that lies seven standard deviations above the mean of the last 1,000: the spike score of OLMo 2 (2501.00656).
    The deviation here is that of the noise alone, from the differences between one step and the next (von Neumann 1941), since
    that of the losses themselves is swollen by the fall of the loss in a young run. High losses enter neither.
    A high loss alone is nothing: most spikes come back, and the authors of PaLM had to skip 200 to 500 batches to be past one
    (2204.02311, section 5.1). The run has diverged when high losses outnumber the others since the rise by a tenth
    of the steps before it, at least 50 and at most 500.
    """

    seen: int = 0
    mean: float = 0.0
    variance: float = 0.0
    last: float = 0.0
    rise: int = 0
    """The step of the first high loss, while `high` is above 0."""
    high: int = 0
    """High losses since the rise, less the others."""

    def see(self, step: int, loss: float, norm: float) -> str | None:
        """Take in one step's loss and gradient norm; what is wrong, in words, where the run must stop."""
        if not math.isfinite(loss):
            return f"the loss became {loss} at step {step}"
        if not math.isfinite(norm):
            return f"the gradient's norm became {norm} at step {step}"
        if self.seen < FIRST or loss < self.mean + DEVIATIONS * math.sqrt(self.variance):
            self.high = max(0, self.high - 1)
            self._learn(loss)
            return None
        if self.high == 0:
            self.rise = step
        self.high += 1
        if self.high < min(LONGEST, max(SHORTEST, self.rise // 10)):
            return None
        return f"the loss rose from {self.mean:.2f} to {loss:.2f} from step {self.rise} on and had not come back at step {step}"

    def last_good(self, step: int) -> int:
        """Steps that a state may have behind it and be from before what `see` complained of at `step`."""
        return self.rise if self.high else step

    def _learn(self, loss: float) -> None:
        self.seen += 1
        if self.seen > 1:
            self.variance += ((loss - self.last) ** 2 / 2 - self.variance) / min(self.seen - 1, HORIZON)
        self.mean += (loss - self.mean) / min(self.seen, HORIZON)
        self.last = loss
