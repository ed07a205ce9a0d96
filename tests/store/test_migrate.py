"""Upgrades: whole or not at all, with the old file beside the new one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection

from ablate.errors import StoreError
from ablate.store import engine, migrate
from ablate.store.store import Store
from tests.outcomes import filled, finish, run


def m002_hair(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE runs ADD COLUMN hair TEXT")
    connection.exec_driver_sql("ALTER TABLE runs DROP COLUMN setup_seconds")


def m003_fails(connection: Connection) -> None:
    connection.exec_driver_sql("CREATE TABLE half_done (x)")
    connection.exec_driver_sql("ALTER TABLE no_such_table ADD COLUMN x")


def upgrade(path: Path, *further: migrate.Migration) -> None:
    url = engine.as_url(path)
    bound = engine.writer(url)
    try:
        with engine.sentences(url):
            migrate.upgrade(bound, [*migrate.MIGRATIONS, *further])
    finally:
        bound.dispose()


def schema(path: Path) -> str:
    db = sqlite3.connect(path)
    try:
        return "\n".join(sorted(str(row) for row in db.execute("select name, sql from sqlite_master")))
    finally:
        db.close()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file of version 1 with something in it."""
    with filled(tmp_path, [run(**{"train.lr": 0.1})]) as store:
        finish(store, run(), tmp_path)
    return tmp_path / "results.db"


def test_an_upgrade_keeps_everything_and_the_old_file(old: Path) -> None:
    before = schema(old)
    upgrade(old, m002_hair)
    db = sqlite3.connect(old)
    assert db.execute("select hair from runs").fetchall() == [(None,)]
    assert db.execute('select status, "train.lr", sums from results_quality').fetchall() == [("done", 0.1, 0.5)]
    assert db.execute("select number, name from ablate_migrations").fetchall() == [(1, "m001_initial"), (2, "m002_hair")]
    db.close()
    backup = old.with_name("results.db.version1")
    assert schema(backup) == before
    assert Store.read_only(backup).query("select count(*) from item_answers")[1] == [(4,)]


def test_a_failed_upgrade_leaves_the_file_as_it_was(old: Path) -> None:
    before = schema(old)
    with pytest.raises(StoreError, match="no_such_table"):
        upgrade(old, m002_hair, m003_fails)
    assert schema(old) == before
    assert Store.read_only(old).query("select status from results")[1] == [("done",)]
    upgrade(old, m002_hair)


def test_a_newer_file_is_refused_by_all(old: Path) -> None:
    upgrade(old, m002_hair)
    before = old.read_bytes()
    for opened in (Store.open, Store.read_only):
        with pytest.raises(StoreError, match=r"made by a newer version of ablate .*version 2, this program knows 1.*nothing was changed"):
            opened(old)
    assert old.read_bytes() == before


def test_a_new_file_is_made_at_the_newest_version(tmp_path: Path) -> None:
    upgrade(tmp_path / "new" / "results.db", m003_fails)
    db = sqlite3.connect(tmp_path / "new" / "results.db")
    assert db.execute("select max(number) from ablate_migrations").fetchall() == [(2,)]
    db.close()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["results.db"]


def test_the_journal_follows_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    kinds = {"/": "ext4", "/home": "nfs4", "/home/local": "xfs", "/my\\040disk": "fuse.sshfs"}
    mounts.write_text("".join(f"device {point} {kind} rw 0 0\n" for point, kind in kinds.items()))
    where = {"/r.db": False, "/home/me/r.db": True, "/home/local/r.db": False, "/homeless/r.db": False, "/my disk/r.db": True}
    assert {path: engine.on_network(Path(path), mounts) for path in where} == where
    assert not engine.on_network(Path("/home/me/results.db"), tmp_path / "none")
    for network, mode in ((False, "wal"), (True, "truncate")):
        monkeypatch.setattr(engine, "on_network", lambda _path, network=network: network)
        bound = engine.writer(engine.as_url(tmp_path / f"{mode}.db"))
        with bound.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == mode
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        bound.dispose()
