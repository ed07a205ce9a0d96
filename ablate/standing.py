"""`ablate status`: where the studies of a folder stand."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from ablate.launch.base import held, holder
from ablate.store.store import Store
from ablate.study.load import load
from ablate.study.quantities import format_count
from ablate.workspace import Workspace, read_json

_PREDICTED = (("time", "train_seconds", "predicted_seconds"), ("memory", "peak_memory_bytes", "predicted_memory_bytes"))


def text(space: Workspace, study: Path | None) -> str:
    """One paragraph a study: done, failed, running and waiting runs, the jobs that live, and why any failed."""
    store = Store.read_only(space.database)
    names = store.studies() if study is None else [load(study).name]
    live = _live_jobs(space)
    lines = [_driver(space), *(line for name in names for line in _study(store, name, live))]
    return "\n".join(lines) if names else f"{space.database} holds no study yet"


def _driver(space: Workspace) -> str:
    if not held(space.driver_lock):
        return "no driver is at work here"
    return f"a driver is at work: {holder(space.driver_lock)}"


def _study(store: Store, name: str, live: Mapping[str, float]) -> list[str]:
    rows = store.status(name)
    if not rows:
        return [f"{name}: no runs in results.db yet"]
    status = Counter(
        "running" if row["run"] in live else "waiting" if row["status"] in ("pending", "running") else row["status"] for row in rows
    )
    counts = ", ".join(f"{status[word]} {word}" for word in ("done", "running", "waiting", "failed") if status[word])
    failed = [f"  failed  {_cell(row)}: {row['error']}" for row in rows if row["status"] == "failed"]
    return [f"{name}: {len(rows)} runs: {counts}", *failed, *_predictions(rows), *_at_chance(store, name)]


def _at_chance(store: Store, study: str) -> list[str]:
    """Benchmarks that no finished run of a size is above chance on; `ablate plot` says more."""
    own = "study = '" + study.replace("'", "''") + "'"
    told = f"SELECT params, benchmark FROM scores JOIN results USING (study, run) WHERE {own} AND NOT fresh AND at_chance IS NOT NULL"
    _, rows = store.query(f"{told} GROUP BY params, benchmark HAVING MIN(at_chance) = 1 ORDER BY params, benchmark")
    sizes: dict[int, list[str]] = {}
    for params, benchmark in rows:
        sizes.setdefault(params, []).append(benchmark)
    return [f"  at chance in every run of {format_count(size)} params: {', '.join(names)}" for size, names in sizes.items()]


def _predictions(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How good the predictions were; nothing where none was made of a run that is done."""
    parts = []
    for name, actual, predicted in _PREDICTED:
        ratios = [row[actual] / row[predicted] for row in rows if row["status"] == "done" and row[actual] and row[predicted]]
        if ratios:
            parts.append(f"{name} {median(ratios):.2f} (median of {len(ratios)} runs)")
    return [f"  actual over predicted: {', '.join(parts)}"] if parts else []


def _cell(row: Mapping[str, Any]) -> str:
    levels = [f"{k} {format_count(v) if k in ('params', 'tokens') else v}" for k, v in row["factors"].items()]
    return ", ".join([*levels, f"seed {row['seed']}"])


def _live_jobs(space: Workspace) -> dict[str, float]:
    """Unfinished runs of every job whose worker lives → seconds since it was started."""
    found: dict[str, float] = {}
    for folder in space.jobs.glob("*"):
        if held(folder / "lock") and (job := read_json(folder / "job.json")):
            since = time.time() - (folder / "job.json").stat().st_mtime
            runs = [run["digest"] for runs in job["families"] for run in runs]
            found.update({digest: since for digest in runs if not (space.run(digest) / "outcome.json").exists()})
    return found
