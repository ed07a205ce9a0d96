"""From what a worker left in a run's folder to rows. Pure: no database is opened here."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from ablate.errors import StoreError
from ablate.evals.items import LM_EVAL
from ablate.workspace import read_json, score_file

MEAN_SCORE_VERSION = 2
"""Raise it when `mean_score` would give another number for the same scores."""
MEAN_METRICS = ("acc", "exact_match", "pass@1")
"""Metrics that are a share of items answered right, so that 0 is guessing and 1 is perfect once chance is taken off."""
CURVE_POINTS = 200
LATENCY = (
    "ms_per_token", "ms_to_first_token", "ms_per_token_after_prompt", "generate_tokens_per_s", "generate_batch", "inference_memory_bytes",
    "inference_precision", "inference_device",
)  # fmt: skip

Row = dict[str, Any]
Answers = Mapping[str, Mapping[str, Sequence[Any]]]
"""Digest of a score → the answers behind it, as columns."""


class Asked(NamedTuple):
    """A benchmark that a study asks its runs."""

    benchmark: str
    fresh: bool
    digest: str
    """Hash of its items: a benchmark of one name may have others in another study."""


def counts(score: Mapping[str, Any]) -> bool:
    """Whether a score is one of those that a mean score is made of, or would be had it not failed.

    Left out: a safety score and a judge's grade, which stand on other scales; what has no chance level; fresh twins, which ask the
    same once more. Of one that failed the metric may not be known; a task of lm-eval's, whose chance level comes with its score, is
    taken for one that counts.
    """
    if score["register"] == LM_EVAL and score.get("error") is not None:
        return True
    return not score["fresh"] and score["chance"] is not None and score["metric"] in (None, *MEAN_METRICS)


def mean_score(scores: Iterable[Mapping[str, Any]], declared: Collection[str] = ()) -> float | None:
    """Mean over benchmarks of (score - chance) / (1 - chance), of the scores that count (`counts`); registers are pooled by items.

    `declared`: digests of the benchmarks that are asked, fresh twins aside; empty: all that are in `scores`. None until every one
    is there, and where one of those that count has failed, so that a mean is never over fewer benchmarks than it says.
    """
    asked = [row for row in scores if not declared or row.get("benchmark_digest") in declared]
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for row in filter(counts, asked):
        by_name.setdefault(row["benchmark"], []).append(row)
    failed = any(row.get("error") is not None for rows in by_name.values() for row in rows)
    if not by_name or failed or not set(declared) <= {row.get("benchmark_digest") for row in asked}:
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
        **_latency(outcome),
    }


def baseline_row(outcome: Mapping[str, Any]) -> Row:
    """A row of `baselines` from the outcome in its folder."""
    attempt = attempt_row(outcome.get("attempt") or {})
    same = ("revision", "folder", "params_total", "params_non_embedding", "precision", "error")
    return {
        "baseline": outcome["baseline"],
        "name": outcome["name"],
        "status": outcome["status"],
        **{name: outcome.get(name) for name in same},
        **{name: attempt[name] for name in ("device", "device_type", "ended")},
        **_latency(outcome),
    }


def _latency(outcome: Mapping[str, Any]) -> Row:
    """What generating costs; NULL in outcomes of before it was measured."""
    measured = outcome.get("latency") or {}
    return {name: measured.get(name) for name in LATENCY}


def attempt_row(attempt: Mapping[str, Any]) -> Row:
    """The columns of `attempts` that its worker knows."""
    same = (
        "host", "pid", "device", "device_type", "threads", "launcher", "compile", "versions", "optimizer_backend", "optimizer_version",
        "micro_batch", "oom_halvings", "pack", "devices", "activation_checkpointing",
    )  # fmt: skip
    row = {name: attempt.get(name) for name in same}
    return {**row, "started": stamp(attempt.get("started")), "ended": stamp(attempt.get("ended"))}


def text_rows(key: Mapping[str, str], outcome: Mapping[str, Any]) -> list[Row]:
    """Rows of `text_losses` or `baseline_texts`; `key`: the column that names the model, and its digest."""
    same = ("text", "bits_per_byte", "tokens", "bytes")
    rows = [row for row in outcome.get("texts", []) if row["bits_per_byte"] is not None]  # a source may hold nothing out
    return [{**key, "is_primary": bool(row["primary"]), **{name: row[name] for name in same}} for row in rows]


def usage_rows(outcome: Mapping[str, Any]) -> list[Row]:
    same = ("source", "sequences", "tokens", "bytes", "unique_tokens", "epochs")
    return [{"run": outcome["digest"], "shards": row.get("shards"), **{name: row[name] for name in same}} for row in outcome["usage"]]


def score_row(score: Mapping[str, Any]) -> Row:
    """The columns of a score that its row in an outcome fills. Of one that failed, little more than its error is known."""
    same = (
        "benchmark_digest", "metric", "score", "stderr", "acc_norm", "chance", "n", "mean_logprob", "bits_per_byte", "truncated", "shots",
        "details", "error",
    )  # fmt: skip
    known = {name: score[name] for name in ("benchmark", "register", "group", "digest")}
    return {**known, "fresh": bool(score["fresh"]), **{name: score.get(name) for name in same}}


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


def read_answers(folder: Path, scores: Iterable[Mapping[str, Any]]) -> Answers:
    """The answers behind these scores of the run or the baseline in `folder`; ValueError where they are not there."""
    found: dict[str, Mapping[str, Sequence[Any]]] = {}
    for score in scores:
        if score.get("error") is None:
            called = score["benchmark"], score["register"], score["fresh"]
            names = [score_file(*called, score.get("benchmark_digest")), score_file(*called, None)]
            columns = next((c for name in names if (c := read_json(folder / "answers" / name)) is not None), None)
            if columns is None:
                raise ValueError(f"answers/{names[0]} is missing")
            found[score["digest"]] = columns
    return found


def answer_rows(score_id: int, answers: Mapping[str, Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Rows of `item_answers`, in the order of its columns; ValueError where the lists differ in length."""
    unknown = [None] * len(answers.get("template", ()))
    names = ("template", "correct", "correct_norm", "choice", "logprob", "output")
    lists = [unknown if answers.get(name) is None else answers[name] for name in names]
    lists[-1] = [json.dumps(text) if isinstance(text, list | dict) else text for text in lists[-1]]
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


def damaged(folder: str, error: Exception) -> StoreError:
    """What is said of a folder whose files cannot be recorded."""
    what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return StoreError(f"the outcome in {folder} cannot be recorded ({what}); remove {folder}/outcome.json and run the same command again")
