"""What a report reads of one study: seven small polars tables with fixed columns, whatever the store's tables are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

from ablate.evals.items import LM_EVAL
from ablate.store.record import MEAN_METRICS

RUNS = {
    "run": pl.String,
    "params": pl.Int64,
    "tokens": pl.Int64,
    "synthetic_ratio": pl.Float64,
    "seed": pl.Int64,
    "factors": pl.String,
    "train_flops": pl.Float64,
    "device_hours": pl.Float64,
    "mean_score": pl.Float64,
    "bits_per_byte": pl.Float64,
    "status": pl.String,
    "device": pl.String,
    "gpu_hours": pl.Float64,
    "data_gpu_hours": pl.Float64,
    "params_total": pl.Int64,
}
SCORES = {
    "run": pl.String,
    "benchmark": pl.String,
    "register": pl.String,
    "fresh": pl.Boolean,
    "score": pl.Float64,
    "stderr": pl.Float64,
    "chance": pl.Float64,
    "n": pl.Int64,
    "score_clean": pl.Float64,
    "n_clean": pl.Int64,
    "metric": pl.String,
    "mean_logprob": pl.Float64,
    "bits_per_byte": pl.Float64,
    "benchmark_digest": pl.String,
}
BASELINES = {"name": pl.String, "params_total": pl.Int64, **{k: v for k, v in SCORES.items() if k not in ("run", "score_clean", "n_clean")}}
ANSWERS = {
    "run": pl.String,
    "benchmark": pl.String,
    "register": pl.String,
    "cluster": pl.String,
    "correct": pl.Float64,
    "n": pl.Int64,
}
CURVES = {"run": pl.String, "step": pl.Int64, "tokens": pl.Int64, "loss": pl.Float64}
TEXTS = {"run": pl.String, "text": pl.String, "bits_per_byte": pl.Float64}
USAGE = {"run": pl.String, "source": pl.String, "tokens": pl.Int64, "bytes": pl.Int64, "epochs": pl.Float64}
ATTEMPTS = {
    "run": pl.String,
    "launcher": pl.String,
    "threads": pl.Int64,
    "compile": pl.Boolean,
    "devices": pl.Int64,
    "activation_checkpointing": pl.Boolean,
    "optimizer_backend": pl.String,
    "optimizer_version": pl.String,
    "versions": pl.String,
}
_COUNTED = f"metric IN ({', '.join(repr(name) for name in MEAN_METRICS)}) AND chance IS NOT NULL AND error IS NULL"
_WITH_ITEMS = f"register <> '{LM_EVAL}'"
"""What overlap can be looked for: the items of lm-eval's tasks are its own."""


@dataclass(frozen=True)
class Frames:
    """One study as tables; the columns of each are the constants above.

    runs: a row a run of the study, whatever its status; factors is JSON with every factor's level. scores: fresh twins included.
    Only the scores that a mean score may be made of are in it (store/record.py), and none that failed. answers: n items of a cluster
    and how many of them are answered right, fresh twins left out; a cluster is a template, or an item where a benchmark has only
    one template. clean: the same of those items alone that GPT-3's rule finds in nothing that any run of the study read; None where
    that has not been measured of every score. curves: of each size's largest budget. attempts: how each finished run was carried
    out; versions is JSON. baselines: scores of the study's baselines on the items that its runs are asked, as in `scores`; name is
    the end of the hub's id or of the folder, as much of it as tells it from the others.
    """

    study: str
    runs: pl.DataFrame
    scores: pl.DataFrame
    answers: pl.DataFrame
    clean: pl.DataFrame | None
    curves: pl.DataFrame
    texts: pl.DataFrame
    usage: pl.DataFrame
    attempts: pl.DataFrame
    baselines: pl.DataFrame

    @property
    def done(self) -> pl.DataFrame:
        return self.runs.filter(pl.col("status") == "done")


class Queryable(Protocol):
    def query(self, sql: str) -> tuple[Sequence[str], Sequence[Sequence[Any]]]: ...


def table(schema: dict[str, Any], rows: Sequence[Sequence[Any]] = ()) -> pl.DataFrame:
    """Rows in the schema's order → a typed frame, also where there are none."""
    wide = pl.DataFrame(rows, schema=list(schema), orient="row", infer_schema_length=None) if rows else pl.DataFrame(schema=schema)
    return wide.cast(pl.Schema(schema))


def read(store: Queryable, study: str) -> Frames:
    """The study as it stands now; works while another process writes. A study the store does not know gives empty frames."""
    here = f"run IN (SELECT run FROM results WHERE study = {quoted(study)})"
    runs = _select(store, RUNS, f"FROM results WHERE study = {quoted(study)} ORDER BY position, seed")
    return Frames(
        study,
        runs,
        _select(store, SCORES, f"FROM scores WHERE study = {quoted(study)} AND {_COUNTED} ORDER BY run, benchmark, register, fresh"),
        _answers(store, study),
        _answers(store, study, _clean(study)) if _is_measured(store, study) else None,
        _select(store, CURVES, f"FROM curves WHERE run IN ({_longest(runs)}) ORDER BY run, step"),
        _select(store, TEXTS, f"FROM text_losses WHERE {here} ORDER BY run, text"),
        _select(store, USAGE, f"FROM source_usage WHERE {here} ORDER BY run, source"),
        _select(store, ATTEMPTS, f"FROM attempts WHERE status = 'done' AND {here} ORDER BY run, id"),
        _baselines(store, study),
    )


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _select(store: Queryable, schema: dict[str, Any], rest: str) -> pl.DataFrame:
    _, rows = store.query(f"SELECT {', '.join(schema)} {rest}")
    return table(schema, rows)


def _is_measured(store: Queryable, study: str) -> bool:
    """Whether it is known of every score which of its items are clean."""
    asked = f"FROM scores WHERE study = {quoted(study)} AND NOT fresh AND {_COUNTED} AND {_WITH_ITEMS}"
    _, [(scores, measured)] = store.query(f"SELECT COUNT(*), COUNT(n_clean) {asked}")
    return bool(scores == measured > 0)


def _clean(study: str) -> str:
    """The condition that keeps the items that stand in no text of the study, the same for all its runs."""
    read = f"SELECT shards FROM source_usage JOIN results USING (run) WHERE study = {quoted(study)} AND source_usage.tokens > 0"
    # EXISTS, for it looks each item up in the primary key; pairs of columns that are NOT IN a list are compared with all of it
    whose = "benchmark_scores.id = score_id AND item_overlaps.item = item_answers.item"
    found = f"SELECT 1 FROM item_overlaps JOIN benchmark_scores USING (benchmark_digest) WHERE {whose} AND method = 'gpt3'"
    return f"{_WITH_ITEMS} AND NOT EXISTS ({found} AND contaminated AND shards IN ({read}))"


def _baselines(store: Queryable, study: str) -> pl.DataFrame:
    theirs = f"baseline IN (SELECT baseline FROM study_baselines WHERE study = {quoted(study)})"
    asked = f"benchmark_digest IN (SELECT benchmark_digest FROM study_benchmarks WHERE study = {quoted(study)})"
    found = _select(store, BASELINES, f"FROM baseline_results WHERE {theirs} AND {asked} AND {_COUNTED} ORDER BY name, benchmark, register")
    return found.with_columns(pl.col("name").replace(_short(found["name"].unique().to_list())))


def _short(names: Sequence[str]) -> dict[str, str]:
    """Each hub id or folder → its last part, or as many as tell it from the others."""
    parts = {name: name.rstrip("/").split("/") for name in names}
    for depth in range(1, max(map(len, parts.values()), default=1)):
        short = {name: "/".join(path[-depth:]) for name, path in parts.items()}
        if len(set(short.values())) == len(short):
            return short
    return {name: name for name in names}


def _answers(store: Queryable, study: str, also: str = "TRUE") -> pl.DataFrame:
    """Added up in SQL, as a study of a thousand runs has millions of answers."""
    whose = f"FROM scores JOIN item_answers USING (score_id) WHERE study = {quoted(study)} AND NOT fresh AND {_COUNTED} AND {also}"
    sums = "SELECT run, benchmark, register, {cluster}, SUM(correct), COUNT(*) {whose} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
    answers = table(ANSWERS, store.query(sums.format(cluster="template", whose=whose))[1])
    alone = answers.filter(pl.col("cluster").n_unique().over("benchmark") < 2)["benchmark"].unique().to_list()
    if not alone:
        return answers
    whose += f" AND benchmark IN ({', '.join(quoted(n) for n in alone)})"
    by_item = table(ANSWERS, store.query(sums.format(cluster="register || item", whose=whose))[1])
    return pl.concat([answers.filter(~pl.col("benchmark").is_in(alone)), by_item])


def _longest(runs: pl.DataFrame) -> str:
    longest = runs.filter(pl.col("tokens") == pl.col("tokens").max().over("params"))["run"].unique(maintain_order=True)
    return ", ".join(quoted(r) for r in longest) or "NULL"
