"""Which families are trained at once, and a packed study against the same one trained singly. Tolerance: 1e-5 of each loss."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ablate.jobs import packs_of
from ablate.workspace import Workspace
from tests.studies import TINY, ablate, numbers, start, write, written

PACKED = TINY.replace("slots: 2", "slots: 1").replace("tokens: [60k, 120k]", "tokens: [52k, 60k]")


def family(name: str, seed: int = 0, lr: float = 0.1, batch_tokens: int = 64) -> list[dict[str, Any]]:
    train = {"lr": lr, "batch_tokens": batch_tokens, "precision": "float32"}
    return [{"family": name, "recipe": {"seed": seed, "model": {"width": 8}, "data": {"seq_len": 16}, "train": train}}]


FAMILIES = [family("a"), family("b", seed=1), family("c", batch_tokens=128), family("d", lr=0.2), family("e", seed=2)]


def never(recipe: dict[str, Any], families: int) -> int:
    raise AssertionError("asked for a measurement")


def names(packs: Iterable[tuple[int, list[list[dict[str, Any]]]]]) -> list[tuple[int, str]]:
    return [(pack, "".join(runs[0]["family"] for runs in group)) for pack, group in packs]


def test_families_of_one_shape_and_batch_are_packed(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    assert names(packs_of(FAMILIES, 3, "cpu", space, never)) == [(3, "abde"), (1, "c")]
    assert names(packs_of(FAMILIES, "none", "cuda", space, never)) == [(1, name) for name in "abcde"]
    assert names(packs_of(FAMILIES, "auto", "cpu", space, never)) == [(1, name) for name in "abcde"]


def test_what_was_decided_stays_while_nothing_else_is_asked(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    assert names(packs_of(FAMILIES, "auto", "cuda", space, lambda recipe, families: -(-families // 2))) == [(2, "abde"), (1, "c")]
    assert names(packs_of(FAMILIES[3:4], "auto", "cuda", space, never)) == [(2, "d")], "alone, it still sits in a pack of two"
    assert names(packs_of([*FAMILIES, family("f")], "auto", "cuda", space, lambda recipe, families: 7)) == [(2, "abde"), (1, "c"), (7, "f")]
    assert names(packs_of(FAMILIES, 4, "cuda", space, never)) == [(4, "abde"), (1, "c")]


@pytest.mark.long
def test_a_packed_study_gives_the_scores_of_a_single_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        write(folder, PACKED)
    ablate("run", "tiny.yaml", cwd=one)
    for name in ("data", "tokenizers"):
        shutil.copytree(one / "runs" / name, two / "runs" / name)
    driver = start("run", "tiny.yaml", "launch.pack=2", cwd=two)
    os.kill(_worker(two), signal.SIGKILL)
    driver.terminate()
    driver.communicate(timeout=100)
    ablate("run", "tiny.yaml", "launch.pack=2", cwd=two)
    mine, theirs = numbers(one), numbers(two)
    assert len(mine) == len(theirs) and [row[0] for row in mine] == [row[0] for row in theirs]
    for a, b in zip(mine, theirs, strict=True):
        assert a[1] == b[1]
        assert [x for x in b if isinstance(x, float)] == pytest.approx([x for x in a if isinstance(x, float)], rel=1e-5)
    db = sqlite3.connect(two / "results.db")
    assert {row[0] for row in db.execute("select hours_basis from runs")} == {"packed"}
    assert {row[0] for row in db.execute("select pack from attempts where status = 'done'")} == {2}
    db.close()


def _worker(folder: Path) -> int:
    """The process that carries the pack, once it has trained for a while."""
    deadline = time.monotonic() + 120
    while not any(file.st_size for file in written(folder, "runs/families/*/trunk.safetensors").values()):
        assert time.monotonic() < deadline, "nothing was trained"
        time.sleep(0.05)
    lock = max(folder.glob("runs/jobs/*/lock"), key=lambda path: path.stat().st_mtime)
    return int(json.loads(lock.read_text())["pid"])
