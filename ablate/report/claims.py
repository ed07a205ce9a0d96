"""Whether less, better text beats more: the verdict as typed numbers. The comparison is fixed by the study file, before any run.

The reference is the web cell (lowest synthetic_ratio) with most params and, among those, most tokens. The cells of the arm with the
highest ratio that cost no more training FLOPs than the reference are tested from the dearest to the cheapest, each at a two-sided
95% interval above 0; the first that fails ends the sequence. A fixed order needs no correction: the chance of any false claim
stays at one test's (Maurer, Hothorn & Lehmacher 1995; Westfall & Krishen 2001, J. Stat. Plan. Inference 99:25).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import polars as pl

from ablate.report.cells import Cell, Grid, grids
from ablate.report.effects import Interval, best_difference, difference, mean_interval
from ablate.report.frames import Frames
from ablate.report.generation import Hours, hours

BYTES_APART = 1.10
EPOCHS_APART = 1.5


@dataclass(frozen=True)
class Model:
    """A cell as the verdict names it; score is the chance-corrected mean over benchmarks and seeds."""

    params: int
    tokens: int
    synthetic_ratio: float
    flops: float
    score: float
    seeds: int


@dataclass(frozen=True)
class Comparison:
    """A synthetic cell against the reference; both scores are over the seeds they share, as the difference is."""

    model: Model
    reference: Model
    difference: Interval


@dataclass(frozen=True)
class FreshGap:
    """Public items minus their fresh twins, chance-corrected mean, at the largest cell of an arm that has twins: leaked or
    overfitted items would show as a gap above 0."""

    model: Model
    gap: float
    low: float
    high: float


@dataclass(frozen=True)
class Clean:
    """The comparison of the first sentence on clean items alone: those that GPT-3's rule finds in nothing that the runs read."""

    items: int
    benchmarks: int
    """That have such items."""
    difference: Interval | None
    """None where no item is clean."""


@dataclass(frozen=True)
class Verdict:
    """outcome: `holds` (`named` beats the reference), `none` (no cell does), `missing` (`missing` says what there is not).

    tested: in the order tested; all but perhaps the last passed. candidates: finished synthetic cells not dearer than the reference.
    groups: (size, arm) pairs over which the variance was pooled. flags: what a careful reader should hold against the comparison.
    """

    study: str
    conditions: dict[str, Any]
    outcome: Literal["holds", "none", "missing"]
    missing: str = ""
    reference: Model | None = None
    tested: tuple[Comparison, ...] = ()
    candidates: int = 0
    best_web: Model | None = None
    best_web_difference: Interval | None = None
    items: int = 0
    benchmarks: int = 0
    groups: int = 0
    unfinished: int = 0
    lr_tuned: bool = False
    flags: tuple[str, ...] = ()
    fresh: tuple[FreshGap, ...] = ()
    clean: Clean | None = None
    """None where it has not been measured."""
    hours: tuple[Hours, Hours] | None = None
    """Of the cell that the first sentence names, and of the reference."""

    @property
    def passed(self) -> int:
        return sum(c.difference.low > 0 for c in self.tested)

    @property
    def named(self) -> Comparison | None:
        """The last cell that passed: the cheapest for which the claim is made (cheaper ones were not tested, or failed)."""
        return self.tested[self.passed - 1] if self.passed else None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def verdicts(frames: Frames) -> list[Verdict]:
    """One verdict for each combination of levels of the factors besides params, tokens, synthetic_ratio and train.lr
    (so one, unless a study varies more); 5% holds for each alone."""
    return [_verdict(frames, grid) for grid in grids(frames)] or [Verdict(frames.study, {}, "missing", "the study has no runs")]


def _verdict(frames: Frames, grid: Grid) -> Verdict:
    reference = grid.index(reference_of(grid))
    gap = _missing(grid)
    if gap or reference is None:
        return Verdict(frames.study, grid.conditions, "missing", gap, unfinished=grid.unfinished)
    order = candidates(grid, reference)
    if not order:
        why = "no finished synthetic cell shares a seed with the reference and costs no more training FLOPs than it does"
        return Verdict(frames.study, grid.conditions, "missing", why, unfinished=grid.unfinished)
    tested = _test(grid, reference, order)
    passed = [c for c in tested if c.difference.low > 0]
    compared = order[max(len(passed) - 1, 0)]
    best, best_gap = _best_web(grid, compared, reference)
    arms = {grid.cells[reference].synthetic_ratio, grid.cells[compared].synthetic_ratio}
    return Verdict(
        study=frames.study,
        conditions=grid.conditions,
        outcome="holds" if passed else "none",
        reference=_model(grid, reference),
        tested=tested,
        candidates=len(order),
        best_web=best,
        best_web_difference=best_gap,
        items=grid.items,
        benchmarks=len(grid.benchmarks),
        groups=len({(c.params, c.synthetic_ratio) for c in grid.cells}),
        unfinished=grid.unfinished,
        lr_tuned=grid.lr_tuned,
        flags=tuple(_flags(frames, grid, arms)),
        fresh=fresh_gaps(frames, grid),
        clean=_clean(frames, grid, compared, reference),
        hours=(hours(frames, [*grid.cells[compared].runs.values()]), hours(frames, [*grid.cells[reference].runs.values()])),
    )


def reference_of(grid: Grid) -> tuple[int, int, float]:
    """(params, tokens, synthetic_ratio) of the reference among the declared cells, finished or not."""
    web = min(r for _, _, r in grid.declared)
    return max(key for key in grid.declared if key[2] == web)


def _missing(grid: Grid) -> str:
    ratios = sorted({r for _, _, r in grid.declared})
    finished = {c.synthetic_ratio for c in grid.cells}
    params, tokens, web = reference_of(grid)
    if len(ratios) < 2:
        return f"the study has one level of synthetic_ratio ({ratios[0]:g}), a comparison needs two, such as synthetic_ratio: [0, 1]"
    if not grid.cells:
        return f"none of the {grid.unfinished} runs has finished"
    for ratio, arm in ((web, "web"), (ratios[-1], "synthetic")):
        if ratio not in finished:
            return f"no run of the {arm} arm (synthetic_ratio {ratio:g}) has finished"
    if grid.index((params, tokens, web)) is None:
        return f"the reference (params {params:,}, tokens {tokens:,}, synthetic_ratio {web:g}) has not finished at any seed"
    return "" if grid.benchmarks else "there is no benchmark on which every finished run has been scored"


def candidates(grid: Grid, reference: int) -> list[int]:
    """The cells to test, dearest first; where two cost the same the larger model first."""
    limit = grid.cells[reference].flops * (1 + 1e-9)
    top = max(r for _, _, r in grid.declared)
    cells = [i for i, c in enumerate(grid.cells) if c.synthetic_ratio == top and c.flops <= limit]
    cells = [i for i in cells if len(grid.answers.seeds_of(i, reference))]
    return sorted(cells, key=lambda i: (grid.cells[i].flops, grid.cells[i].params), reverse=True)


def _test(grid: Grid, reference: int, order: list[int]) -> tuple[Comparison, ...]:
    tested: list[Comparison] = []
    for cell in order:
        effect = difference(grid.answers, cell, reference)
        assert effect is not None, "candidates share a seed with the reference"
        tested.append(Comparison(_model(grid, cell, reference), _model(grid, reference, cell), effect))
        if effect.low <= 0:
            break
    return tuple(tested)


def _best_web(grid: Grid, cell: int, reference: int) -> tuple[Model, Interval]:
    """The web cell with the highest mean among those that have every seed compared so far, and the difference to their maximum."""
    web, compared = grid.cells[reference].synthetic_ratio, set(grid.answers.seeds_of(cell, reference))
    others = [i for i, c in enumerate(grid.cells) if c.synthetic_ratio == web and compared <= set(grid.answers.seeds_of(i))]
    effect = best_difference(grid.answers, cell, others)
    assert effect is not None, "the reference is among them"
    return max((_model(grid, i, cell, *others) for i in others), key=lambda m: m.score), effect


def _clean(frames: Frames, grid: Grid, cell: int, reference: int) -> Clean | None:
    if frames.clean is None:
        return None
    (alone,) = (g for g in grids(replace(frames, answers=frames.clean)) if g.conditions == grid.conditions)
    effect = difference(alone.answers, cell, reference) if alone.benchmarks else None
    return Clean(alone.items, len(alone.benchmarks), effect)


def _model(grid: Grid, index: int, *shared_with: int) -> Model:
    cell, seeds = grid.cells[index], grid.answers.seeds_of(index, *shared_with)
    return Model(*cell.key, cell.flops, float(grid.answers.scores[index, seeds].mean()), len(seeds))


def _flags(frames: Frames, grid: Grid, arms: set[float]) -> list[str]:
    flags = []
    more = _apart(frames, grid, arms, pl.col("bytes").sum())
    if more > BYTES_APART:
        flags.append(f"at equal tokens one arm sees up to {more:.2f} times the bytes of the other")
    oftener = _apart(frames, grid, arms, pl.col("epochs").max())
    if oftener > EPOCHS_APART:
        flags.append(f"at equal tokens one arm repeats its text up to {oftener:.1f} times as often as the other")
    digests = [r for c in grid.cells for r in c.runs.values()]
    devices = frames.runs.filter(pl.col("run").is_in(digests))["device"].drop_nulls().unique().sort().to_list()
    if len(devices) > 1:
        flags.append(f"the runs come from several device models ({', '.join(devices)})")
    if unlike := _unlike(frames, grid, arms):
        flags.append(f"the arms differ in more than their data: {'; '.join(unlike)}")
    if grid.left_out:
        flags.append(f"left out, as not every finished run was scored on them: {', '.join(grid.left_out)}")
    if min(arms) > 0:
        flags.append(f"there is no arm without synthetic text: synthetic_ratio {min(arms):g} stands in for web")
    return flags


def _unlike(frames: Frames, grid: Grid, arms: set[float]) -> list[str]:
    """What the runs of the two arms were not made alike with: launcher, threads, compile, optimiser, library versions.
    Model of the device, pack and micro-batch are left out: the first has a flag of its own, the others follow the size."""
    found: dict[str, dict[float, set[str]]] = {}
    for ratio in sorted(arms):
        runs = [r for c in grid.cells if c.synthetic_ratio == ratio for r in c.runs.values()]
        for row in frames.attempts.filter(pl.col("run").is_in(runs)).drop("run").iter_rows(named=True):
            versions = json.loads(row.pop("versions") or "{}")
            for name, value in {**row, **versions}.items():
                if value is not None:
                    found.setdefault(name, {}).setdefault(ratio, set()).add(str(value))
    apart = {name: by for name, by in found.items() if len(by) == len(arms) and len({frozenset(v) for v in by.values()}) > 1}
    return [
        f"{name.replace('_', ' ')} {' against '.join(' and '.join(sorted(v)) for v in by.values())}" for name, by in sorted(apart.items())
    ]


def _apart(frames: Frames, grid: Grid, arms: set[float], a_run: pl.Expr) -> float:
    """The largest ratio between the two arms of `a_run` (over a run's rows of usage), over cells that agree in params and tokens."""
    seen = dict(frames.usage.group_by("run").agg(a_run.cast(pl.Float64).alias("x")).drop_nulls().iter_rows())
    means: dict[tuple[int, int], list[float]] = {}
    for cell in grid.cells:
        values = [seen[r] for r in cell.runs.values() if seen.get(r)]
        if values and cell.synthetic_ratio in arms:
            means.setdefault((cell.params, cell.tokens), []).append(sum(values) / len(values))
    return max((max(v) / min(v) for v in means.values()), default=1.0)


def largest(grid: Grid, ratio: float) -> Cell | None:
    """The finished cell of an arm with most params and, among those, most tokens."""
    return max((c for c in grid.cells if c.synthetic_ratio == ratio), key=lambda c: c.key, default=None)


def fresh_gaps(frames: Frames, grid: Grid) -> tuple[FreshGap, ...]:
    """The gap of the web and of the tested arm. Its standard error is the items' alone (stored, clustered by template),
    not reduced by averaging over registers or seeds: they answer the same items."""
    gaps = []
    ratios = sorted({r for _, _, r in grid.declared})
    twins = frames.scores.filter(pl.col("fresh"))["run"].unique().to_list()
    for ratio in dict.fromkeys([ratios[0], ratios[-1]]):
        cells = [i for i, c in enumerate(grid.cells) if c.synthetic_ratio == ratio and set(c.runs.values()) & set(twins)]
        if cells:
            index = max(cells, key=lambda i: grid.cells[i].key)
            gap, error = _gap(frames.scores.filter(pl.col("run").is_in(list(grid.cells[index].runs.values()))))
            gaps.append(FreshGap(_model(grid, index), gap, gap - 1.96 * error, gap + 1.96 * error))
    return tuple(gaps)


def _gap(scores: pl.DataFrame) -> tuple[float, float]:
    scale = 1 - pl.col("chance")
    means = (
        scores.with_columns(((pl.col("score") - pl.col("chance")) / scale).alias("score"), (pl.col("stderr") / scale).alias("stderr"))
        .group_by("benchmark", "fresh")
        .agg(pl.col("score").mean(), pl.col("stderr").mean())
    )
    paired = means.filter(~pl.col("fresh")).join(means.filter(pl.col("fresh")), on="benchmark", suffix="_fresh")
    gap = (paired["score"] - paired["score_fresh"]).to_numpy()
    error = (paired["stderr"].to_numpy() ** 2 + paired["stderr_fresh"].to_numpy() ** 2).sum() ** 0.5 / max(len(gap), 1)
    return float(gap.mean()), float(error)


def at_chance(grid: Grid) -> pl.DataFrame:
    """One row for each size, arm and benchmark at the largest finished budget: chance-corrected score, 95% interval, and whether
    the interval reaches down to chance (0). Tasks at chance are shown, never dropped."""
    rows = []
    for params, ratio in sorted({(c.params, c.synthetic_ratio) for c in grid.cells}):
        same = [i for i, c in enumerate(grid.cells) if (c.params, c.synthetic_ratio) == (params, ratio)]
        index = max(same, key=lambda i: grid.cells[i].tokens)
        for k, name in enumerate(grid.benchmarks):
            mean = mean_interval(grid.answers, k, index)
            rows.append((params, grid.cells[index].tokens, ratio, name, mean.estimate, mean.low, mean.high, mean.low <= 0))
    columns = ["params", "tokens", "synthetic_ratio", "benchmark", "score", "low", "high", "at_chance"]
    return pl.DataFrame(rows, schema=columns, orient="row")
