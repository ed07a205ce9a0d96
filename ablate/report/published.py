"""The article's comparison, from results that others published: nothing in these tables was measured here."""

from __future__ import annotations

import polars as pl

from ablate.store import reference

SOURCES = {"phi-1.5": "arXiv:2309.05463 Tab.", "phi-1": "arXiv:2306.11644 Tab.1", "article": "QbitAI article of 2023-09-25"}
"""The two papers whose tables the article compares, and the article where it has figures of its own: each by its own protocol, so
each with its own marker."""
PANELS = {
    "winogrande": ("WinoGrande", "acc", 0.5),
    "arc_easy": ("ARC-Easy", "acc", 0.25),
    "arc_challenge": ("ARC-Challenge", "acc", 0.25),
    "boolq": ("BoolQ", "acc", 0.5),
    "social_iqa": ("SIQA", "acc", 1 / 3),
    "piqa": ("PIQA", "acc", 0.5),
    "hellaswag": ("HellaSwag", "acc", 0.25),
    "openbookqa": ("OpenBookQA", "acc", 0.25),
    "mmlu": ("MMLU, 2-shot", "acc", 0.25),
    "squad": ("SQuAD", "exact_match", None),
    "agieval": ("AGIEval (protocol not stated)", "score", None),
    "humaneval": ("HumanEval", "pass@1", None),
    "mbpp": ("MBPP", "pass@1", None),
    "gsm8k": ("GSM8K (phi: by writing code)", "pass@1", None),
}
"""benchmark → (title of its panel, the one metric in it, the score of blind guessing where there is one)"""
AXES = {
    "params": "parameters, as published",
    "tokens": "training tokens, as published",
    "flops": "6 × parameters × tokens (FLOPs)",
}
NAMED = ("phi", "Llama", "Vicuna", "Falcon", "MPT", "OPT", "GPT-Neo", "GPT2", "StarCoder", "CodeGen-Mono-16")
"""Beginnings of the names of systems that a figure writes beside their points: those of the article and of the first paper."""


def found() -> pl.DataFrame:
    """What was published and found (recalled rows left out): a row a figure, with its setting and citation."""
    table = pl.DataFrame(reference.rows(), infer_schema_length=None)
    return table.with_columns(pl.col("params", "tokens").cast(pl.Int64)).filter(pl.col("status") == "found").drop("status")


def comparison() -> pl.DataFrame:
    """The rows of SOURCES on the article's benchmarks by one metric each, in the order of PANELS, with `origin` (one of SOURCES),
    `flops` (6 × params × tokens, empty where one is not known), and whether the system is a `phi` and is `named`."""
    origins = [pl.when(pl.col("source").str.starts_with(cited)).then(pl.lit(origin)) for origin, cited in SOURCES.items()]
    wanted = [(benchmark, metric, i) for i, (benchmark, (_, metric, _)) in enumerate(PANELS.items())]
    panels = pl.DataFrame(wanted, schema=["benchmark", "metric", "panel"], orient="row")
    name = pl.col("system")
    return (
        found()
        .join(panels, on=["benchmark", "metric"])
        .with_columns(
            pl.coalesce(origins).alias("origin"),
            (6.0 * pl.col("params") * pl.col("tokens")).alias("flops"),
            name.str.starts_with("phi").alias("phi"),
            pl.any_horizontal(name.str.starts_with(start) for start in NAMED).alias("named"),
        )
        .drop_nulls("origin")
        .sort("panel", "params", "system", nulls_last=True)
        .drop("panel")
    )


def along(axis: str) -> tuple[pl.DataFrame, list[str]]:
    """`comparison` with `x`, one of AXES, where that is known, and the systems of which it is not."""
    table = comparison().with_columns(pl.col(axis).cast(pl.Float64).alias("x"))
    missing = table.filter(pl.col("x").is_null())["system"].unique().sort().to_list()
    return table.drop_nulls("x"), missing
