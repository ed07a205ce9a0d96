"""results.db as verbs: every read and write of ours. One process writes, any number read.

Each verb is one transaction, and none stays open between verbs: Optuna writes to the same file.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, delete, insert, or_, select, update

from ablate.errors import StoreError
from ablate.store import engine, migrate, overlaps, record, reference, writes
from ablate.store.tables import (
    attempts,
    baselines,
    curves,
    runs,
    study_baselines,
    study_benchmarks,
    study_runs,
    study_specs,
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
        self._older = False
        """Whether the file lacks what a newer version has; only one that is read alone may."""

    @classmethod
    def open(cls, target: Path | str) -> Store:
        """Open for writing; a file that is not there is made, an older one is brought up to date after a backup."""
        url = engine.as_url(target)
        with engine.sentences(url):
            store = cls(engine.writer(url))
            try:
                migrate.upgrade(store._engine)
                store._ship()
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
                version = migrate.version_of(connection)
                migrate.refuse_newer(engine.name_of(url), version, len(migrate.MIGRATIONS))
                store._older = version < len(migrate.MIGRATIONS)
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
        with self._older_said(), engine.sentences(self.url), self._engine.connect() as connection:
            result = connection.exec_driver_sql(sql.replace("%", "%%") if self._engine.dialect.paramstyle == "pyformat" else sql)
            if not result.returns_rows:
                raise StoreError(f"{engine.name_of(self.url)}: {sql!r} returns no rows; write a SELECT")
            return list(result.keys()), [tuple(row) for row in result]

    def save_study(self, study: spec.Study, file: str, profile: str | None, benchmarks: Iterable[record.Asked] = ()) -> None:
        """Keep what the study says now. `benchmarks`: those it asks its runs, fresh twins too; none: all that a run was scored on."""
        row = {
            "question": study.question,
            "file": file,
            "profile": profile,
            "spec": json.loads(json.dumps(study.model_dump(mode="json", by_alias=True), default=str)),
        }
        with self._write() as connection:
            before = {r.study: r._mapping for r in connection.execute(select(study_specs))}
            if twin := next((name for name in before if name.lower() == study.name.lower() and name != study.name), None):
                raise StoreError(
                    f"{engine.name_of(self.url)} has a study {twin!r}, from which {study.name!r} differs in letter case alone: rename one"
                )
            if study.name not in before:
                connection.execute(insert(study_specs).values(study=study.name, saved=record.now(), **row))
            asked = [{"benchmark": b.benchmark, "fresh": b.fresh, "benchmark_digest": b.digest} for b in benchmarks]
            changed = writes.keep(connection, study_benchmarks, study.name, asked)
            if study.name in before and (changed or any(before[study.name][key] != value for key, value in row.items())):
                connection.execute(update(study_specs).where(study_specs.c.study == study.name).values(saved=record.now(), **row))

    def declare_baselines(self, study: str, wanted: Sequence[str]) -> None:
        """Make these (digests, in the study's order) the baselines of the study, whether they are scored yet or not."""
        with self._write() as connection:
            writes.keep(connection, study_baselines, study, [{"baseline": digest, "position": i} for i, digest in enumerate(wanted)])

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
                writes.add_runs(connection, [{"digest": run.digest, "family": run.family, "recipe": run.recipe} for run in wanted])
                told = {key: {"told_score": r.told_score} for key, r in before.items()}
                gone = [{**r._mapping, "active": False} for key, r in before.items() if key not in now]
                connection.execute(delete(study_runs).where(mine))
                writes.add(connection, study_runs, gone)
                writes.add(connection, study_runs, [{"told_score": None, **row, **told.get(key, {})} for key, row in now.items()])
            writes.refresh(connection, study)

    def add_run(self, run: Mapping[str, Any]) -> None:
        """Make sure that a run has a row, from its run.json: what rebuilding from the folders starts with."""
        with self._write() as connection:
            writes.add_runs(connection, [run])

    def start(self, digest: str, job: str) -> None:
        """A job is about to carry the run; an attempt before it that never ended is lost."""
        with self._write() as connection:
            writes.close_attempts(connection, digest, "lost", None)
            connection.execute(insert(attempts).values(run=digest, job=job, status="running", started=record.now()))
            connection.execute(update(runs).where(runs.c.run == digest).values(status="running", error=None))

    def fail(self, digest: str, error: str) -> None:
        """The run ended without its numbers, for this reason."""
        with self._write() as connection:
            writes.close_attempts(connection, digest, "failed", error)
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
            answers = record.read_answers(folder, outcome["scores"])
            curve = record.curve_rows(digest, folder / "metrics.jsonl")
            outcome_hash = record.fingerprint(outcome, answers, curve)
            with self._write() as connection:
                known = connection.execute(select(runs.c.outcome, runs.c.status).where(runs.c.run == digest)).one_or_none()
                if known is None:
                    raise StoreError(f"{engine.name_of(self.url)} has no run {digest}; `ablate ingest` adds it from its folder")
                if known == (outcome_hash, "done"):
                    return
                writes.replace_run(connection, outcome, answers, curve)
                connection.execute(update(runs).where(runs.c.run == digest).values(outcome=outcome_hash))
                for study in connection.scalars(select(study_runs.c.study).where(study_runs.c.run == digest).distinct()).all():
                    writes.refresh(connection, study, digest)
        except (KeyError, TypeError, ValueError) as e:
            raise record.damaged(f"runs/{digest}", e) from e

    def record_baseline(self, outcome: Mapping[str, Any], folder: Path) -> None:
        """Record the outcome of a baseline with the answers that lie in its folder; doing it again changes nothing."""
        digest = outcome["baseline"]
        try:
            answers = record.read_answers(folder / (outcome.get("precision") or ""), outcome.get("scores", []))
            now = record.fingerprint(outcome, answers)
            with self._write() as connection:
                mine = baselines.c.baseline == digest
                if connection.scalar(select(baselines.c.outcome).where(mine)) != now:
                    writes.replace_baseline(connection, outcome, answers)
                    connection.execute(update(baselines).where(mine).values(outcome=now))
        except (KeyError, TypeError, ValueError) as e:
            raise record.damaged(f"baselines/{digest}", e) from e

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
        """Digests of the study's runs and baselines that are done."""
        asked = study_baselines.c
        compared = select(baselines.c.baseline).join(study_baselines, asked.baseline == baselines.c.baseline)
        with self._read() as connection:
            own = connection.scalars(select(runs.c.run).join(study_runs).where(*writes.of_study(study), runs.c.status == "done"))
            return {*own, *connection.scalars(compared.where(asked.study == study, baselines.c.status == "done"))}

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
        cells = select(*columns).select_from(runs.join(study_runs)).where(*writes.of_study(study)).order_by(sr.position)
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
                .where(*writes.of_study(study), runs.c.status == "done", study_runs.c.mean_score.is_not(None), changed)
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

    def _ship(self) -> None:
        """Make the published results those of this version of the package."""
        with self._engine.connect() as connection:
            current = reference.is_current(connection)
        if not current:
            with self._engine.begin() as connection:
                reference.fill(connection)

    @contextmanager
    def _older_said(self) -> Iterator[None]:
        """Of what goes wrong in the block, say that the file is older where it is: what is asked may be new."""
        try:
            yield
        except StoreError as e:
            if not self._older:
                raise
            raise StoreError(f"{e}; an older version of ablate made this file: `ablate ingest` brings it up to date, after a backup") from e

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with engine.sentences(self.url), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with engine.sentences(self.url), self._engine.connect() as connection:
            yield connection
