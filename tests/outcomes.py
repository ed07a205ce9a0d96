"""Runs and their outcomes, made up: what a worker would have left in their folders. Not a test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ablate.store.record import Asked
from ablate.store.store import Store
from ablate.study.grid import Run, digest
from ablate.study.spec import Study
from ablate.workspace import score_file, write_json

LATENCY = {
    "ms_per_token": 1.25, "ms_to_first_token": 5.0, "ms_per_token_after_prompt": 1.5, "generate_tokens_per_s": 2000.0,
    "generate_batch": 16, "inference_memory_bytes": 10**6, "inference_precision": "float32", "inference_device": "a CPU",
}  # fmt: skip


def study(name: str = "quality") -> Study:
    return Study.model_validate({"name": name, "question": "which?", "grid": {"params": ["1M"]}, "data": {"web": "builtin:web"}})


def run(params: int = 1000, tokens: int = 20_000, ratio: float = 0.5, seed: int = 0, **factors: Any) -> Run:
    """`factors` do not change the weights here, as the noise of a web source that has no share would not."""
    recipe = {
        "params": params, "tokens": tokens, "seed": seed, "train": {"lr": 0.1},
        "data": {"shares": {"synthetic": f"{ratio:g}", "web": f"{1 - ratio:g}"}},
    }  # fmt: skip
    return Run({"params": params, "tokens": tokens, "synthetic_ratio": ratio, **factors}, seed, recipe, study().data)


def score(benchmark: str = "sums", register: str = "textbook", score: float = 0.5, fresh: bool = False, n: int = 4) -> dict[str, Any]:
    items = digest([benchmark, register, fresh])
    return {
        "benchmark": benchmark, "register": register, "fresh": fresh, "group": "arithmetic", "metric": "acc", "score": score,
        "stderr": 0.1, "acc_norm": 0.4, "chance": 0.25, "n": n, "mean_logprob": -1.5, "bits_per_byte": 0.75, "truncated": 0, "shots": 0,
        "details": {}, "benchmark_digest": items, "digest": digest(["a model", items]),
    }  # fmt: skip


def failed(benchmark: str = "sums", chance: float | None = 0.25) -> dict[str, Any]:
    """A score that could not be made."""
    unknown = dict.fromkeys(("metric", "score", "stderr", "acc_norm", "mean_logprob"))
    return {**score(benchmark), **unknown, "chance": chance, "error": "no items"}


def asked(*scores: dict[str, Any]) -> list[Asked]:
    """A study that asks for these."""
    return [Asked(row["benchmark"], row["fresh"], row["benchmark_digest"]) for row in scores]


def outcome(of: Run, scores: Sequence[dict[str, Any]] = (score(),), **attempt: Any) -> dict[str, Any]:
    return {
        "digest": of.digest, "status": "done", "error": None, "scores": list(scores),
        "train": {
            "steps": 39, "tokens": 19_968, "final_loss": 3.25, "flops": 123_456_789, "train_seconds": 7200.0, "spent_seconds": 3600.0,
            "lost_seconds": 36.0, "score_seconds": 360.0, "hours_basis": "shared", "mfu": None, "peak_memory_bytes": 10**9,
            "params_non_embedding": 1010, "params_total": 5000,
        },
        "usage": [
            {"source": "synthetic", "sequences": 78, "tokens": 9984, "bytes": 30_000, "unique_tokens": 5000, "epochs": 2.0},
            {"source": "web", "sequences": 78, "tokens": 9984, "bytes": 31_000, "unique_tokens": 9984, "epochs": 1.0},
        ],
        "texts": [
            {"text": "neutral", "bits_per_byte": 1.5, "tokens": 100, "bytes": 300, "primary": True},
            {"text": "web", "bits_per_byte": 1.7, "tokens": 100, "bytes": 300, "primary": False},
        ],
        "latency": LATENCY,
        "attempt": {
            "host": "here", "pid": 1, "device": "a CPU", "device_type": "cpu", "threads": 1, "launcher": "local", "compile": False,
            "versions": {"torch": "2"}, "started": 0.0, "ended": 60.0, **attempt,
        },
    }  # fmt: skip


def answers(of: dict[str, Any], folder: Path) -> Path:
    """The folder answers/ behind an outcome: half of the items right."""
    for row in of["scores"]:
        if row.get("error") is not None:
            continue
        columns = {
            "template": [f"t{i % 2}" for i in range(row["n"])],
            "correct": [i % 2 for i in range(row["n"])],
            "correct_norm": [0] * row["n"],
            "choice": [i % 4 for i in range(row["n"])],
            "logprob": [-0.5 * i for i in range(row["n"])],
        }
        name = score_file(row["benchmark"], row["register"], row["fresh"], row["benchmark_digest"])
        write_json(folder / "answers" / name, columns)
    return folder / "answers"


def overlap(benchmark: str, items: dict[int, float], method: str = "gpt3") -> dict[str, Any]:
    """What was found of a benchmark of four items: item → value, all of them contaminated."""
    head = {"benchmark_digest": benchmark, "benchmark": "sums", "register": "textbook", "fresh": False, "method": method, "items": 4}
    return {**head, "contaminated": len(items), "untold": 0, "rows": [[item, value, True] for item, value in items.items()]}


def metrics(folder: Path, steps: int = 39) -> Path:
    """A metrics.jsonl whose last line a kill has cut off."""
    path = folder / "metrics.jsonl"
    fixed = {"lr": 0.1, "grad_norm": 1.0, "tokens_per_s": 9.0}
    lines = [json.dumps({"step": i, "tokens": 512 * i, "loss": 7.0 - i / steps, "seconds": 0.1 * i, **fixed}) for i in range(1, steps + 1)]
    path.write_text("\n".join(lines) + '\n{"step": 40, "tok')
    return path


def finish(store: Store, of: Run, folder: Path, scores: Sequence[dict[str, Any]] = (score(),), **attempt: Any) -> dict[str, Any]:
    """Record a made-up outcome of the run."""
    done = outcome(of, scores, **attempt)
    answers(done, folder)
    metrics(folder)
    store.record(done, folder)
    return done


def filled(folder: Path, runs: Sequence[Run], name: str = "quality") -> Store:
    """A database with one study and these runs, none started."""
    store = Store.open(folder / "results.db")
    store.save_study(study(name), "quality.yaml", None)
    store.declare(name, runs)
    return store
