"""Numbered migrations of results.db, all missing ones in one transaction, after a backup.

What a failed migration leaves behind: the file as it was, and the backup beside it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, func, insert, inspect, select, update

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
    columns = {
        "runs": {"optimizer": "VARCHAR(16)", "predicted_seconds": "FLOAT", "predicted_memory_bytes": "BIGINT"},
        "attempts": {
            "optimizer_backend": "VARCHAR(40)", "optimizer_version": "VARCHAR(80)", "micro_batch": "INTEGER", "oom_halvings": "INTEGER",
            "pack": "INTEGER", "devices": "INTEGER", "activation_checkpointing": "BOOLEAN",
        },
    }  # fmt: skip
    for table, added in columns.items():
        for name, kind in added.items():
            connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
    recipe = tables.runs.c.recipe
    connection.execute(update(tables.runs).values(optimizer=recipe["train"]["optimizer"]["name"].as_string()))


@migration
def m003_overlap_and_data_cost(connection: Connection) -> None:
    columns = {
        "source_usage": {"shards": "VARCHAR(16)"},
        "benchmark_scores": {"benchmark_digest": "VARCHAR(16)", "n_clean": "INTEGER"},
        "study_runs": {"data_costs": "JSON", "data_gpu_hours": "FLOAT"},
    }
    for table, added in columns.items():
        for name, kind in added.items():
            connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
    tables.metadata.create_all(connection, [tables.overlaps, tables.item_overlaps])


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
