"""Log-likelihood multiple choice: which choice a model finds most likely after the context."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ablate.evals.items import Item
from ablate.evals.likelihood import likelihoods
from ablate.evals.requests import Requests
from ablate.evals.result import Result, columns, stderr
from ablate.study.grid import digest

if TYPE_CHECKING:  # a driver reads digests here and need not wait for the modelling code to load
    from transformers import PreTrainedModel

SCORER_VERSION = 2
"""Raise it when any score would change; it is part of every score's digest."""


def score_digest(train_digest: str, benchmark_digest: str) -> str:
    """What a score depends on: the model, the items, the scorer. 16 hex digits."""
    return digest({"train": train_digest, "benchmark": benchmark_digest, "scorer": SCORER_VERSION})


def score(model: PreTrainedModel, requests: Requests, device: torch.device) -> Result:
    """Score a model (in eval mode, on `device`). RunError where a log-probability is not a finite number.

    The choice taken is that of the largest log-probability; of several equal ones the first (answers are shuffled, so that favours
    none). `acc_norm` takes that of the largest log-probability a character of the choice, its delimiter not counted, as lm-eval does;
    it is None where the choices stand in the contexts and all continuations are alike. Where several choices are true, the score is
    the share of the probability that is on them (MC2), as in lm-eval, and accuracy is in details["acc"] alone.
    """
    benchmark, items = requests.benchmark, requests.benchmark.questions
    total = likelihoods(model, requests, device).logprobs
    bounds = requests.first_choice[1:-1]
    logprobs = np.split(total, bounds)
    chosen = np.array([values.argmax() for values in logprobs])
    normalised = np.array([values.argmax() for values in np.split(total / requests.choice_characters, bounds)])
    right = requests.first_choice[:-1] + [item.answer for item in items]
    correct, correct_norm = _are_right(items, chosen), _are_right(items, normalised)
    several = any(item.answers for item in items)
    has_norm = not several and not any(item.contexts for item in items)
    values = true_mass(items, logprobs) if several else correct
    return Result(
        benchmark=benchmark,
        metric="mc2" if several else "acc",
        score=float(values.mean()),
        stderr=stderr(benchmark, values),
        acc_norm=float(correct_norm.mean()) if has_norm else None,
        chance=benchmark.chance,
        mean_logprob=float(total[right].mean()),
        bits_per_byte=float(-total[right].sum() / math.log(2) / requests.choice_bytes[right].sum()),
        truncated=requests.truncated,
        details={"acc": float(correct.mean())} if several else {},
        answers=columns(
            benchmark,
            correct=values,
            choice=chosen,
            logprob=total[right],
            **({"correct_norm": correct_norm} if has_norm else {}),
        ),
    )


def _are_right(items: Sequence[Item], chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """1 where the choice is the answer, or one of all true choices."""
    return np.array([choice in (item.answers or (item.answer,)) for item, choice in zip(items, chosen, strict=True)], dtype=np.int64)


def true_mass(items: Sequence[Item], logprobs: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """MC2 of TruthfulQA (Lin et al. 2022, 2109.07958): the share of the choices' probability that is on true ones, of each item."""
    shares = []
    for item, values in zip(items, logprobs, strict=True):
        mass = np.exp(values - values.max())
        shares.append(mass[list(item.answers or (item.answer,))].sum() / mass.sum())
    return np.array(shares)
