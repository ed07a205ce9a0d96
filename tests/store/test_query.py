"""Reading: beside a writer, without writing, and with a sentence for what cannot be read."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from ablate.errors import StoreError
from ablate.store.store import Store
from tests.outcomes import filled, finish, run


def test_reading_works_while_somebody_writes(tmp_path: Path) -> None:
    with filled(tmp_path, [run(), run(seed=1)]) as store:
        finish(store, run(), tmp_path)
        assert (tmp_path / "results.db-wal").exists()
        writer = sqlite3.connect(tmp_path / "results.db", isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE runs SET status = 'done'")
        columns, rows = Store.read_only(tmp_path / "results.db").query("select status from results order by seed")
        assert (columns, rows) == (["status"], [("done",), ("pending",)])
        writer.close()


def test_what_a_killed_writer_left_in_its_log_is_read(tmp_path: Path) -> None:
    with filled(tmp_path, [run()]) as store:
        finish(store, run(), tmp_path)
        (tmp_path / "left").mkdir()
        for name in ("results.db", "results.db-wal"):
            shutil.copy(tmp_path / name, tmp_path / "left" / name)
    assert Store.read_only(tmp_path / "left" / "results.db").query("select status from results")[1] == [("done",)]


@pytest.mark.parametrize("sql", [
    "insert into curves (run, step) values ('a', 1)", "delete from runs", "drop view results", "create table t (x)",
    "pragma query_only = off", "attach 'other.db' as other", "vacuum into 'other.db'", "vacuum", "",
])  # fmt: skip
def test_a_query_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str) -> None:
    monkeypatch.chdir(tmp_path)
    filled(tmp_path, [run()]).close()
    before = (tmp_path / "results.db").read_bytes()
    with pytest.raises(StoreError, match=r"results\.db"):
        Store.read_only(tmp_path / "results.db").query(sql)
    assert (tmp_path / "results.db").read_bytes() == before
    assert not (tmp_path / "other.db").exists()


@pytest.mark.parametrize(("sql", "said"), [
    ("select nonsense from results", "no such column: nonsense"), ("select * from result", "no such table: result"),
    ("selct 1", 'near "selct"'), ("select 1; select 2", "one statement"), ("select '100%' like '%' || :x", "bindings"),
])  # fmt: skip
def test_an_error_in_sql_says_what_sqlite_says(tmp_path: Path, sql: str, said: str) -> None:
    filled(tmp_path, [run()]).close()
    with pytest.raises(StoreError, match=r"results\.db: .*" + said):
        Store.read_only(tmp_path / "results.db").query(sql)


def test_per_cent_and_colon_are_plain_text(tmp_path: Path) -> None:
    filled(tmp_path, []).close()
    assert Store.read_only(tmp_path / "results.db").query("select '%s :x' as a where 'ab' like 'a%'") == (["a"], [("%s :x",)])


def test_files_that_cannot_be_read_get_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with pytest.raises(StoreError, match=r"no such file; `ablate run"):
        Store.read_only(path)
    path.mkdir()
    for opened in (Store.read_only, Store.open):
        with pytest.raises(StoreError, match=r"cannot be used as asked .* is it a file"):
            opened(path)
    path.rmdir()
    path.write_text("a shopping list, long enough to be taken for a database" * 20)
    for opened in (Store.read_only, Store.open):
        with pytest.raises(StoreError, match="is not an SQLite database"):
            opened(path)


def test_a_damaged_file_gets_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    filled(tmp_path, [run(seed=i) for i in range(200)]).close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(StoreError, match=r"is damaged .*ablate ingest"):
        Store.read_only(path).query("select * from runs")


def test_other_databases_need_their_package() -> None:
    with pytest.raises(StoreError, match="not a database URL"):
        Store.open("results.db")
    with pytest.raises(StoreError, match=r"nonsense://.*Python package"):
        Store.open("nonsense://user:secret@host/db")


def test_a_url_is_as_good_as_a_path(tmp_path: Path) -> None:
    filled(tmp_path, [run()]).close()
    assert Store.read_only(f"sqlite:///{tmp_path}/results.db").query("select count(*) from results")[1] == [(1,)]
