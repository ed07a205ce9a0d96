"""LAMBADA (Paperno et al. 2016, 1606.06031) as lm-eval scores it: the last word of a passage, from the words before it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from ablate.evals.likelihood import likelihoods
from ablate.evals.requests import Requests
from ablate.evals.result import Result, columns, stderr

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def score(model: PreTrainedModel, requests: Requests, device: torch.device) -> Result:
    """Score a model (in eval mode, on `device`): a word is right where each of its tokens is the likeliest.

    details["perplexity"] is exp(−mean log-probability of a word), a word and not a token; it is left out where no float can hold it.
    RunError where a log-probability is not a finite number.
    """
    benchmark = requests.benchmark
    found = likelihoods(model, requests, device, greedy=True)
    correct, mean = found.greedy.astype(np.int64), float(found.logprobs.mean())
    return Result(
        benchmark=benchmark,
        metric="acc",
        score=float(correct.mean()),
        stderr=stderr(benchmark, correct),
        chance=benchmark.chance,
        mean_logprob=mean,
        bits_per_byte=float(-found.logprobs.sum() / math.log(2) / requests.choice_bytes.sum()),
        truncated=requests.truncated,
        details={"perplexity": math.exp(-mean)} if -mean < 700 else {},
        answers=columns(benchmark, correct=correct, logprob=found.logprobs),
    )
