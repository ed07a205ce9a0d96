"""The difference between two cells, and how sure we may be of it. Pure: arrays in, numbers out.

A cell is a mean over seeds; two cells are compared on the seeds and items they share. Two things vary: the seed
(initial weights, and which documents are read) and the items. How the first is estimated depends on the number of seeds n:

- n ≥ 5, `bootstrap`: seeds are resampled as clusters (all runs of a seed together) and, within each benchmark, templates;
  both at once is the pigeonhole bootstrap, which errs on the wide side (Owen 2007, "The pigeonhole bootstrap", AoAS 1:386).
  A percentile interval over few clusters is too narrow by √((n-1)/n) and by normal instead of t quantiles: its levels
  are widened as in Hesterberg 2015, "What teachers should know about the bootstrap", Am. Stat. 69:371.
- 2 ≤ n ≤ 4, `blocks`: a randomised-block analysis (`block_variance`) plus the item part, each with Student's t on
  its own degrees of freedom (`_half_width`).
- n = 1, `items`: the item part alone; says nothing about another seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

Floats = NDArray[np.float64]

LEVEL = 0.05
BOOTSTRAP_SEEDS = 5
RESAMPLES = 10_000
_RNG_SEED = 20230911


@dataclass(frozen=True)
class Answers:
    """Chance-corrected answers of every run, added up by cluster of items.

    gains: one array a benchmark, [cells, seeds, clusters]: the sum over a cluster's items of (correct - chance) / (1 - chance);
    nan where the run is missing. items: one array a benchmark, [clusters]: items in each cluster.
    groups: [cells], the same number for cells of one size and arm (they share a trunk, so they are not independent).
    budgets: [cells], the same number for cells of one token budget (the spread over seeds grows with what was learned).
    """

    gains: tuple[Floats, ...]
    items: tuple[Floats, ...]
    groups: NDArray[np.int64]
    budgets: NDArray[np.int64]

    @cached_property
    def scores(self) -> Floats:
        """[cells, seeds]: the mean over benchmarks of the chance-corrected accuracy."""
        means = [g.sum(axis=2) / n.sum() for g, n in zip(self.gains, self.items, strict=True)]
        return np.asarray(np.mean(means, axis=0), dtype=np.float64)

    @cached_property
    def seed_variances(self) -> list[Variance] | None:
        """`block_variance` for each cell: pooled over the cells of its token budget, or over all cells where that budget leaves
        less than half the degrees of freedom (a ragged grid, a study that still runs). None where seeds do not repeat."""
        overall = block_variance(self.scores, self.groups)
        if overall is None:
            return None
        pooled = {b: block_variance(self.scores[self.budgets == b], self.groups[self.budgets == b]) for b in set(self.budgets.tolist())}
        chosen = {b: own if own is not None and own.df >= overall.df / 2 else overall for b, own in pooled.items()}
        return [chosen[b] for b in self.budgets.tolist()]

    def seeds_of(self, *cells: int) -> NDArray[np.int64]:
        """The seeds at which all these cells have a run."""
        return np.flatnonzero(~np.isnan(self.scores[list(cells)]).any(axis=0))


@dataclass(frozen=True)
class Interval:
    """An estimate with its two-sided 95% interval."""

    estimate: float
    low: float
    high: float
    seeds: int
    method: str


@dataclass(frozen=True)
class Variance:
    """An estimated variance and the degrees of freedom it was estimated on."""

    value: float
    df: float


def block_variance(scores: Floats, groups: NDArray[np.int64]) -> Variance | None:
    """The variance of one run's score within its cell, seeds' common ups and downs taken out. None if nothing can be estimated.

    Randomised blocks: y[c, s] = μ_c + b_s + e[c, s]; the residual mean square pooled over all cells (Cochran & Cox 1957,
    "Experimental Designs", chapter 4; with missing runs by least squares). Cells of one group share a trunk, so
    degrees of freedom are counted in groups, (G-1)(n-1), and the sum of squares is divided as if a group's cells rose and fell
    together, by C/G·(G-1)(n-1) rather than (C-1)(n-1): both choices err on the wide side.
    Assumes one variance for the cells given and independent groups within a seed.
    """
    present = ~np.isnan(scores)
    cell, seed = np.nonzero(present)
    y = scores[present]
    design = np.column_stack([_dummies(cell, scores.shape[0]), _dummies(seed, scores.shape[1])])
    solution, _, _, _ = np.linalg.lstsq(design, y, rcond=None)
    squares = float(np.sum((y - design @ solution) ** 2))
    pairs = np.unique(np.column_stack([groups[cell], seed]), axis=0)
    shared = np.column_stack([_dummies(pairs[:, 0], int(groups.max()) + 1), _dummies(pairs[:, 1], scores.shape[1])])
    df = len(pairs) - int(np.linalg.matrix_rank(shared))
    if df <= 0:
        return None
    per_group = len(np.unique(cell)) / len(np.unique(groups[cell]))
    return Variance(squares / (per_group * df), df)


def _dummies(index: NDArray[np.int64], size: int) -> Floats:
    return np.equal.outer(index, np.arange(size)).astype(np.float64)


def item_variance(gain: Floats, items: Floats) -> Variance:
    """Variance of Σgain / Σitems over another draw of clusters; gain, items: [clusters].

    Cluster-robust: Σ_k (Σ_{i∈k} (x_i - x̄))² / N² (Miller 2024, "Adding error bars to evals", arXiv 2411.00640), times K/(K-1).
    """
    clusters, total = len(items), items.sum()
    deviations = gain - items * gain.sum() / total
    correction = clusters / (clusters - 1) if clusters > 1 else 1.0
    return Variance(float(np.sum(deviations**2)) / total**2 * correction, max(clusters - 1, 1))


def add(parts: Sequence[Variance]) -> Variance:
    """The sum of independent estimates; degrees of freedom by Satterthwaite 1946, Biometrics Bulletin 2:110."""
    value = sum(p.value for p in parts)
    below = sum(p.value**2 / p.df for p in parts)
    return Variance(value, value**2 / below if below > 0 else float("inf"))


def _half_width(parts: Sequence[Variance]) -> float:
    """Half the 95% interval of an estimate whose error is the sum of independent parts: the root of the summed squares of each
    part's own half-width (Howe 1974, JASA 69:789; Zou & Donner 2008, Stat. Med. 27:1693).

    Satterthwaite's t on the sum is too narrow here when the seed part has one or two degrees of freedom: in simulated studies of
    two arms, one size and two seeds it covered 88%, this 96%; with nine (size, arm) groups they agree to 2% of the width."""
    squares = [float(stats.t.ppf(1 - LEVEL / 2, p.df)) ** 2 * p.value for p in parts]
    return float(np.sqrt(sum(squares)))


def _item_parts(answers: Answers, a: int, b: int, seeds: NDArray[np.int64]) -> list[Variance]:
    """The item part of the difference, one term a benchmark; items are the same in both cells, so they are paired."""
    many = len(answers.items) ** 2
    parts = []
    for gain, items in zip(answers.gains, answers.items, strict=True):
        variance = item_variance((gain[a, seeds] - gain[b, seeds]).mean(axis=0), items)
        parts.append(Variance(variance.value / many, variance.df))
    return parts


def difference(answers: Answers, a: int, b: int, resamples: int = RESAMPLES) -> Interval | None:
    """Cell `a` minus cell `b`, paired by seed and by item. None where they share no seed."""
    seeds = answers.seeds_of(a, b)
    n = len(seeds)
    if n == 0:
        return None
    if n >= BOOTSTRAP_SEEDS:
        draws = _seed_bootstrap(answers, [a, b], seeds, resamples)
        return _percentiles(_estimate(answers, a, [b], seeds), draws[:, 0] - draws[:, 1], n)
    estimate = _estimate(answers, a, [b], seeds)
    parts = [add(_item_parts(answers, a, b, seeds))]
    variances = answers.seed_variances if n > 1 else None
    if variances is not None:
        blocks = [variances[a], variances[b]]  # two budgets of one trunk are not independent estimates: the smaller df, not the sum
        parts.append(Variance(sum(v.value for v in blocks) / n, min(v.df for v in blocks)))
    half = _half_width(parts)
    return Interval(estimate, estimate - half, estimate + half, n, "blocks" if variances else "items")


def best_difference(answers: Answers, a: int, others: Sequence[int], resamples: int = RESAMPLES) -> Interval | None:
    """Cell `a` minus the best of `others`, the maximum retaken in every resample. None where they share no seed.

    Under five seeds the seed part of a resample is drawn from its estimate (a t variate a group, as the cells of a group share
    a trunk). A resampled maximum lies above the maximum on average, so the interval errs towards "not better".
    """
    cells, seeds = [a, *others], answers.seeds_of(a, *others)
    n = len(seeds)
    if n == 0:
        return None
    estimate = _estimate(answers, a, others, seeds)
    if n >= BOOTSTRAP_SEEDS:
        draws = _seed_bootstrap(answers, cells, seeds, resamples)
        return _percentiles(estimate, draws[:, 0] - draws[:, 1:].max(axis=1), n)
    rng = np.random.default_rng(_RNG_SEED)
    draws = _resampled(answers, cells, seeds, np.full((resamples, n), 1 / n), rng)
    variances = answers.seed_variances if n > 1 else None
    if variances is not None:
        blocks = [variances[c] for c in cells]
        df = min(v.df for v in blocks)
        shared = rng.standard_normal((resamples, int(answers.groups.max()) + 1))[:, answers.groups[cells]]
        draws += np.sqrt([v.value / n for v in blocks]) * shared * np.sqrt(df / rng.chisquare(df, resamples))[:, None]
    low, high = np.quantile(draws[:, 0] - draws[:, 1:].max(axis=1), [LEVEL / 2, 1 - LEVEL / 2])
    return Interval(estimate, float(low), float(high), n, "blocks" if variances else "items")


def _estimate(answers: Answers, a: int, others: Sequence[int], seeds: NDArray[np.int64]) -> float:
    means = answers.scores[:, seeds].mean(axis=1)
    return float(means[a] - means[list(others)].max())


def _seed_bootstrap(answers: Answers, cells: Sequence[int], seeds: NDArray[np.int64], resamples: int) -> Floats:
    rng = np.random.default_rng(_RNG_SEED)
    n = len(seeds)
    return _resampled(answers, cells, seeds, rng.multinomial(n, np.full(n, 1 / n), resamples) / n, rng)


def _resampled(answers: Answers, cells: Sequence[int], seeds: NDArray[np.int64], weights: Floats, rng: np.random.Generator) -> Floats:
    """[resamples, cells]: scores with templates resampled within benchmarks and seeds weighted by `weights` [resamples, seeds].

    Every cell sees the same resample, which is what pairs them."""
    out = np.zeros((len(weights), len(cells)))
    for gains, items in zip(answers.gains, answers.items, strict=True):
        k = len(items)
        clusters = rng.multinomial(k, np.full(k, 1 / k), len(weights)).astype(np.float64)
        total = clusters @ items
        for j, c in enumerate(cells):
            out[:, j] += ((clusters @ gains[c, seeds].T) * weights).sum(axis=1) / total
    return out / len(answers.items)


def _percentiles(estimate: float, draws: Floats, n: int) -> Interval:
    tail = float(stats.norm.cdf(-((n / (n - 1)) ** 0.5) * stats.t.ppf(1 - LEVEL / 2, n - 1)))
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(estimate, float(low), float(high), n, "bootstrap")


def mean_interval(answers: Answers, benchmark: int, cell: int) -> Interval:
    """One cell's chance-corrected score on one benchmark; items vary and, from two seeds, seeds: their variance within a cell,
    pooled over the cells of its budget (one a size and arm)."""
    gains, items = answers.gains[benchmark], answers.items[benchmark]
    scores = gains.sum(axis=2) / items.sum()
    seeds = answers.seeds_of(cell)
    parts = [item_variance(gains[cell, seeds].mean(axis=0), items)]
    same = scores[answers.budgets == answers.budgets[cell]]
    counts = (~np.isnan(same)).sum(axis=1)
    df = int((counts - 1).sum())
    if len(seeds) > 1:
        squares = float(np.nansum((same - np.nanmean(same, axis=1, keepdims=True)) ** 2))
        parts.append(Variance(squares / df / len(seeds), df))
    half, mean = _half_width(parts), float(scores[cell, seeds].mean())
    return Interval(mean, mean - half, mean + half, len(seeds), "blocks" if len(seeds) > 1 else "items")


def smallest_detectable_difference(groups: int, seeds: int, seed_sd: float, item_se: float = 0.0, power: float = 0.8) -> float:
    """The true difference of two cells that a study of this design calls real with probability `power`.

    groups: sizes × arms. seed_sd: s.d. over seeds of the paired difference of two single runs (√2 times a run's own). item_se: standard
    error from the items alone. Exact power of the t test, from the noncentral t (Cohen 1988, chapter 2); n - 1 degrees of
    freedom where seeds are resampled, (G-1)(n-1) below that; one seed leaves the items alone, "given this seed".
    """
    error = (seed_sd**2 / seeds + item_se**2) ** 0.5 if seeds > 1 else item_se
    if error == 0:
        return 0.0
    df = 1e6 if seeds == 1 else seeds - 1 if seeds >= BOOTSTRAP_SEEDS else max(groups - 1, 1) * (seeds - 1)
    critical = stats.t.ppf(1 - LEVEL / 2, df)
    shift = optimize.brentq(lambda x: stats.nct.sf(critical, df, x) - power, 0.0, critical + 60.0)
    return float(shift) * error
