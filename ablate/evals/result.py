"""What every scorer returns: a score with its standard error, and every item's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.evals.items import Benchmark

COLUMNS = ("template", "correct", "correct_norm", "choice", "logprob", "output")
"""Of the answers: one entry an item, None where a column does not apply."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How one model did on one benchmark."""

    benchmark: Benchmark
    metric: str
    """"acc", "exact_match", "pass@1", "safety", "grade", or lm-eval's name for its own."""
    score: float
    stderr: float | None
    """None where lm-eval has none for its metric."""
    chance: float | None
    acc_norm: float | None = None
    """Accuracy by log-probability a character of the choice."""
    mean_logprob: float | None = None
    """Of the right choice, nats, summed over its tokens; mean over items."""
    bits_per_byte: float | None = None
    """Of the right choices: −Σ log2 p / Σ UTF-8 bytes, over all items."""
    truncated: int = 0
    """Items whose context lost tokens at the left."""
    details: Mapping[str, float] = field(default_factory=dict)
    """Further figures by name: mc2, f1, perplexity, pass@10 ..."""
    answers: Mapping[str, Sequence[Any]]
    """Every item's answer as columns (`columns` makes them)."""

    def row(self) -> dict[str, Any]:
        """The score as it is kept: in scores/*.json and in outcome.json."""
        return {
            "benchmark": self.benchmark.name,
            "register": self.benchmark.register,
            "fresh": self.benchmark.fresh,
            "group": self.benchmark.group,
            "metric": self.metric,
            "score": self.score,
            "stderr": self.stderr,
            "acc_norm": self.acc_norm,
            "chance": self.chance,
            "n": len(self.benchmark.items),
            "mean_logprob": self.mean_logprob,
            "bits_per_byte": self.bits_per_byte,
            "truncated": self.truncated,
            "shots": self.benchmark.shots,
            "details": dict(self.details),
            "digest": self.benchmark.digest,
        }


def columns(benchmark: Benchmark, **given: Sequence[Any] | NDArray[Any]) -> dict[str, list[Any]]:
    """The answers to a benchmark as JSON-able columns: its templates, those given, and None in the others.

    ValueError for a column that answers have not, or one that has not an entry an item.
    """
    n = len(benchmark.items)
    if unknown := set(given) - set(COLUMNS):
        raise ValueError(f"answers have no column {min(unknown)}")
    if short := [name for name, values in given.items() if len(values) != n]:
        raise ValueError(f"column {short[0]} has {len(given[short[0]])} entries for {n} items")
    known = {name: values.tolist() if isinstance(values, np.ndarray) else list(values) for name, values in given.items()}
    return {**{name: [None] * n for name in COLUMNS}, "template": [item.template for item in benchmark.items], **known}


def stderr(benchmark: Benchmark, values: NDArray[Any]) -> float:
    """Standard error of the mean of an item's value, plain or clustered by template, whichever is larger: with few
    templates the clustered one is itself uncertain, and 0 by accident where all do alike."""
    return max(plain_stderr(values), clustered_stderr(values, [item.template for item in benchmark.items]) or 0.0)


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
