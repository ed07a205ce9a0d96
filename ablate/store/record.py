"""From what a worker left in a run's folder to rows. Pure: no database is opened here."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from ablate.errors import StoreError
from ablate.workspace import read_json

MEAN_SCORE_VERSION = 1
"""Raise it when `mean_score` would give another number for the same scores."""
CURVE_POINTS = 200

Row = dict[str, Any]
Answers = Mapping[str, Mapping[str, Sequence[Any]]]
"""File name in a run's folder answers/ → its columns."""


def mean_score(scores: Iterable[Mapping[str, Any]], declared: Sequence[str] = ()) -> float | None:
    """Mean over benchmarks of (score - chance) / (1 - chance); registers are pooled by items, fresh twins left out.

    `declared`: the benchmarks of the mean; empty: all that are in `scores`. None until every one is there, so that
    a mean is never over fewer benchmarks than it says.
    """
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for row in scores:
        if not row["fresh"] and (not declared or row["benchmark"] in declared):
            by_name.setdefault(row["benchmark"], []).append(row)
    if not by_name or not set(declared) <= set(by_name):
        return None
    corrected = []
    for _, rows in sorted(by_name.items()):
        n = sum(row["n"] for row in rows)
        score, chance = (math.fsum(row[key] * row["n"] for row in rows) / n for key in ("score", "chance"))
        corrected.append((score - chance) / (1 - chance))
    return math.fsum(corrected) / len(corrected)


def _synthetic_ratio(shares: Mapping[str, str]) -> Fraction:
    """The share of the role `synthetic`, which may be a mix of sources: `synthetic.stories`, `synthetic.books`."""
    return sum((Fraction(share) for name, share in shares.items() if name.partition(".")[0] == "synthetic"), Fraction(0))


def run_row(run: Mapping[str, Any]) -> Row:
    """A new row of `runs` from {"digest", "family", "recipe"} (run.json holds these)."""
    recipe = run["recipe"]
    return {
        "run": run["digest"],
        "family": run["family"],
        "seed": recipe["seed"],
        "params": recipe["params"],
        "tokens": recipe["tokens"],
        "synthetic_ratio": float(_synthetic_ratio(recipe["data"]["shares"])),
        "recipe": recipe,
        "optimizer": recipe["train"].get("optimizer", {}).get("name"),
        "status": "pending",
    }


def outcome_row(outcome: Mapping[str, Any]) -> Row:
    """The columns of `runs` that a done run's outcome fills."""
    train = outcome["train"]
    same = (
        "params_total", "steps", "train_seconds", "spent_seconds", "lost_seconds", "score_seconds",
        "hours_basis", "mfu", "peak_memory_bytes", "final_loss",
    )  # fmt: skip
    return {
        **{name: train[name] for name in same},
        "params_non_embedding": train.get("params_non_embedding"),
        **{name: train.get(name) for name in ("setup_seconds", "predicted_seconds", "predicted_memory_bytes")},
        "tokens_trained": train["tokens"],
        "train_flops": float(train["flops"]),
        "bits_per_byte": next((text["bits_per_byte"] for text in outcome["texts"] if text["primary"]), None),
    }


def attempt_row(attempt: Mapping[str, Any]) -> Row:
    """The columns of `attempts` that its worker knows."""
    same = (
        "host", "pid", "device", "device_type", "threads", "launcher", "compile", "versions", "optimizer_backend", "optimizer_version",
        "micro_batch", "oom_halvings", "pack", "devices", "activation_checkpointing",
    )  # fmt: skip
    row = {name: attempt.get(name) for name in same}
    return {**row, "started": stamp(attempt.get("started")), "ended": stamp(attempt.get("ended"))}


def text_rows(outcome: Mapping[str, Any]) -> list[Row]:
    same = ("text", "bits_per_byte", "tokens", "bytes")
    rows = [row for row in outcome["texts"] if row["bits_per_byte"] is not None]  # a source may hold nothing out
    return [{"run": outcome["digest"], "is_primary": bool(row["primary"]), **{name: row[name] for name in same}} for row in rows]


def usage_rows(outcome: Mapping[str, Any]) -> list[Row]:
    same = ("source", "sequences", "tokens", "bytes", "unique_tokens", "epochs")
    return [{"run": outcome["digest"], "shards": row.get("shards"), **{name: row[name] for name in same}} for row in outcome["usage"]]


def score_row(digest: str, score: Mapping[str, Any]) -> Row:
    same = ("benchmark", "register", "group", "metric", "score", "stderr", "acc_norm", "chance", "n", "mean_logprob", "digest")
    known = {"fresh": bool(score["fresh"]), "benchmark_digest": score.get("benchmark_digest")}
    return {"run": digest, **known, **{name: score[name] for name in same}}


def data_gpu_hours(usage: Iterable[Mapping[str, Any]], costs: Mapping[str, float | None]) -> float | None:
    """What the different tokens that a run read cost to generate; None where a source that it read states no cost."""
    total = 0.0
    for row in usage:
        if row["tokens"]:
            cost = costs.get(row["source"])
            if cost is None:
                return None
            total += cost * row["unique_tokens"] / 1e9
    return total


def answers_name(score: Mapping[str, Any]) -> str:
    """The file in a run's folder answers/ that holds the answers behind a score."""
    return f"{score['benchmark']}.{score['register']}.{'fresh' if score['fresh'] else 'public'}.json"


def read_answers(folder: Path) -> Answers:
    """The answers of a run's folder."""
    return {path.name: read_json(path) for path in sorted((folder / "answers").glob("*.json"))}


def answer_rows(score_id: int, answers: Mapping[str, Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Rows of `item_answers`, in the order of its columns; ValueError where the lists differ in length."""
    lists = [answers[name] for name in ("template", "correct", "correct_norm", "choice", "logprob")]
    return [(score_id, item, *values) for item, values in enumerate(zip(*lists, strict=True))]


def curve_rows(digest: str, metrics: Path) -> list[Row]:
    """metrics.jsonl as rows of `curves`: at most CURVE_POINTS evenly spaced lines, as they were written, first and last
    among them. No file, no rows; a line cut off by a kill is left out."""
    names = ("step", "tokens", "loss", "lr", "grad_norm", "tokens_per_s", "seconds")
    points: dict[int, Mapping[str, Any]] = {}
    for line in metrics.read_text(encoding="utf-8").splitlines() if metrics.exists() else []:
        try:
            point = json.loads(line)
        except json.JSONDecodeError:
            continue
        points[point["step"]] = point
    return [{"run": digest, **{name: points[step].get(name) for name in names}} for step in thin(sorted(points), CURVE_POINTS)]


def thin(values: Sequence[int], most: int) -> list[int]:
    """At most `most` evenly spaced ones of `values`, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[i * (len(values) - 1) // (most - 1)] for i in range(most)]


def fingerprint(*parts: Any) -> str:
    """sha256 of the parts as JSON, 64 hex digits: whether what is recorded is what was recorded before."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def stamp(when: float | str | None = None) -> str | None:
    """Seconds since 1970 as UTC in ISO 8601, to the second; text and None stay as they are."""
    if when is None or isinstance(when, str):
        return when
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def damaged(digest: str, error: Exception) -> StoreError:
    """What is said of a run's folder whose files cannot be recorded."""
    what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return StoreError(f"the outcome of run {digest} cannot be recorded ({what}); remove runs/{digest}/outcome.json and run the study again")
