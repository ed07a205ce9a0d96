"""Learning rate, batch and warm-up by rules of the model's size alone, and the WSD schedule. Pure functions, no torch.

A family's budgets share one trunk, so nothing here but `branch_scale` may know the budget.
"""

from __future__ import annotations

import math
from fractions import Fraction

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


def branch_scale(step: int, fork: int, steps: int) -> float:
    """The factor that decays a branch: 1 - sqrt((step - fork) / (steps - fork)) from its fork on (Hägele et al. 2024, 2405.18392)."""
    return 1.0 if step < fork else 1.0 - math.sqrt((step - fork) / (steps - fork))
