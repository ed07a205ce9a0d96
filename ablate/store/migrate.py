"""Numbered migrations of results.db, all missing ones in one transaction, after a backup.

What a failed migration leaves behind: the file as it was, and the backup beside it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import JSON, Connection, Engine, Table, TableClause, column, func, insert, inspect, select, update

from ablate.errors import StoreError
from ablate.store import tables, views
from ablate.store.engine import file_of, name_of
from ablate.workspace import renamed_into_place

Migration = Callable[[Connection], None]
MIGRATIONS: list[Migration] = []
"""Append only. The first makes all tables as they are declared today, so a new file runs it alone and counts the
others as applied; each further one brings an existing file to what tables.py then declares."""


def migration(step: Migration) -> Migration:
    MIGRATIONS.append(step)
    return step


@migration
def m001_initial(connection: Connection) -> None:
    tables.metadata.create_all(connection)


@migration
def m002_predictions_and_attempts(connection: Connection) -> None:
    _add_columns(connection, {
        "runs": {"optimizer": "VARCHAR(16)", "predicted_seconds": "FLOAT", "predicted_memory_bytes": "BIGINT"},
        "attempts": {
            "optimizer_backend": "VARCHAR(40)", "optimizer_version": "VARCHAR(80)", "micro_batch": "INTEGER", "oom_halvings": "INTEGER",
            "pack": "INTEGER", "devices": "INTEGER", "activation_checkpointing": "BOOLEAN",
        },
    })  # fmt: skip
    recipe = tables.runs.c.recipe
    connection.execute(update(tables.runs).values(optimizer=recipe["train"]["optimizer"]["name"].as_string()))


@migration
def m003_overlap_and_data_cost(connection: Connection) -> None:
    _add_columns(connection, {
        "source_usage": {"shards": "VARCHAR(16)"},
        "benchmark_scores": {"benchmark_digest": "VARCHAR(16)", "n_clean": "INTEGER"},
        "study_runs": {"data_costs": "JSON", "data_gpu_hours": "FLOAT"},
    })  # fmt: skip
    tables.metadata.create_all(connection, [tables.overlaps, tables.item_overlaps])


@migration
def m004_benchmarks_and_baselines(connection: Connection) -> None:
    """Scores may fail, answers may be written instead of chosen, and a benchmark is known by its items, not by its name."""
    _add_columns(connection, {
        "runs": {
            "ms_per_token": "FLOAT", "ms_to_first_token": "FLOAT", "generate_tokens_per_s": "FLOAT", "generate_batch": "INTEGER",
            "inference_memory_bytes": "BIGINT", "inference_precision": "VARCHAR(16)", "inference_device": "VARCHAR(120)",
        },
    })  # fmt: skip
    _make_anew(connection, [tables.benchmark_scores, tables.item_answers])
    added = [tables.study_benchmarks, tables.study_baselines, tables.baselines, tables.baseline_scores, tables.baseline_answers]
    tables.metadata.create_all(connection, [*added, tables.baseline_texts, tables.reference_scores])
    scores, cells = tables.benchmark_scores, tables.study_runs
    scored = select(cells.c.study, scores.c.benchmark_digest, scores.c.benchmark, scores.c.fresh).join(scores, scores.c.run == cells.c.run)
    for study, names in connection.execute(select(TableClause("study_specs", column("study"), column("benchmarks", JSON)))).all():
        declared = scores.c.benchmark.in_(names), scores.c.benchmark_digest.is_not(None)
        of_study = scored.where(cells.c.study == study, cells.c.active, *declared).distinct()
        connection.execute(insert(tables.study_benchmarks).from_select(["study", "benchmark_digest", "benchmark", "fresh"], of_study))
    connection.exec_driver_sql("ALTER TABLE study_specs DROP COLUMN benchmarks")


@migration
def m005_latency_after_a_prompt_and_precision(connection: Connection) -> None:
    after = {"ms_per_token_after_prompt": "FLOAT"}
    _add_columns(connection, {"runs": after, "baselines": {**after, "precision": "VARCHAR(16)"}})


def _add_columns(connection: Connection, columns: Mapping[str, Mapping[str, str]]) -> None:
    """Table → column → type. Those that are there are passed over: a table that an earlier step made is as tables.py has it today."""
    for table, added in columns.items():
        there = {c["name"] for c in inspect(connection).get_columns(table)}
        for name, kind in added.items():
            if name not in there:
                connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")


def _make_anew(connection: Connection, changed: Sequence[Table]) -> None:
    """Tables as tables.py has them, with the rows they had: for what SQLite's ALTER TABLE cannot do. Those that refer to others
    come after them, so that no reference ever dangles."""
    shared = {t.name: [c["name"] for c in inspect(connection).get_columns(t.name) if c["name"] in t.c] for t in changed}
    for table in reversed(changed):
        connection.exec_driver_sql(f"CREATE TABLE {table.name}_before AS SELECT * FROM {table.name}")
        connection.exec_driver_sql(f"DROP TABLE {table.name}")
    tables.metadata.create_all(connection, changed)
    for table in changed:
        before = TableClause(f"{table.name}_before", *(column(name) for name in shared[table.name]))
        connection.execute(insert(table).from_select(shared[table.name], select(before)))
        connection.exec_driver_sql(f"DROP TABLE {table.name}_before")


def upgrade(engine: Engine, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Make the tables and views of a new file, or bring those of an older one up to date. StoreError for a newer file."""
    with engine.connect() as connection:
        version = version_of(connection)
    refuse_newer(name_of(engine.url), version, len(migrations))
    if version == len(migrations):
        return
    path = file_of(engine.url)
    if version and path is not None:
        _back_up(path, path.with_name(f"{path.name}.version{version}"))
    missing = list(enumerate(migrations, start=1))[version:]
    with engine.begin() as connection:
        if version:
            views.drop(connection)  # SQLite refuses to alter a table while a view names what is gone
        for _, step in missing if version else missing[:1]:
            step(connection)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        connection.execute(insert(tables.migrations), [{"number": n, "name": step.__name__, "applied": now} for n, step in missing])
        views.create(connection)


def version_of(connection: Connection) -> int:
    """The number of the last migration applied; 0 for a file without our tables."""
    if not inspect(connection).has_table(tables.migrations.name):
        return 0
    return connection.scalar(select(func.max(tables.migrations.c.number))) or 0


def refuse_newer(name: str, version: int, known: int) -> None:
    """StoreError where a file of `version` was made by a newer program than one that knows `known`."""
    if version > known:
        raise StoreError(
            f"{name} was made by a newer version of ablate (its tables are version {version}, this program knows {known}): "
            "upgrade ablate, or choose another --folder; nothing was changed"
        )


def _back_up(path: Path, backup: Path) -> None:
    with (
        renamed_into_place(backup) as part,
        closing(sqlite3.connect(path)) as source,
        closing(sqlite3.connect(part)) as target,
    ):
        source.backup(target)
