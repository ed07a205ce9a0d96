"""The small table behind each figure: one function a figure. All arithmetic of the figures is here, the ink in plots.py.

Every function takes finished runs only, one level of the other factors (`cells.strata`), and answers with an empty table
where there is nothing to show yet.
"""

from __future__ import annotations

import polars as pl

from ablate.report.claims import Verdict
from ablate.report.frames import Frames

CELL = ("params", "tokens", "synthetic_ratio")
SMOOTH = 0.03
"""Share of a loss curve that its moving average spans."""


def cells(frames: Frames) -> pl.DataFrame:
    """One row a cell: training FLOPs, mean score over seeds, the lowest and highest seed, and how many."""
    score = pl.col("mean_score")
    return (
        frames.runs.drop_nulls("mean_score")
        .group_by(CELL)
        .agg(
            pl.col("train_flops").mean(),
            score.mean().alias("score"),
            score.min().alias("low"),
            score.max().alias("high"),
            pl.len().alias("seeds"),
        )
        .sort("synthetic_ratio", "params", "tokens")
    )


def claim(frames: Frames, verdict: Verdict | None) -> pl.DataFrame:
    """`cells` with the part each plays in the verdict: reference, named, passed (tested, beats the reference), failed, or empty."""
    schema = {"params": pl.Int64, "tokens": pl.Int64, "synthetic_ratio": pl.Float64, "role": pl.String}
    parts = pl.DataFrame(_roles(verdict), schema=schema, orient="row")
    return cells(frames).join(parts, on=CELL, how="left", maintain_order="left").with_columns(pl.col("role").fill_null(""))


def _roles(verdict: Verdict | None) -> list[tuple[int, int, float, str]]:
    if verdict is None or verdict.reference is None:
        return []
    rows = [(verdict.reference, "reference")]
    for tested in verdict.tested:
        rows.append((tested.model, "named" if tested is verdict.named else "passed" if tested.difference.low > 0 else "failed"))
    return [(model.params, model.tokens, model.synthetic_ratio, role) for model, role in rows]


def ratio(frames: Frames) -> pl.DataFrame:
    """`cells`, along the ratio for each size and budget."""
    return cells(frames).sort("tokens", "params", "synthetic_ratio")


def heat(frames: Frames) -> pl.DataFrame:
    """`cells`, params × tokens for each arm."""
    return cells(frames).select(*CELL, "score", "seeds")


def loss(frames: Frames) -> pl.DataFrame:
    """Training loss of each size's largest budget (the largest that any arm has finished), smoothed and averaged over seeds."""
    smooth = pl.col("loss").rolling_mean_by("tokens", f"{max(int(_span(frames) * SMOOTH), 1)}i").over("run")
    return (
        frames.curves.drop_nulls("loss")
        .sort("run", "tokens")
        .with_columns(smooth.alias("loss"))
        .join(_largest_budgets(frames).select("run", *CELL).rename({"tokens": "budget"}), on="run")
        .group_by("params", "budget", "synthetic_ratio", "step", "tokens")
        .agg(pl.col("loss").mean(), pl.len().alias("seeds"))
        .sort("params", "synthetic_ratio", "step")
    )


def _span(frames: Frames) -> int:
    return int(frames.curves["tokens"].max() or 1)  # type: ignore[arg-type]


def _largest_budgets(frames: Frames) -> pl.DataFrame:
    return frames.runs.filter(pl.col("tokens") == pl.col("tokens").max().over("params"))


def texts(frames: Frames) -> pl.DataFrame:
    """Bits per byte of each arm on each held-out text, at each size's largest budget; `neutral` first: no arm trained on it."""
    return (
        frames.texts.join(_largest_budgets(frames).select("run", *CELL), on="run")
        .group_by(*CELL, "text")
        .agg(
            pl.col("bits_per_byte").mean(),
            pl.col("bits_per_byte").min().alias("low"),
            pl.col("bits_per_byte").max().alias("high"),
            pl.len().alias("seeds"),
        )
        .sort(pl.col("text") != "neutral", "text", "synthetic_ratio", "params")
    )


def benchmarks(frames: Frames) -> pl.DataFrame:
    """Accuracy of each arm on each benchmark and register at the largest cell: mean over seeds, 95% over items (`low`, `high`), the
    lowest and highest seed. Public items only. The largest cell: most params, then most tokens, among those that most arms finished."""
    arms = frames.runs.group_by("params", "tokens").agg(pl.col("synthetic_ratio").n_unique().alias("arms"))
    largest = arms.sort("arms", "params", "tokens", descending=True).head(1)
    half = 1.96 * pl.col("stderr").mean()
    return (
        frames.scores.filter(~pl.col("fresh"))
        .join(frames.runs.join(largest, on=["params", "tokens"]).select("run", *CELL), on="run")
        .group_by(*CELL, "benchmark", "register", "chance")
        .agg(
            pl.col("score").mean(),
            (pl.col("score").mean() - half).alias("low"),
            (pl.col("score").mean() + half).alias("high"),
            pl.col("score").min().alias("lowest_seed"),
            pl.col("score").max().alias("highest_seed"),
            pl.col("n").first(),
            pl.col("score_clean").mean(),
            pl.col("n_clean").first(),
            pl.len().alias("seeds"),
        )
        .sort("register", "benchmark", "synthetic_ratio", descending=[True, False, False])
    )
