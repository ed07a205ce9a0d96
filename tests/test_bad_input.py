"""Whatever is typed or broken: one sentence that says what, where and what to do; status 2; no traceback; nothing lost."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from ablate.study.load import load
from tests.studies import TINY, ablate, typed, write
from tests.test_plan import known


def refused(folder: Path, *words: str, text: str = TINY, arguments: tuple[str, ...] = ()) -> str:
    """The sentence with which `ablate run` refuses; it must contain every one of `words`, and nothing may have been trained."""
    write(folder, text)
    said = typed("run", "tiny.yaml", *arguments, cwd=folder, status=2)
    for word in words:
        assert word in said, said
    assert not list(folder.glob("runs/jobs/*"))
    assert len([line for line in said.strip().splitlines() if not line.startswith("  tokenising ")]) <= 3, said
    return said


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("grid:", "gird:", ["tiny.yaml:3", "gird", "grid"]),
        ("tokens: [60k, 120k]", "tokens: 60k", ["tiny.yaml:5", "grid.tokens", "list"]),
        ("seq_len: 64", "seq_len: many", ["tiny.yaml:12", "seq_len", "many"]),
        ("tokens: [60k, 120k]", "tokens: []", ["grid.tokens"]),
        ("tokens: [60k, 120k]", "tokens: [60k, 60_000]", ["tokens", "same level"]),
        ("synthetic_ratio: [0, 1]", "synthetic_ratio: [0, 1.5]", ["synthetic_ratio", "1.5", "[0, 1]"]),
        ("tokens: [60k, 120k]", "tokens: [10k]", ["steps", "train.batch_tokens"]),
        ("params: [50k]", "params: [7B]", ["7B", "memory", "GB"]),
        ("web: builtin:web", "web: {files: missing/*.jsonl}", ["missing/*.jsonl"]),
        ("builtin:grammar", "builtin:gramar", ["gramar", "grammar"]),
        ("launch: {", "launch: {device: cuda, ", ["cuda"]),
    ],
)
def test_a_study_that_cannot_run_is_refused(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    assert old in TINY
    refused(tmp_path, *words, text=TINY.replace(old, new))


def test_a_budget_larger_than_the_data_allows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "small.txt").write_text("A robin is a bird. Birds have feathers.\n" * 200 + "<|endoftext|>" + "The cat sleeps.\n" * 100)
    refused(tmp_path, "epochs", "data.max_epochs", text=TINY.replace("web: builtin:web", "web: {files: small.txt}"))


def test_a_missing_study_file(tmp_path: Path) -> None:
    assert "nowhere.yaml" in ablate("run", "nowhere.yaml", cwd=tmp_path, status=2)


def test_an_override_with_a_wrong_path(tmp_path: Path) -> None:
    refused(tmp_path, "train.lrr", "train.lr", arguments=("train.lrr=0.1",))


def test_a_budget_of_device_hours(tmp_path: Path) -> None:
    known(tmp_path, load(write(tmp_path)))
    refused(tmp_path, "device-hours", "--budget", arguments=("--budget", "1s"))


def test_an_unreadable_database(tmp_path: Path) -> None:
    (tmp_path / "results.db").write_bytes(b"this is no database, it is a shopping list " * 100)
    before = (tmp_path / "results.db").read_bytes()
    refused(tmp_path, "results.db")
    assert (tmp_path / "results.db").read_bytes() == before


def test_a_database_of_a_newer_version(tmp_path: Path) -> None:
    typed("query", "select 1", cwd=tmp_path, status=2)
    db = sqlite3.connect(tmp_path / "results.db")
    db.execute("create table ablate_migrations (number integer primary key, name text not null, applied text not null)")
    db.execute("insert into ablate_migrations values (9999, 'm9999_from_the_future', 'tomorrow')")
    db.commit()
    db.close()
    refused(tmp_path, "newer")


def test_bad_sql(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "results.db").close()
    assert "syntax error" in typed("query", "selec 1", cwd=tmp_path, status=2)


def test_query_cannot_write(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "results.db")
    db.execute("create table t (x)")
    db.commit()
    db.close()
    typed("query", "insert into t values (1)", cwd=tmp_path, status=2)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=3m tmpfs {disk} 2>/dev/null"):
        pytest.skip("no tmpfs can be mounted here")
    try:
        write(disk)
        assert "disk" in typed("run", "tiny.yaml", cwd=disk, status=2)
    finally:
        os.system(f"umount {disk}")


def test_help_is_fast_and_says_every_verb(tmp_path: Path) -> None:
    import subprocess
    import sys
    import time

    took = []
    for _ in range(5):
        began = time.perf_counter()
        out = subprocess.run([sys.executable, "-m", "ablate", "--help"], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
        took.append(time.perf_counter() - began)
    for verb in ("plan", "run", "status", "plot", "query", "schema"):
        assert verb in out
    assert min(took) < 0.3
