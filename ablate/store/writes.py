"""What the verbs of store.py write, table by table. Each function works within the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, insert, select, update

from ablate.store import overlaps, record, views
from ablate.store.tables import (
    attempts,
    baseline_answers,
    baseline_scores,
    baseline_texts,
    baselines,
    benchmark_scores,
    curves,
    item_answers,
    runs,
    source_usage,
    study_benchmarks,
    study_runs,
    text_losses,
)


def of_study(study: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """The conditions for the cells of a study as it was last run."""
    return study_runs.c.study == study, study_runs.c.active.is_(True)


def add(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:  # SQLAlchemy takes an empty list for one row of defaults
        connection.execute(insert(table), [dict(row) for row in rows])


def keep(connection: Connection, table: Table, study: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Make `rows` the study's in one of the tables of what it asks for; whether that changed anything."""
    mine = table.c.study == study
    before = [row._asdict() for row in connection.execute(select(table).where(mine))]
    now = [{"study": study, **row} for row in rows]
    if len(before) == len(now) and all(row in before for row in now):
        return False
    connection.execute(delete(table).where(mine))
    add(connection, table, now)
    return True


def add_runs(connection: Connection, wanted: Sequence[Mapping[str, Any]]) -> None:
    """Rows for those of these runs (as in run.json) that have none."""
    known = set(connection.scalars(select(runs.c.run)))
    new = {run["digest"]: record.run_row(run) for run in wanted if run["digest"] not in known}
    add(connection, runs, list(new.values()))


def replace_run(connection: Connection, outcome: Mapping[str, Any], answers: record.Answers, curve: Sequence[Mapping[str, Any]]) -> None:
    """Put a done run's rows in the place of those it had."""
    digest = outcome["digest"]
    for table in (text_losses, source_usage, curves):
        connection.execute(delete(table).where(table.c.run == digest))
    _replace_scores(connection, benchmark_scores, item_answers, {"run": digest}, outcome["scores"], answers)
    add(connection, text_losses, record.text_rows({"run": digest}, outcome))
    add(connection, source_usage, record.usage_rows(outcome))
    add(connection, curves, curve)
    overlaps.refresh(connection, benchmark_scores.c.run == digest)
    attempt = record.attempt_row(outcome["attempt"])
    numbers = {name: attempt[name] for name in ("device", "device_type", "started", "ended")}
    row = {**record.outcome_row(outcome), **numbers, "status": "done", "error": None}
    connection.execute(update(runs).where(runs.c.run == digest).values(row))
    close_attempts(connection, digest, "done", None, attempt)


def replace_baseline(connection: Connection, outcome: Mapping[str, Any], answers: record.Answers) -> None:
    """Put a baseline's rows in the place of those it had, if it had any."""
    row = record.baseline_row(outcome)
    mine = baselines.c.baseline == row["baseline"]
    if not connection.execute(update(baselines).where(mine).values(row)).rowcount:
        connection.execute(insert(baselines).values(row))
    key = {"baseline": row["baseline"]}
    connection.execute(delete(baseline_texts).where(baseline_texts.c.baseline == row["baseline"]))
    add(connection, baseline_texts, record.text_rows(key, outcome))
    _replace_scores(connection, baseline_scores, baseline_answers, key, outcome.get("scores", []), answers)


def _replace_scores(
    connection: Connection,
    scores: Table,
    items: Table,
    whose: Mapping[str, str],
    given: Sequence[Mapping[str, Any]],
    answers: record.Answers,
) -> None:
    """Put these scores of one model (`whose`: the column that names it, and its digest) in the place of those it had."""
    mine = [scores.c[name] == digest for name, digest in whose.items()]
    connection.execute(delete(items).where(items.c.score_id.in_(select(scores.c.id).where(*mine))))
    connection.execute(delete(scores).where(*mine))
    rows: list[tuple[Any, ...]] = []
    for score in given:
        key = connection.execute(insert(scores).values({**whose, **record.score_row(score)})).inserted_primary_key
        assert key is not None
        rows += record.answer_rows(key[0], answers.get(score["digest"], {}))
    _insert_answers(connection, items, rows)


def _insert_answers(connection: Connection, items: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Straight to the driver: 200,000 rows a study, on which SQLAlchemy would spend twice the database's own time."""
    statement, names = str(insert(items).compile(dialect=connection.dialect)), items.columns.keys()
    if rows and connection.dialect.positional:
        connection.exec_driver_sql(statement, list(rows))
    elif rows:
        connection.exec_driver_sql(statement, [dict(zip(names, row, strict=True)) for row in rows])


def close_attempts(connection: Connection, digest: str, status: str, error: str | None, known: Mapping[str, Any] | None = None) -> None:
    """End the run's open attempt with what its worker said of it; where none is open, that of the same process, or a new one."""
    mine = attempts.c.run == digest
    is_open = mine & attempts.c.ended.is_(None)
    values = {"status": status, "error": error, "ended": record.now(), **(known or {})}
    if connection.execute(update(attempts).where(is_open).values(values)).rowcount or known is None:
        return
    same = mine & (attempts.c.host == known["host"]) & (attempts.c.pid == known["pid"]) & (attempts.c.started == known["started"])
    if not connection.execute(update(attempts).where(same).values(values)).rowcount:
        connection.execute(insert(attempts).values(run=digest, **values))


def refresh(connection: Connection, study: str, digest: str | None = None) -> None:
    """Compute mean_score and data_gpu_hours anew for the study's runs (or one of them), and its view."""
    asked = study_benchmarks.c
    declared = set(connection.scalars(select(asked.benchmark_digest).where(asked.study == study, ~asked.fresh)))
    mine = [*of_study(study), *([study_runs.c.run == digest] if digest else [])]
    scores: dict[str, list[Mapping[str, Any]]] = {run: [] for run in connection.scalars(select(study_runs.c.run).where(*mine))}
    of_mine = benchmark_scores.c.run.in_(select(study_runs.c.run).where(*mine))
    for row in connection.execute(select(benchmark_scores).where(of_mine)):
        scores[row.run].append(row._asdict())
    read: dict[str, list[Mapping[str, Any]]] = {}
    for row in connection.execute(select(source_usage).where(source_usage.c.run.in_(scores))):
        read.setdefault(row.run, []).append(row._asdict())
    before = {row.run: row for row in connection.execute(select(study_runs).where(*mine))}
    for run, rows in scores.items():
        mean = record.mean_score(rows, declared)
        hours = record.data_gpu_hours(read[run], before[run].data_costs or {}) if run in read else None
        version = None if mean is None else record.MEAN_SCORE_VERSION
        values = {"mean_score": mean, "mean_score_version": version, "data_gpu_hours": hours}
        if any(before[run]._mapping[name] != value for name, value in values.items()):
            which = (study_runs.c.study == study) & (study_runs.c.run == run)
            connection.execute(update(study_runs).where(which).values(values))
    views.create_for(connection, study)
