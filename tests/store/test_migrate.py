"""Upgrades: whole or not at all, with the old file beside the new one. version1.sql is a file as the first release wrote it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection

from ablate.errors import StoreError
from ablate.store import engine, migrate
from ablate.store.store import Store
from tests.outcomes import answers, filled, finish, outcome, run

KNOWN = len(migrate.MIGRATIONS)


def m900_hair(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE runs ADD COLUMN hair TEXT")
    connection.exec_driver_sql("ALTER TABLE runs DROP COLUMN setup_seconds")


def m901_fails(connection: Connection) -> None:
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
    """A file of today's version with something in it."""
    with filled(tmp_path, [run(**{"train.lr": 0.1})]) as store:
        finish(store, run(), tmp_path)
    return tmp_path / "results.db"


def test_an_upgrade_keeps_everything_and_the_old_file(old: Path) -> None:
    before = schema(old)
    upgrade(old, m900_hair)
    db = sqlite3.connect(old)
    assert db.execute("select hair from runs").fetchall() == [(None,)]
    assert db.execute('select status, "train.lr", sums from results_quality').fetchall() == [("done", 0.1, 0.5)]
    assert db.execute("select number, name from ablate_migrations").fetchall() == [
        *enumerate((step.__name__ for step in migrate.MIGRATIONS), start=1),
        (KNOWN + 1, "m900_hair"),
    ]
    db.close()
    backup = old.with_name(f"results.db.version{KNOWN}")
    assert schema(backup) == before
    assert Store.read_only(backup).query("select count(*) from item_answers")[1] == [(4,)]


def columns(path: Path) -> dict[str, list[tuple[str, str]]]:
    """table or view → its columns with their types, in order."""
    db = sqlite3.connect(path)
    try:
        names = [name for (name,) in db.execute("select name from sqlite_master where type in ('table', 'view')")]
        return {name: [(row[1], row[2]) for row in db.execute(f"pragma table_info({name})")] for name in names}
    finally:
        db.close()


def test_a_file_of_the_first_release_becomes_one_of_today(tmp_path: Path, old: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    db = sqlite3.connect(first / "results.db")
    db.executescript(Path(__file__).with_name("version1.sql").read_text())
    db.close()
    with Store.open(first / "results.db") as store:
        sql = "select status, optimizer, final_loss, predicted_device_hours, peak_memory_bytes from results order by seed"
        assert store.query(sql)[1] == [("done", "adamw", 3.25, None, 10**9), ("pending", None, None, None, None)]
        assert store.query("select job, optimizer_backend, pack from attempts")[1] == [("job1", None, None)]
        finish(store, run(seed=1), tmp_path)
    assert columns(first / "results.db") == columns(old)
    models = {"baselines", "baseline_scores", "baseline_answers", "baseline_texts", "baseline_results"}
    published = {"clean_scores", "reference_scores", "published_scores"}
    since = {"overlaps", "item_overlaps", "study_benchmarks", "study_baselines", *models, *published}
    assert columns(first / "results.db.version1").keys() == columns(old).keys() - since


def rows_of(path: Path, tables: dict[str, list[str]]) -> dict[str, list[tuple[object, ...]]]:
    """table → its rows, of these columns."""
    db = sqlite3.connect(path)
    try:
        quoted = {name: ", ".join(f'"{column}"' for column in wanted) for name, wanted in tables.items()}
        return {name: db.execute(f"select {wanted} from {name} order by 1, 2").fetchall() for name, wanted in quoted.items()}
    finally:
        db.close()


def test_a_file_of_version_3_keeps_its_rows(tmp_path: Path, old: Path) -> None:
    third = tmp_path / "third" / "results.db"
    third.parent.mkdir()
    db = sqlite3.connect(third)
    db.executescript(Path(__file__).with_name("version3.sql").read_text())
    db.close()
    Store.open(third).close()
    backup = third.with_name("results.db.version3")
    then, now = columns(backup), columns(third)
    assert {name: now[name] for name in now if not name.startswith("results_")} == {
        name: shown for name, shown in columns(old).items() if not name.startswith("results_")
    }
    views = ("results", "scores", "clean_scores", "ablate_migrations")
    tables = {name: [c for c, _ in then[name] if c in dict(now[name])] for name in then if not name.startswith(views)}
    kept = rows_of(backup, tables)
    assert rows_of(third, tables) == kept
    assert all(kept[name] for name in ("benchmark_scores", "item_answers", "overlaps", "study_specs", "attempts", "curves"))
    shown = {"results_quality": ["run", "sums", "sums_fresh"], "results_other": ["run", "sums", "kinds"]}
    shown["clean_scores"] = ["run", "score_clean"]
    assert rows_of(third, shown) == rows_of(backup, shown)
    assert rows_of(third, {"study_benchmarks": ["study", "benchmark", "fresh"]})["study_benchmarks"] == [
        ("quality", "sums", 0),
        ("quality", "sums", 1),
    ]


def test_what_an_older_file_lacks_is_told_by_name_and_remedy(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(Path(__file__).with_name("version3.sql").read_text())
    reader = Store.read_only(path)
    assert reader.query("select sums from results_quality where sums is not null")[1] == [(0.5,)]
    with pytest.raises(StoreError, match=r"no such column: ms_per_token.*`ablate ingest` brings it up to date"):
        reader.query("select ms_per_token from results")
    Store.open(path).close()
    assert Store.read_only(path).query("select distinct ms_per_token from results")[1] == [(None,)]


def test_a_file_of_version_4_gains_columns(old: Path) -> None:
    """Made of one of today, without what came later."""
    today = columns(old)
    with closing(sqlite3.connect(old)) as db:
        for (view,) in db.execute("select name from sqlite_master where type = 'view'").fetchall():
            db.execute(f"drop view {view}")
        for later in ("runs drop column ms_per_token_after_prompt", "baselines drop column ms_per_token_after_prompt"):
            db.execute(f"alter table {later}")
        db.execute("alter table baselines drop column precision")
        db.execute("delete from ablate_migrations where number > 4")
        db.commit()
    Store.open(old).close()
    assert columns(old) == today
    known = "status, ms_per_token, ms_per_token_after_prompt"
    assert Store.read_only(old).query(f"select {known} from results")[1] == [("done", 1.25, None)]


def test_a_table_made_anew_has_its_constraints(tmp_path: Path, old: Path) -> None:
    third = tmp_path / "third.db"
    db = sqlite3.connect(third)
    db.executescript(Path(__file__).with_name("version3.sql").read_text())
    db.close()
    Store.open(third).close()
    with closing(sqlite3.connect(third)) as db, closing(sqlite3.connect(old)) as new:
        made = "select name, sql from sqlite_master where tbl_name in ('benchmark_scores', 'item_answers') order by name"
        assert db.execute(made).fetchall() == new.execute(made).fetchall()
        assert db.execute("pragma foreign_key_check").fetchall() == []
        assert not db.execute("select name from sqlite_master where name like '%before%'").fetchall()
        db.execute("update benchmark_scores set score = null, stderr = null, chance = null where id = 1")
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
            db.execute("update benchmark_scores set digest = 'the same'")


def test_what_was_predicted_and_chosen_is_recorded(tmp_path: Path) -> None:
    chosen = {
        "optimizer_backend": "apex", "optimizer_version": "0.1", "micro_batch": 4, "oom_halvings": 1, "pack": 1, "devices": 2,
        "activation_checkpointing": True,
    }  # fmt: skip
    done = outcome(run(), **chosen)
    done["train"] |= {"predicted_seconds": 3600.0, "predicted_memory_bytes": 2 * 10**9}
    with filled(tmp_path, [run()]) as store:
        answers(done, tmp_path)
        store.record(done, tmp_path)
        assert store.query("select device_hours, predicted_device_hours, predicted_memory_bytes from results")[1] == [(2.0, 1.0, 2 * 10**9)]
        assert store.query(f"select {', '.join(chosen)} from attempts")[1] == [tuple(chosen.values())]


def test_a_failed_upgrade_leaves_the_file_as_it_was(old: Path) -> None:
    before = schema(old)
    with pytest.raises(StoreError, match="no_such_table"):
        upgrade(old, m900_hair, m901_fails)
    assert schema(old) == before
    assert Store.read_only(old).query("select status from results")[1] == [("done",)]
    upgrade(old, m900_hair)


def test_a_newer_file_is_refused_by_all(old: Path) -> None:
    upgrade(old, m900_hair)
    before = old.read_bytes()
    said = rf"newer version of ablate .*version {KNOWN + 1}, this program knows {KNOWN}.*nothing was changed"
    for opened in (Store.open, Store.read_only):
        with pytest.raises(StoreError, match=said):
            opened(old)
    assert old.read_bytes() == before


def test_a_new_file_is_made_at_the_newest_version(tmp_path: Path) -> None:
    upgrade(tmp_path / "new" / "results.db", m901_fails)
    db = sqlite3.connect(tmp_path / "new" / "results.db")
    assert db.execute("select max(number) from ablate_migrations").fetchall() == [(KNOWN + 1,)]
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
