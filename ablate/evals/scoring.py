"""Log-likelihood multiple choice: which choice a model finds most likely after the context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate.errors import RunError
from ablate.evals.items import Benchmark
from ablate.evals.requests import Batch, Requests
from ablate.study.grid import digest

if TYPE_CHECKING:  # a driver reads digests here and need not wait for the modelling code to load
    from transformers import PreTrainedModel

SCORER_VERSION = 1
"""Raise it when any score would change; it is part of every score's digest."""
LOGITS_AT_ONCE = 2**24
"""Most logits held at once in float32 (64 MiB)."""

_TREE_FAMILIES = ("llama", "phi", "gpt2", "gpt_bigcode", "codegen", "opt")


def score_digest(train_digest: str, benchmark_digest: str) -> str:
    """What a score depends on: the model, the items, the scorer. 16 hex digits."""
    return digest({"train": train_digest, "benchmark": benchmark_digest, "scorer": SCORER_VERSION})


@dataclass(frozen=True)
class BenchmarkScore:
    """How one model answered one benchmark. All arrays have one entry an item, in item order."""

    benchmark: Benchmark
    choice: NDArray[np.int64]
    """The choice of largest log-probability; of several equal ones the first (answers are shuffled, so that favours none)."""
    choice_norm: NDArray[np.int64]
    """The choice of largest log-probability divided by its UTF-8 bytes (the choice's own: without the context)."""
    logprob: NDArray[np.float64]
    """Log-probability (nats, summed over tokens) of the right choice."""
    choice_logprobs: tuple[NDArray[np.float64], ...]
    """Log-probability of every choice of every item."""
    truncated: int
    """Items whose context lost tokens at the left."""

    @property
    def correct(self) -> NDArray[np.bool_]:
        return np.equal(self.choice, self._answers)

    @property
    def correct_norm(self) -> NDArray[np.bool_]:
        return np.equal(self.choice_norm, self._answers)

    @property
    def _answers(self) -> NDArray[np.int64]:
        return np.array([item.answer for item in self.benchmark.questions], dtype=np.int64)

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())

    @property
    def accuracy_norm(self) -> float:
        return float(self.correct_norm.mean())

    @property
    def mean_logprob(self) -> float:
        return float(self.logprob.mean())

    @property
    def stderr_plain(self) -> float:
        """Standard error of `accuracy` were all items independent."""
        return plain_stderr(self.correct)

    @property
    def stderr_clustered(self) -> float | None:
        """Standard error of `accuracy` clustered by template; None where there is only one template."""
        return clustered_stderr(self.correct, [item.template for item in self.benchmark.items])

    @property
    def stderr(self) -> float:
        """The larger of the two: with few templates the clustered one is itself uncertain, and 0 by accident where all do alike."""
        return max(self.stderr_plain, self.stderr_clustered or 0.0)

    def row(self) -> dict[str, Any]:
        """One entry of `scores` in outcome.json."""
        return {
            "benchmark": self.benchmark.name,
            "register": self.benchmark.register,
            "fresh": self.benchmark.fresh,
            "group": self.benchmark.group,
            "metric": "acc",
            "score": self.accuracy,
            "stderr": self.stderr,
            "acc_norm": self.accuracy_norm,
            "chance": self.benchmark.chance,
            "n": len(self.benchmark.items),
            "mean_logprob": self.mean_logprob,
            "digest": self.benchmark.digest,
        }

    def answers(self) -> dict[str, list[Any]]:
        """Every item's answer, as columns."""
        return {
            "template": [item.template for item in self.benchmark.items],
            "correct": self.correct.astype(int).tolist(),
            "correct_norm": self.correct_norm.astype(int).tolist(),
            "choice": self.choice.tolist(),
            "logprob": self.logprob.tolist(),
        }


def plain_stderr(values: NDArray[Any]) -> float:
    """Standard error of the mean of independent values: s / √n."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def clustered_stderr(values: NDArray[Any], clusters: list[str]) -> float | None:
    """Cluster-robust standard error of a mean, with G/(G−1) for G clusters; None for G = 1.

    √( G/(G−1) Σ_g (Σ_{i in g} (x_i − x̄))² ) / n: Liang and Zeger 1986; Miller 2024 (arXiv 2411.00640), equation 4,
    has it without the factor.
    """
    _, cluster = np.unique(clusters, return_inverse=True)
    sums = np.bincount(cluster, weights=values - np.mean(values))
    if len(sums) == 1:
        return None
    return float(np.sqrt(len(sums) / (len(sums) - 1) * np.sum(sums**2)) / len(values))


def score(model: PreTrainedModel, requests: Requests, device: torch.device) -> BenchmarkScore:
    """Score a model (in eval mode, on `device`). RunError where a log-probability is not a finite number."""
    total = choice_logprobs(model, requests, device)
    bounds = requests.first_choice[1:-1]
    logprobs = np.split(total, bounds)
    normalised = np.split(total / requests.choice_bytes, bounds)
    items = requests.benchmark.questions
    return BenchmarkScore(
        benchmark=requests.benchmark,
        choice=np.array([values.argmax() for values in logprobs], dtype=np.int64),
        choice_norm=np.array([values.argmax() for values in normalised], dtype=np.int64),
        logprob=np.array([values[item.answer] for values, item in zip(logprobs, items, strict=True)]),
        choice_logprobs=tuple(logprobs),
        truncated=requests.truncated,
    )


def choice_logprobs(model: PreTrainedModel, requests: Requests, device: torch.device) -> NDArray[np.float64]:
    """Log-probability of every choice, in the order of `requests.first_choice`.

    RunError where one is not finite: the argmax of NaNs is the first choice, and a dead model would get a score.
    """
    name = requests.benchmark.name
    limit = getattr(model.config, "max_position_embeddings", None) or model.config.max_seq_len  # MPT's name for it
    if limit < requests.max_tokens:
        raise RunError(f"benchmark {name} is prepared for models that see {requests.max_tokens} tokens at once; this one sees {limit}")
    if requests.shared and not reads_trees(model.config.model_type):
        raise RunError(
            f"benchmark {name} is prepared with shared prefixes, which a model of the family {model.config.model_type} cannot read"
        )
    total = np.zeros(len(requests.choice_bytes))
    for batch in requests.batches:
        hidden = _hidden(model, batch, requests.shared, device)
        total += np.bincount(batch.choice, weights=_token_logprobs(model, batch, hidden), minlength=len(total))
    bad = np.flatnonzero(~np.isfinite(total))
    if len(bad):
        item = int(np.searchsorted(requests.first_choice, bad[0], side="right")) - 1
        raise RunError(
            f"benchmark {name}: the model gives {len(bad)} of {len(total)} choices a log-probability that is not a finite number "
            f"(the first in item {item}: {total[bad[0]]}); it has no score"
        )
    return total


def reads_trees(family: str) -> bool:
    """Whether a family (transformers' model_type) attends by the mask and the positions it is given, and by nothing else.

    Others reckon with the distance between tokens in a row (ALiBi, windows) or with masks of their own; they read one
    sequence a row.
    """
    return family in _TREE_FAMILIES


@torch.inference_mode()
def _hidden(model: PreTrainedModel, batch: Batch, shared: bool, device: torch.device) -> Tensor:
    """Last hidden states after which a scored token comes, [P, width].

    One sequence a row needs no mask: padding lies at the right, where a causal model's other tokens cannot see it.
    """
    tree = {}
    if shared:
        tree = {"attention_mask": _tree_mask(batch.last_below.to(device), model.dtype), "position_ids": batch.positions.to(device)}
    states: Tensor = model.base_model(input_ids=batch.tokens.to(device), use_cache=False, **tree).last_hidden_state
    return states.flatten(0, 1)[batch.predictors.to(device)]


@torch.inference_mode()
def _token_logprobs(model: PreTrainedModel, batch: Batch, hidden: Tensor) -> NDArray[np.float64]:
    """Log-probability of every scored token of a batch, [T]; logits are made only where a scored token is predicted."""
    device, head = hidden.device, model.get_output_embeddings()
    target = batch.target.to(device)
    parts: list[NDArray[np.float64]] = []
    at_once = max(1, LOGITS_AT_ONCE // model.config.vocab_size)
    for first in range(0, len(hidden), at_once):
        begin, end = np.searchsorted(batch.predictor, [first, first + at_once]).tolist()
        logits = head(hidden[first : first + at_once]).float()
        rows = torch.from_numpy(batch.predictor[begin:end] - first).to(device)
        values = logits[rows, target[begin:end]] - logits.logsumexp(dim=-1)[rows]
        parts.append(values.cpu().numpy().astype(np.float64))
    return np.concatenate(parts)


def _tree_mask(last_below: Tensor, dtype: torch.dtype) -> Tensor:
    """[rows, 1, length, length], added to the attention scores: 0 where a node sees another (itself, its ancestors)."""
    node = torch.arange(last_below.shape[1], device=last_below.device)
    seen = (node[:, None] >= node) & (node[:, None] <= last_below[:, None, :])
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, torch.finfo(dtype).min)[:, None]
