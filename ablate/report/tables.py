"""The small table behind each figure: one function a figure. All arithmetic of the figures is here, the ink in plots.py.

Every function takes finished runs only, one level of the other factors (`cells.strata`), and answers with an empty table
where there is nothing to show yet.
"""

from __future__ import annotations

import polars as pl

from ablate.report import published
from ablate.report.cells import grids
from ablate.report.claims import Verdict, at_chance
from ablate.report.frames import Frames
from ablate.store.record import mean_score

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
    """`cells` with the part each plays in the verdict: reference, named, passed (tested, beats the reference), failed, or empty;
    then the baselines that were scored on all that the mean is over (role baseline), whose training cost is not known here."""
    schema = {"params": pl.Int64, "tokens": pl.Int64, "synthetic_ratio": pl.Float64, "role": pl.String}
    parts = pl.DataFrame(_roles(verdict), schema=schema, orient="row")
    own = cells(frames).join(parts, on=CELL, how="left", maintain_order="left").with_columns(pl.col("role").fill_null(""))
    return pl.concat([own, _baseline_means(frames)], how="diagonal") if len(own) else own


def _baseline_means(frames: Frames) -> pl.DataFrame:
    asked = set(_public(frames.scores)["benchmark_digest"])
    rows = []
    for (name,), scores in frames.baselines.group_by("name", maintain_order=True):
        if (mean := mean_score(scores.iter_rows(named=True), asked)) is not None:
            rows.append((str(name), mean, mean, mean, "baseline"))
    schema = {"baseline": pl.String, "score": pl.Float64, "low": pl.Float64, "high": pl.Float64, "role": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


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
    lowest and highest seed, whether it is at chance; then of each baseline, on the same items. Public items only. The largest
    cell: most params, then most tokens, among those that most arms finished."""
    arms = frames.runs.group_by("params", "tokens").agg(pl.col("synthetic_ratio").n_unique().alias("arms"))
    largest = arms.sort("arms", "params", "tokens", descending=True).head(1)
    key = ("benchmark", "register", "metric")
    own = (
        _public(frames.scores)
        .join(frames.runs.join(largest, on=["params", "tokens"]).select("run", *CELL), on="run")
        .group_by(*CELL, *key, "chance")
        .agg(
            pl.col("score", "stderr").mean(),
            pl.col("score").min().alias("lowest_seed"),
            pl.col("score").max().alias("highest_seed"),
            pl.col("n").first(),
            pl.col("score_clean").mean(),
            pl.col("n_clean").first(),
            pl.len().alias("seeds"),
        )
        .sort("register", "benchmark", "synthetic_ratio", descending=[True, False, False])
    )
    others = _public(frames.baselines).join(own, on=key, how="semi").select("name", *key, "chance", "score", "stderr", "n")
    both = pl.concat([own, others.rename({"name": "baseline"})], how="diagonal")
    return _with_interval(both).with_columns(pl.col("baseline").fill_null(""))


def _public(scores: pl.DataFrame) -> pl.DataFrame:
    return scores.filter(~pl.col("fresh"))


def _with_interval(scores: pl.DataFrame) -> pl.DataFrame:
    """`low` and `high`, 95% over items, and `at_chance`: whether low is not above chance. Nothing is at a chance that is not known."""
    half = 1.96 * pl.col("stderr")
    low, high = pl.col("score") - half, pl.col("score") + half
    return scores.with_columns(low.alias("low"), high.alias("high"), (low <= pl.col("chance")).fill_null(False).alias("at_chance"))


def sizes(frames: Frames) -> pl.DataFrame:
    """Chance-corrected score of each benchmark, size and arm at the size's largest budget, and whether it is at chance."""
    tables = [at_chance(grid) for grid in grids(frames)]
    return tables[0] if tables else pl.DataFrame()


def right_choice(frames: Frames) -> pl.DataFrame:
    """Bits per byte and mean log-probability (nats) of the right choice, of each cell on each benchmark: mean over registers and
    seeds, lowest and highest seed. Public items only."""
    bits = pl.col("bits_per_byte")
    return (
        _public(frames.scores)
        .drop_nulls("bits_per_byte")
        .join(frames.runs.select("run", *CELL), on="run")
        .group_by("run", "benchmark", *CELL)
        .agg(bits.mean(), pl.col("mean_logprob").mean())
        .group_by("benchmark", *CELL)
        .agg(bits.mean(), bits.min().alias("low"), bits.max().alias("high"), pl.col("mean_logprob").mean(), pl.len().alias("seeds"))
        .sort("benchmark", "synthetic_ratio", "params", "tokens")
    )


def beside(frames: Frames, with_published: bool = False) -> pl.DataFrame:
    """Scores against total parameters: of the study at each size's largest budget, of its baselines and, `with_published`, what
    others published of the same benchmark by the same metric, with setting and citation. Registers are pooled by items. Only
    benchmarks of which there is another score than the study's."""
    key = ("benchmark", "metric")
    runs = _largest_budgets(frames).select("run", "params_total", *CELL)
    own = (
        _pooled(_public(frames.scores).join(runs, on="run"), "run", *CELL, "params_total", *key)
        .group_by(*CELL, *key)
        .agg(pl.col("params_total", "score", "stderr", "chance", "n").mean(), pl.len().alias("seeds"))
        .with_columns(pl.lit("study").alias("kind"))
    )
    baselines = _pooled(_public(frames.baselines), "name", "params_total", *key).rename({"name": "system"})
    found = published.found().drop_nulls("params").rename({"params": "params_total", "value": "score"})
    others = [baselines.with_columns(pl.lit("baseline").alias("kind"))]
    if with_published:
        columns = ("system", "params_total", *key, "score", "bound", "setting", "source")
        others.append(found.select(*columns, pl.lit("published").alias("kind")))
    beside = pl.concat(others, how="diagonal_relaxed").join(own, on=key, how="semi")
    both = pl.concat([own.join(beside, on="benchmark", how="semi"), beside], how="diagonal_relaxed")
    return _with_interval(both).sort(*key, pl.col("kind") != "study", "kind", "params_total", "synthetic_ratio")


def _pooled(scores: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Registers pooled by their items; their standard errors are independent, as no item is in two registers."""
    n = pl.col("n")
    mean = {name: (pl.col(name) * n).sum() / n.sum() for name in ("score", "chance")}
    return scores.group_by(*by).agg(**mean, stderr=((pl.col("stderr") * n).pow(2).sum().sqrt() / n.sum()), n=n.sum())
