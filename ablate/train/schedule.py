"""Learning rate, batch and warm-up by rules of the model's size alone, and the schedules. Pure functions, no torch.

A family's budgets share one trunk, so nothing here but `branch_scale` may know the budget.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

WHOLE_RUN = ("cosine", "linear")
"""Schedules that depend on the budget from the first step after the warm-up: their trunk has no step."""

DECAY: dict[str, float] = {"constant": 0.05, **dict.fromkeys(WHOLE_RUN, 1.0)}
"""What stands for a recipe's `decay`, the last share of the steps that a branch takes alone, where the study does not choose it: a
constant rate never decays, and takes them alone to measure its final loss."""

_REFERENCE = 108e6  # parameters at which the rules below were anchored


def learning_rate(params: int) -> float:
    """Peak learning rate: 0.0047 (N / 108M)^(-1/3) / 2.

    The rule of OLMo-core's model ladder for WSD (`WSDSChinchillaRunConfigurator`), which halves that of
    Bhagia et al. 2024 (2412.04403), itself from Porian et al. 2024 (2406.19146).
    """
    return 0.0047 / math.cbrt(params / _REFERENCE) / 2


def batch_tokens(params: int, seq_len: int) -> int:
    """Tokens a step: 160 · 2048 · (N / 108M)^(2/3), rounded to whole sequences, at least one (same sources)."""
    return max(1, round(160 * 2048 * math.cbrt(params / _REFERENCE) ** 2 / seq_len)) * seq_len


def warmup_steps(params: int, batch_tokens: int) -> int:
    """Linear warm-up over as many tokens as there are parameters (Porian et al. 2024, section 3)."""
    return math.ceil(params / batch_tokens)


def steps_of(tokens: int, batch_tokens: int) -> int:
    """Whole steps in a token budget."""
    return tokens // batch_tokens


def fork_of(steps: int, decay: str | float) -> int:
    """The step at which a run of `steps` leaves its trunk: the first of its last `decay` share, computed exactly."""
    return math.floor(steps * (1 - Fraction(str(decay))))


def trunk_scale(step: int, warmup_steps: int) -> float:
    """Share of the peak learning rate at `step` (from 0) of the trunk: linear warm-up, then constant."""
    return min(1.0, (step + 1) / (warmup_steps + 1))


def branch_scale(train: dict[str, Any], step: int, steps: int) -> float:
    """The factor on the trunk's rate at `step` of a branch that ends at `steps`, by the schedule of the recipe's block `train`.

    wsd: 1 - sqrt((step - fork) / (steps - fork)) from the fork on (Hägele et al. 2024, 2405.18392). cosine: half a period from
    the end of the warm-up to min_lr (Loshchilov and Hutter 2017, 1608.03983, without restarts); linear: a line.
    """
    name = train["schedule"]
    if name == "constant":
        return 1.0
    start = int(train["warmup_steps"]) if name in WHOLE_RUN else fork_of(steps, train["decay"])
    done = max(0.0, (step - start) / (steps - start))
    if name == "wsd":
        return 1.0 - math.sqrt(done)
    left = (1 + math.cos(math.pi * done)) / 2 if name == "cosine" else 1 - done
    return float(train["min_lr"] + (1 - train["min_lr"]) * left)
