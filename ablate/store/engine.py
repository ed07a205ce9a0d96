"""Connections to results.db, and one sentence for everything that can go wrong with them."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from ablate.errors import AblateError, StoreError
from ablate.workspace import disk_full

BUSY_SECONDS = 30.0
"""How long a statement waits for another process to release the file."""
NETWORK_FILE_SYSTEMS = ("nfs", "lustre", "gpfs", "cifs", "smb", "beegfs", "ceph", "afs", "9p", "fuse.")
"""Beginnings of the types in /proc/mounts on which shared memory, and so the write-ahead log, does not work."""
LITTLE_ROOM = 256 * 1024
"""Bytes: with less than this free, an input/output error is taken for a full disk."""


def as_url(target: Path | str) -> URL:
    """A file's path, or an SQLAlchemy URL, as a URL. StoreError where the text is no URL."""
    if isinstance(target, Path):
        return URL.create("sqlite", database=str(target))
    try:
        return make_url(target)
    except ArgumentError:
        raise StoreError(f"{target!r} is not a database URL; write for example sqlite:///results.db") from None


def file_of(url: URL) -> Path | None:
    """The SQLite file behind a URL; None for another database."""
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def name_of(url: URL) -> str:
    """How sentences call the database: its path, or its URL without the password."""
    return str(file_of(url) or url.render_as_string(hide_password=True))


def writer(url: URL) -> Engine:
    """An engine that reads and writes; a file that is not there is made. Foreign keys are checked.

    It keeps its connection: SQLite empties its log, with two waits for the disk, whenever the last one closes.
    """
    path = file_of(url)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    engine = _engine(url)
    if path is not None:
        event.listen(engine, "connect", settings(path))
        event.listen(engine, "connect", _transactions_by_hand)
        event.listen(engine, "begin", _begin_writing)
    return engine


def reader(url: URL) -> Engine:
    """An engine with which SQLite itself refuses to write: mode=ro, query_only, and no other file attached.

    Other databases have no such switch that all share: what a query wrote there is rolled back.
    """
    path = file_of(url)
    if path is None:
        return _engine(url, poolclass=NullPool)
    if not path.exists():
        raise StoreError(f"{path}: no such file; `ablate run STUDY` makes it")
    query = {"mode": "ro", "uri": "true"}
    if not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists():
        query["immutable"] = "1"  # a folder on a read-only disk: SQLite could not make the index of its log there
    engine = _engine(URL.create("sqlite", database=f"file:{quote(str(path.absolute()))}", query=query), poolclass=NullPool)
    event.listen(engine, "connect", _only_reading)
    return engine


def settings(path: Path) -> Callable[[sqlite3.Connection, Any], None]:
    """What every writing connection to the file is told: ours and Optuna's.

    synchronous=NORMAL: a power cut may take the last commits, never the file; they are still in the run folders.
    """
    journal = "TRUNCATE" if on_network(path) else "WAL"

    def apply(connection: sqlite3.Connection, _record: Any) -> None:
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("PRAGMA synchronous = NORMAL")

    return apply


def on_network(path: Path, mounts: Path = Path("/proc/mounts")) -> bool:
    """Whether the file lies on a network file system; False where that cannot be told."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    where, kind = Path("/"), ""
    for line in lines:
        _, point, type_, *_ = line.split(" ")
        point_path = Path(point.replace("\\040", " "))
        if path.absolute().is_relative_to(point_path) and len(point_path.parts) >= len(where.parts):
            where, kind = point_path, type_
    return kind.startswith(NETWORK_FILE_SYSTEMS)


@contextmanager
def sentences(url: URL) -> Iterator[None]:
    """Turn what the database raises in the block into a StoreError or a DiskFullError."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, sqlite3.Warning) as e:
        raise sentence(url, e) from e


def sentence(url: URL, error: BaseException) -> AblateError:
    """The error a user is shown instead of `error`."""
    name, path = name_of(url), file_of(url)
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    code = getattr(cause, "sqlite_errorname", "") or ""
    if code == "SQLITE_FULL" or (code.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")) and path is not None and _no_room(path)):
        return disk_full(name)
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreError(f"{name} was kept locked by another program for {BUSY_SECONDS:g} s; close that one, then try again")
    if code == "SQLITE_NOTADB":
        return StoreError(f"{name} is not an SQLite database; move it away, or choose another --folder")
    if code.startswith("SQLITE_CORRUPT"):
        return StoreError(f"{name} is damaged ({cause}); move it away, then `ablate ingest` makes it anew from the run folders")
    if code.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_IOERR")):
        return StoreError(f"{name} cannot be used as asked ({cause}); is it a file, and may you read it and write beside it?")
    return StoreError(f"{name}: {cause}")


def _engine(url: URL, **options: Any) -> Engine:
    try:
        return create_engine(url, **options)
    except (NoSuchModuleError, ModuleNotFoundError) as e:
        raise StoreError(f"{name_of(url)}: this kind of database needs a Python package that is not installed ({e})") from None


def _transactions_by_hand(connection: sqlite3.Connection, _record: Any) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.isolation_level = None  # else sqlite3 commits before CREATE and ALTER, and a migration is no transaction


def _begin_writing(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # a reader that turns writer could fail without waiting


def _only_reading(connection: sqlite3.Connection, _record: Any) -> None:
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    connection.execute("PRAGMA query_only = ON")
    connection.set_authorizer(_no_other_file)


def _no_other_file(action: int, *_names: str | None) -> int:
    # ATTACH and VACUUM INTO would make files: mode=ro guards only the one that was opened
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK


def _no_room(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < LITTLE_ROOM
    except OSError:
        return False
