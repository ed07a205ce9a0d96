"""What repeated tokens are worth: the data-constrained scaling law of Muennighoff et al. 2023 (arXiv:2305.16264), with its fit on C4.

The constants belong to that corpus and tokenizer, and to whole-set repetition: a guide to the size of the effect, no measurement.
"""

from __future__ import annotations

from math import exp

EPOCHS_SCALE = 15.387756
"""R*_D: repetitions after which a further one is worth 1/e of a new pass."""
EXCESS_SCALE = 5.309743
"""R*_N: the same for parameters beyond what the unique tokens need."""
E, A, B, ALPHA = exp(0.6254804), exp(6.255414), exp(7.3049974), 0.3526596
"""Loss (nats a token) = E + A / N'^alpha + B / D'^alpha; both exponents are one."""


def worth(epochs: float) -> float:
    """D' / D: what a token is worth, on average, when the data is read `epochs` times; 1 up to the first pass."""
    repeats = epochs - 1
    return 1.0 if repeats <= 0 else (1 + EPOCHS_SCALE * (1 - exp(-repeats / EPOCHS_SCALE))) / epochs


def loss(params: float, tokens: float, unique: float) -> float:
    """The law's loss for `tokens` read of `unique` ones. Parameters beyond what the unique tokens can use count for less, too."""
    useful = min(params, unique * (A / B) ** (1 / ALPHA))  # G^2 in the paper's terms: the compute-optimal size for `unique` tokens
    excess = params / useful - 1
    effective_params = useful * (1 + EXCESS_SCALE * (1 - exp(-excess / EXCESS_SCALE)))
    effective_tokens = tokens * worth(tokens / unique)
    return float(E + A / effective_params**ALPHA + B / effective_tokens**ALPHA)
