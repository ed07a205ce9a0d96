"""From a study's tables to the arrays that effects are computed on: a cell is a mean over seeds, so runs are laid out cell by seed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from ablate.report.effects import Answers, Floats
from ablate.report.frames import Frames

MAIN_FACTORS = ("params", "tokens", "synthetic_ratio")
LR = "train.lr"


@dataclass(frozen=True)
class Cell:
    """One combination of levels; runs[s] is the digest of its run at seed s (only finished ones)."""

    params: int
    tokens: int
    synthetic_ratio: float
    flops: float
    runs: dict[int, str]

    @property
    def key(self) -> tuple[int, int, float]:
        return self.params, self.tokens, self.synthetic_ratio


@dataclass(frozen=True)
class Grid:
    """The finished part of a study at one level of every other factor.

    conditions: those other factors. declared: (params, tokens, synthetic_ratio) of every cell, finished or not. benchmarks: the
    names along Answers.gains. left_out: benchmarks that some finished run has not been scored on. unfinished: declared runs that
    are not done. lr_tuned: see the function of that name.
    """

    conditions: dict[str, object]
    declared: tuple[tuple[int, int, float], ...]
    cells: tuple[Cell, ...]
    answers: Answers
    benchmarks: tuple[str, ...]
    left_out: tuple[str, ...]
    unfinished: int
    lr_tuned: bool

    def index(self, key: tuple[int, int, float]) -> int | None:
        """The place of a finished cell, None where no run of it has finished."""
        return next((i for i, c in enumerate(self.cells) if c.key == key), None)

    @property
    def items(self) -> int:
        return int(sum(n.sum() for n in self.answers.items))


def conditions(runs: pl.DataFrame) -> Iterator[tuple[dict[str, object], pl.DataFrame]]:
    """The runs split by every factor that is neither a main one nor the learning rate, in the order they were declared."""
    others = [json.dumps({k: v for k, v in json.loads(f).items() if k not in (*MAIN_FACTORS, LR)}, sort_keys=True) for f in runs["factors"]]
    keyed = runs.with_columns(pl.Series("condition", others, dtype=pl.String))
    for (condition,), part in keyed.group_by("condition", maintain_order=True):
        yield json.loads(str(condition)), part.drop("condition")


def with_lr(runs: pl.DataFrame) -> pl.DataFrame:
    """A column `lr`: the level of train.lr, null where it is not a factor."""
    levels = [json.loads(f).get(LR) for f in runs["factors"]]
    return runs.with_columns(pl.Series("lr", [x if isinstance(x, int | float) else None for x in levels], dtype=pl.Float64, strict=False))


def best_lr(runs: pl.DataFrame) -> pl.DataFrame:
    """The finished runs at each cell's best learning rate: lowest bits per byte on neutral text, mean over the seeds that every
    level has finished. Never judged by the benchmarks, so the choice does not favour the score that is tested."""
    runs = with_lr(runs)
    if runs["lr"].n_unique() < 2:
        return runs.drop("lr")
    keep = []
    for _, cell in runs.group_by(MAIN_FACTORS, maintain_order=True):
        levels = cell["lr"].n_unique()
        shared = cell.group_by("seed").agg(pl.col("lr").n_unique().alias("k")).filter(pl.col("k") == levels)["seed"]
        judged = cell.filter(pl.col("seed").is_in(shared.implode())) if len(shared) else cell
        means = judged.group_by("lr").agg(pl.col("bits_per_byte").mean()).sort("bits_per_byte", "lr", nulls_last=True)
        keep.append(cell.filter(pl.col("lr").eq_missing(pl.lit(means["lr"][0], dtype=pl.Float64))))
    return pl.concat(keep).drop("lr")


def lr_tuned(runs: pl.DataFrame) -> bool:
    """Whether each arm was tried, at every size, at three learning rates or more that bracket its best by bits per byte.

    Looked at where the budget is largest: a learning rate belongs to a size, not to a budget, as budgets share a trunk."""
    done = with_lr(runs.filter(pl.col("status") == "done"))
    if done.is_empty():
        return False
    for _, part in done.group_by("params", "synthetic_ratio"):
        largest = part.filter(pl.col("tokens") == pl.col("tokens").max(), pl.col("lr").is_not_null())
        curve = largest.group_by("lr").agg(pl.col("bits_per_byte").mean()).drop_nulls().sort("lr")["bits_per_byte"].to_list()
        if len(curve) < 3 or curve.index(min(curve)) in (0, len(curve) - 1):
            return False
    return True


def strata(frames: Frames) -> list[tuple[dict[str, object], Frames]]:
    """The study split as the verdicts split it, only finished runs at each cell's best learning rate: what figures show."""
    parts = conditions(frames.runs)
    return [(condition, replace(frames, runs=best_lr(runs.filter(pl.col("status") == "done")))) for condition, runs in parts]


def grids(frames: Frames) -> list[Grid]:
    """One grid for every combination of levels of the other factors (one where there are none)."""
    return [_grid(frames, condition, runs) for condition, runs in conditions(frames.runs)]


def _grid(frames: Frames, condition: dict[str, object], runs: pl.DataFrame) -> Grid:
    done = best_lr(runs.filter(pl.col("status") == "done"))
    cells = []
    for (params, tokens, ratio), part in done.sort(MAIN_FACTORS).group_by(MAIN_FACTORS, maintain_order=True):
        flops = float(part["train_flops"].mean() or 0.0)  # type: ignore[arg-type]
        cells.append(Cell(int(params), int(tokens), float(ratio), flops, dict(zip(part["seed"], part["run"], strict=True))))
    gains, benchmarks, left_out = _gains(frames, cells)
    answers = Answers(
        tuple(g for g, _ in gains),
        tuple(n for _, n in gains),
        np.array(_numbered([(c.params, c.synthetic_ratio) for c in cells]), dtype=np.int64),
        np.array(_numbered([c.tokens for c in cells]), dtype=np.int64),
    )
    unfinished = len(runs.filter(pl.col("status") != "done"))
    declared = tuple((int(p), int(t), float(r)) for p, t, r in runs.select(MAIN_FACTORS).unique().sort(MAIN_FACTORS).iter_rows())
    return Grid(condition, declared, tuple(cells), answers, benchmarks, left_out, unfinished, lr_tuned(runs))


def _numbered(keys: list[object] | list[int] | list[tuple[int, float]]) -> list[int]:
    order = {k: i for i, k in enumerate(dict.fromkeys(keys))}
    return [order[k] for k in keys]


def clusters(frames: Frames) -> pl.DataFrame:
    """Answers added up: run, benchmark, cluster, gain (sum of chance-corrected answers, registers pooled), items.

    Both registers of a template are one cluster: they ask about the same facts."""
    chance = frames.scores.filter(~pl.col("fresh")).select("run", "benchmark", "register", "chance").unique()
    return (
        frames.answers.join(chance, on=["run", "benchmark", "register"])
        .with_columns(((pl.col("correct") - pl.col("n") * pl.col("chance")) / (1 - pl.col("chance"))).alias("gain"))
        .group_by("run", "benchmark", "cluster")
        .agg(pl.col("gain").sum(), pl.col("n").sum().cast(pl.Float64).alias("items"))
        .sort("benchmark", "cluster", "run")
    )


def _gains(frames: Frames, cells: list[Cell]) -> tuple[list[tuple[Floats, Floats]], tuple[str, ...], tuple[str, ...]]:
    """For every benchmark that all finished runs have: gains [cells, seeds, clusters] and items [clusters]."""
    runs = [r for c in cells for r in c.runs.values()]
    seeds = sorted({s for c in cells for s in c.runs})
    place = {r: (i, seeds.index(s)) for i, c in enumerate(cells) for s, r in c.runs.items()}
    table = clusters(frames).filter(pl.col("run").is_in(runs))
    gains, names, left_out = [], [], []
    for (name,), part in table.group_by("benchmark", maintain_order=True):
        if part["run"].n_unique() < len(runs):
            left_out.append(str(name))
            continue
        order = {c: k for k, c in enumerate(part["cluster"].unique(maintain_order=True))}
        gain, items = np.full((len(cells), len(seeds), len(order)), np.nan), np.zeros(len(order))
        for run, cluster, value, count in part.select("run", "cluster", "gain", "items").iter_rows():
            gain[(*place[run], order[cluster])] = value
            items[order[cluster]] = count
        gains.append((gain, items))
        names.append(str(name))
    return gains, tuple(names), tuple(left_out)
