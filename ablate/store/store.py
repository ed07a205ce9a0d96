"""results.db as verbs: every read and write of ours. One process writes, any number read.

Each verb is one transaction, and none stays open between verbs: Optuna writes to the same file.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Table, delete, insert, or_, select, update

from ablate.errors import StoreError
from ablate.store import engine, migrate, overlaps, record, views
from ablate.store.tables import (
    attempts,
    benchmark_scores,
    curves,
    item_answers,
    runs,
    source_usage,
    study_runs,
    study_specs,
    text_losses,
)
from ablate.study import grid, spec


@dataclass(frozen=True)
class Finished:
    """A done run as Optuna is told of it."""

    run: str
    factors: dict[str, Any]
    seed: int
    mean_score: float
    device_hours: float
    losses: dict[int, float]
    """step → training loss"""


class Store:
    """One database. Every verb raises StoreError, or DiskFullError where there was no room: then nothing was written."""

    def __init__(self, bound: Engine) -> None:
        self._engine = bound
        self.url = bound.url

    @classmethod
    def open(cls, target: Path | str) -> Store:
        """Open for writing; a file that is not there is made, an older one is brought up to date after a backup."""
        url = engine.as_url(target)
        with engine.sentences(url):
            store = cls(engine.writer(url))
            try:
                migrate.upgrade(store._engine)
            except BaseException:
                store.close()
                raise
        return store

    @classmethod
    def read_only(cls, target: Path | str) -> Store:
        """Open for reading, while another process may write. StoreError for a missing file or one of a newer version."""
        url = engine.as_url(target)
        with engine.sentences(url):
            store = cls(engine.reader(url))
            with store._engine.connect() as connection:
                migrate.refuse_newer(engine.name_of(url), migrate.version_of(connection), len(migrate.MIGRATIONS))
        store.url = url
        return store

    def close(self) -> None:
        """Let go of the file; a Store is also a context manager that does so."""
        self._engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def query(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Column names and rows of one SELECT, in the reader's hands alone: nothing it does is kept."""
        with engine.sentences(self.url), self._engine.connect() as connection:
            result = connection.exec_driver_sql(sql.replace("%", "%%") if self._engine.dialect.paramstyle == "pyformat" else sql)
            if not result.returns_rows:
                raise StoreError(f"{engine.name_of(self.url)}: {sql!r} returns no rows; write a SELECT")
            return list(result.keys()), [tuple(row) for row in result]

    def save_study(self, study: spec.Study, file: str, profile: str | None, benchmarks: Sequence[str] = ()) -> None:
        """Keep what the study says now. `benchmarks`: the names behind its mean_score; none: all that a run was scored on."""
        row = {
            "question": study.question,
            "file": file,
            "profile": profile,
            "spec": json.loads(json.dumps(study.model_dump(mode="json", by_alias=True), default=str)),
            "benchmarks": sorted(benchmarks),
        }
        with self._write() as connection:
            before = {r.study: r._mapping for r in connection.execute(select(study_specs))}
            if twin := next((name for name in before if name.lower() == study.name.lower() and name != study.name), None):
                raise StoreError(
                    f"{engine.name_of(self.url)} has a study {twin!r}, from which {study.name!r} differs in letter case alone: rename one"
                )
            if study.name not in before:
                connection.execute(insert(study_specs).values(study=study.name, saved=record.now(), **row))
            elif any(before[study.name][key] != value for key, value in row.items()):
                connection.execute(update(study_specs).where(study_specs.c.study == study.name).values(saved=record.now(), **row))

    def declare(self, study: str, wanted: Sequence[grid.Run]) -> None:
        """Make `wanted` the runs of the study: new ones are pending, those it no longer has are kept but inactive."""
        rows = [
            {"study": study, "run": run.digest, "cell": grid.digest(run.factors), "position": i, "factors": run.factors}
            | {"active": True, "data_costs": run.data.costs()}
            for i, run in enumerate(wanted)
        ]
        with self._write() as connection:
            mine = study_runs.c.study == study
            before = {(r.run, r.cell): r for r in connection.execute(select(study_runs).where(mine))}
            now = {(row["run"], row["cell"]): row for row in rows}
            stands = ("position", "active", "data_costs")
            if before.keys() != now.keys() or any(r._mapping[name] != now[key][name] for key, r in before.items() for name in stands):
                _add_runs(connection, [{"digest": run.digest, "family": run.family, "recipe": run.recipe} for run in wanted])
                told = {key: {"told_score": r.told_score} for key, r in before.items()}
                gone = [{**r._mapping, "active": False} for key, r in before.items() if key not in now]
                connection.execute(delete(study_runs).where(mine))
                _insert(connection, study_runs, gone)
                _insert(connection, study_runs, [{"told_score": None, **row, **told.get(key, {})} for key, row in now.items()])
            _refresh(connection, study)

    def add_run(self, run: Mapping[str, Any]) -> None:
        """Make sure that a run has a row, from its run.json: what rebuilding from the folders starts with."""
        with self._write() as connection:
            _add_runs(connection, [run])

    def start(self, digest: str, job: str) -> None:
        """A job is about to carry the run; an attempt before it that never ended is lost."""
        with self._write() as connection:
            _close_attempts(connection, digest, "lost", None)
            connection.execute(insert(attempts).values(run=digest, job=job, status="running", started=record.now()))
            connection.execute(update(runs).where(runs.c.run == digest).values(status="running", error=None))

    def fail(self, digest: str, error: str) -> None:
        """The run ended without its numbers, for this reason."""
        with self._write() as connection:
            _close_attempts(connection, digest, "failed", error)
            connection.execute(update(runs).where(runs.c.run == digest).values(status="failed", error=error))

    def record(self, outcome: Mapping[str, Any], folder: Path) -> None:
        """Record the outcome of a run with what lies beside it in the run's folder: answers/ and metrics.jsonl.

        Doing it again changes nothing; another outcome of the same run takes the place of the first.
        """
        digest = outcome["digest"]
        if outcome["status"] != "done":
            self.fail(digest, outcome["error"])
            return
        try:
            answers = record.read_answers(folder)
            curve = record.curve_rows(digest, folder / "metrics.jsonl")
            outcome_hash = record.fingerprint(outcome, answers, curve)
            with self._write() as connection:
                known = connection.execute(select(runs.c.outcome, runs.c.status).where(runs.c.run == digest)).one_or_none()
                if known is None:
                    raise StoreError(f"{engine.name_of(self.url)} has no run {digest}; `ablate ingest` adds it from its folder")
                if known == (outcome_hash, "done"):
                    return
                _replace(connection, outcome, answers, curve)
                connection.execute(update(runs).where(runs.c.run == digest).values(outcome=outcome_hash))
                for study in connection.scalars(select(study_runs.c.study).where(study_runs.c.run == digest).distinct()).all():
                    _refresh(connection, study, digest)
        except (KeyError, TypeError, ValueError) as e:
            raise record.damaged(digest, e) from e

    def overlap_known(self) -> dict[str, tuple[str, set[str]]]:
        """Folder of tokens → the hash of the tokens that were looked through and of the rules, and the digests of the benchmarks."""
        with self._read() as connection:
            return overlaps.known(connection)

    def overlap_is_missing(self, study: str, benchmarks: Collection[str]) -> bool:
        """Whether a finished run of the study lacks clean scores that an audit could make; no file is looked at."""
        with self._read() as connection:
            return overlaps.is_missing(connection, study, benchmarks)

    def record_overlap(self, shards: str, content: str, found: Sequence[Mapping[str, Any]]) -> None:
        """What was found of benchmark items in a folder of tokens takes the place of what was known (overlaps.replace)."""
        with self._write() as connection:
            overlaps.replace(connection, shards, content, found)

    def done(self, study: str) -> set[str]:
        """Digests of the study's runs that are done."""
        with self._read() as connection:
            return set(connection.scalars(select(runs.c.run).join(study_runs).where(*_in(study), runs.c.status == "done")))

    def studies(self) -> list[str]:
        """Names of all studies, the one changed last first."""
        with self._read() as connection:
            return list(connection.scalars(select(study_specs.c.study).order_by(study_specs.c.saved.desc(), study_specs.c.study)))

    def status(self, study: str) -> list[dict[str, Any]]:
        """The study's cells in the order of its grid: run, factors, seed, status, error, mean_score, started, ended,
        train_seconds and peak_memory_bytes, and what was predicted of these."""
        r, sr = runs.c, study_runs.c
        told = (r.train_seconds, r.predicted_seconds, r.peak_memory_bytes, r.predicted_memory_bytes)
        columns = (r.run, sr.factors, r.seed, r.status, r.error, sr.mean_score, r.started, r.ended, *told)
        cells = select(*columns).select_from(runs.join(study_runs)).where(*_in(study)).order_by(sr.position)
        with self._read() as connection:
            return [dict(row._mapping) for row in connection.execute(cells)]

    def untold(self, study: str) -> list[Finished]:
        """Done runs whose mean_score Optuna has not been told as it is now, each once."""
        changed = or_(study_runs.c.told_score.is_(None), study_runs.c.told_score != study_runs.c.mean_score)
        found: dict[str, Finished] = {}
        with self._read() as connection:
            for row in connection.execute(
                select(runs.c.run, runs.c.seed, runs.c.train_seconds, study_runs.c.factors, study_runs.c.mean_score)
                .select_from(runs.join(study_runs))
                .where(*_in(study), runs.c.status == "done", study_runs.c.mean_score.is_not(None), changed)
                .order_by(study_runs.c.position)
            ).all():
                losses = {r.step: r.loss for r in connection.execute(select(curves.c.step, curves.c.loss).where(curves.c.run == row.run))}
                known = {step: loss for step, loss in sorted(losses.items()) if loss is not None}
                found.setdefault(row.run, Finished(row.run, row.factors, row.seed, row.mean_score, row.train_seconds / 3600, known))
        return list(found.values())

    def mark_told(self, study: str, finished: Finished) -> None:
        """Optuna now has this run's mean_score."""
        with self._write() as connection:
            which = (study_runs.c.study == study) & (study_runs.c.run == finished.run)
            connection.execute(update(study_runs).where(which).values(told_score=finished.mean_score))

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with engine.sentences(self.url), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with engine.sentences(self.url), self._engine.connect() as connection:
            yield connection


def _in(study: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return study_runs.c.study == study, study_runs.c.active.is_(True)


def _insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:  # SQLAlchemy takes an empty list for one row of defaults
        connection.execute(insert(table), [dict(row) for row in rows])


def _insert_answers(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Straight to the driver: 200,000 rows a study, on which SQLAlchemy would spend twice the database's own time."""
    statement, names = str(insert(item_answers).compile(dialect=connection.dialect)), item_answers.columns.keys()
    if rows and connection.dialect.positional:
        connection.exec_driver_sql(statement, list(rows))
    elif rows:
        connection.exec_driver_sql(statement, [dict(zip(names, row, strict=True)) for row in rows])


def _add_runs(connection: Connection, wanted: Sequence[Mapping[str, Any]]) -> None:
    known = set(connection.scalars(select(runs.c.run)))
    new = {run["digest"]: record.run_row(run) for run in wanted if run["digest"] not in known}
    _insert(connection, runs, list(new.values()))


def _replace(connection: Connection, outcome: Mapping[str, Any], answers: record.Answers, curve: Sequence[Mapping[str, Any]]) -> None:
    """Put a done run's rows in the place of those it had."""
    digest = outcome["digest"]
    old = select(benchmark_scores.c.id).where(benchmark_scores.c.run == digest)
    connection.execute(delete(item_answers).where(item_answers.c.score_id.in_(old)))
    for table in (benchmark_scores, text_losses, source_usage, curves):
        connection.execute(delete(table).where(table.c.run == digest))
    given: list[tuple[Any, ...]] = []
    for score in outcome["scores"]:
        key = connection.execute(insert(benchmark_scores).values(record.score_row(digest, score))).inserted_primary_key
        assert key is not None
        given += record.answer_rows(key[0], answers[record.answers_name(score)])
    _insert_answers(connection, given)
    _insert(connection, text_losses, record.text_rows(outcome))
    _insert(connection, source_usage, record.usage_rows(outcome))
    _insert(connection, curves, curve)
    overlaps.refresh(connection, benchmark_scores.c.run == digest)
    attempt = record.attempt_row(outcome["attempt"])
    numbers = {name: attempt[name] for name in ("device", "device_type", "started", "ended")}
    row = {**record.outcome_row(outcome), **numbers, "status": "done", "error": None}
    connection.execute(update(runs).where(runs.c.run == digest).values(row))
    _close_attempts(connection, digest, "done", None, attempt)


def _close_attempts(connection: Connection, digest: str, status: str, error: str | None, known: Mapping[str, Any] | None = None) -> None:
    """End the run's open attempt with what its worker said of it; where none is open, that of the same process, or a new one."""
    mine = attempts.c.run == digest
    is_open = mine & attempts.c.ended.is_(None)
    values = {"status": status, "error": error, "ended": record.now(), **(known or {})}
    if connection.execute(update(attempts).where(is_open).values(values)).rowcount or known is None:
        return
    same = mine & (attempts.c.host == known["host"]) & (attempts.c.pid == known["pid"]) & (attempts.c.started == known["started"])
    if not connection.execute(update(attempts).where(same).values(values)).rowcount:
        connection.execute(insert(attempts).values(run=digest, **values))


def _refresh(connection: Connection, study: str, digest: str | None = None) -> None:
    """Compute mean_score and data_gpu_hours anew for the study's runs (or one of them), and its view."""
    declared = connection.scalar(select(study_specs.c.benchmarks).where(study_specs.c.study == study)) or []
    mine = [*_in(study), *([study_runs.c.run == digest] if digest else [])]
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
        if (mean, hours) != (before[run].mean_score, before[run].data_gpu_hours):
            version = None if mean is None else record.MEAN_SCORE_VERSION
            which = (study_runs.c.study == study) & (study_runs.c.run == run)
            values = {"mean_score": mean, "mean_score_version": version, "data_gpu_hours": hours}
            connection.execute(update(study_runs).where(which).values(values))
    views.create_for(connection, study)
