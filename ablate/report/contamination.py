"""Llama-2's test of an effect of overlap (Touvron et al. 2023, appendix A.6), on what the overlap tables hold.

c is the share of an item's tokens in matched spans longer than L. Four groups: clean c < .2, not clean c >= .2, not dirty c < .8, dirty
c >= .8. A group of n items has Z = (its mean - mu) / (sigma / sqrt(n)), mu and sigma of the score over all items. Overlap had
an effect where all four |Z| exceed 2, the clean groups below the mean and the dirty ones above; told is the largest such L.
"""

from __future__ import annotations

import polars as pl

from ablate.report.frames import Frames, Queryable, quoted, table

GROUPS = {"clean": pl.col("c") < 0.2, "not_clean": pl.col("c") >= 0.2, "not_dirty": pl.col("c") < 0.8, "dirty": pl.col("c") >= 0.8}
ABOVE = ("not_clean", "dirty")
Z = 2.0
_KEY = ("run", "benchmark", "register", "span")
_READ = """JOIN source_usage u ON u.shards = o.shards WHERE u.tokens > 0 AND u.run IN {runs} AND o.method LIKE 'llama2%'"""
_SPAN = "CAST(SUBSTR(o.method, 8) AS INTEGER)"
_LOOKED = f"""SELECT u.run, o.benchmark_digest, {_SPAN} FROM overlaps o {_READ} GROUP BY 1, 2, 3
    HAVING COUNT(*) = (SELECT COUNT(*) FROM source_usage n WHERE n.run = u.run AND n.tokens > 0)"""
_SHARES = f"""SELECT u.run, o.benchmark_digest, {_SPAN}, o.item, MAX(o.value) FROM item_overlaps o {_READ} GROUP BY 1, 2, 3, 4"""
_ITEMS = """SELECT b.run, b.benchmark, b.register, b.benchmark_digest, a.item, a.correct
    FROM scores s JOIN benchmark_scores b ON b.id = s.score_id JOIN item_answers a ON a.score_id = b.id
    WHERE s.study = {study} AND s.run IN {runs} AND NOT s.fresh AND s.metric = 'acc'"""


def groups(store: Queryable, frames: Frames) -> pl.DataFrame:
    """A row for each finished run of a size's largest budget, each benchmark in each register, and each L: of each group n, mean and
    z (null where it is empty), and whether all four say `effect`. Only where every source that the run read was looked through."""
    largest = frames.done.filter(pl.col("tokens") == pl.col("tokens").max().over("params"))["run"].unique(maintain_order=True)
    runs = f"({', '.join(map(quoted, largest)) or 'NULL'})"
    keys = {"run": pl.String, "digest": pl.String, "span": pl.Int64}
    looked = table(keys, store.query(_LOOKED.format(runs=runs))[1])
    shares = table({**keys, "item": pl.Int64, "c": pl.Float64}, store.query(_SHARES.format(runs=runs))[1])
    names = {"run": pl.String, "benchmark": pl.String, "register": pl.String, "digest": pl.String, "item": pl.Int64, "correct": pl.Float64}
    items = table(names, store.query(_ITEMS.format(runs=runs, study=quoted(frames.study)))[1])
    every = items.join(looked, on=["run", "digest"]).join(shares, on=["run", "digest", "span", "item"], how="left")
    return grouped(every.with_columns(pl.col("c").fill_null(0.0)))


def grouped(items: pl.DataFrame) -> pl.DataFrame:
    """`groups` of items: run, benchmark, register, span, c and correct."""
    mean, deviation = pl.col("correct").mean(), pl.col("correct").std(ddof=0)
    columns = []
    for name, inside in GROUPS.items():
        own = pl.col("correct").filter(inside)
        z = (own.mean() - mean) / (deviation / own.count().cast(pl.Float64).sqrt())
        columns += [own.count().alias(f"n_{name}"), own.mean().alias(f"mean_{name}"), z.alias(f"z_{name}")]
    found = items.group_by(*_KEY).agg(pl.len().alias("items"), mean.alias("mean"), *columns)
    beyond = [(pl.col(f"z_{name}") > Z) if name in ABOVE else (pl.col(f"z_{name}") < -Z) for name in GROUPS]
    return found.with_columns(pl.all_horizontal(beyond).fill_null(False).alias("effect")).sort(_KEY)


def told(found: pl.DataFrame) -> list[str]:
    """A sentence for each benchmark and register on which most runs show an effect, with the largest L at which they do: one run
    of many shows one by chance."""
    most = found.group_by("benchmark", "register", "span").agg(pl.col("effect").mean()).filter(pl.col("effect") > 0.5)
    largest = most.group_by("benchmark", "register").agg(pl.col("span").max()).sort("benchmark", "register")
    return [
        f"Note: by Llama-2's test the overlap of {benchmark} ({register}) with the training text shows in most runs' scores (L = {span})."
        for benchmark, register, span in largest.iter_rows()
    ]
