"""Llama-2's test of an effect of overlap: against the formula by hand, and out of a database."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ablate.report import contamination, frames
from ablate.store.store import Store
from tests.outcomes import answers, filled, outcome, overlap, run, score


def items(correct: list[int], c: list[float], span: int = 10) -> pl.DataFrame:
    many = len(c)
    keys = {"run": ["r"] * many, "benchmark": ["sums"] * many, "register": ["page"] * many, "span": [span] * many}
    return pl.DataFrame({**keys, "c": c, "correct": [float(x) for x in correct]})


def test_the_four_groups_by_hand() -> None:
    """40 items, 10 of them seen: three of the clean third right, all of the dirty."""
    (row,) = contamination.grouped(items([1] * 10 + [1, 0, 0] * 10, [0.9] * 10 + [0.0] * 30)).rows(named=True)
    mu, sigma = 0.5, 0.5
    assert (row["n_clean"], row["n_not_clean"], row["n_not_dirty"], row["n_dirty"]) == (30, 10, 30, 10)
    assert row["z_dirty"] == row["z_not_clean"] == pytest.approx((1 - mu) / (sigma / 10**0.5))
    assert row["z_clean"] == row["z_not_dirty"] == pytest.approx((1 / 3 - mu) / (sigma / 30**0.5))
    assert not row["effect"], "the clean groups lie 1.8 below, and 2 are needed"


def test_an_effect_is_told_with_the_largest_span() -> None:
    seen = [0.9] * 30 + [0.0] * 60
    found = pl.concat([contamination.grouped(items([1] * 30 + [0] * 60, seen, span)) for span in (10, 40)])
    nothing = contamination.grouped(items([1, 0] * 45, seen, 50))
    (line,) = contamination.told(pl.concat([found, nothing]))
    assert "sums (page)" in line and "(L = 40)" in line
    rare = pl.concat([contamination.grouped(items([1] * 30 + [0] * 60, seen)), *[contamination.grouped(items([1, 0] * 45, seen))] * 2])
    assert contamination.told(rare) == [], "one run of three"


def test_no_group_is_empty_and_calls_it_an_effect() -> None:
    (row,) = contamination.grouped(items([1, 0, 1, 0], [0.0] * 4)).rows(named=True)
    assert (row["n_dirty"], row["mean_dirty"], row["z_dirty"], row["effect"]) == (0, None, None, False)


def test_out_of_a_database(tmp_path: Path) -> None:
    """Of two sources the larger share counts; a run whose second source was not looked through has no row."""
    with filled(tmp_path, [run()]) as store:
        done = outcome(run(), [{**score(n=4), "benchmark_digest": "b1"}])
        for used, shards in zip(done["usage"], ("s1", "s2"), strict=True):
            used["shards"] = shards
        answers(done, tmp_path)
        store.record(done, tmp_path)
        store.record_overlap("s1", "c", [overlap("b1", {0: 0.1, 1: 0.9}, "llama2_20")])
        reader = Store.read_only(tmp_path / "results.db")
        assert contamination.groups(reader, frames.read(reader, "quality")).is_empty()
        store.record_overlap("s2", "c", [overlap("b1", {0: 0.5}, "llama2_20")])
        (row,) = contamination.groups(reader, frames.read(reader, "quality")).rows(named=True)
    assert (row["span"], row["items"], row["n_clean"], row["n_not_clean"], row["n_dirty"], row["mean_dirty"]) == (20, 4, 2, 2, 1, 1.0)
