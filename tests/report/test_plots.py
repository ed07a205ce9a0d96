"""Figures: their numbers, and that every state a study can be in is drawn without a warning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ablate.report import claims, ink, plots, tables
from ablate.report.cells import strata
from tests.report import simulated_study

M = 1_000_000
NAMES = {"claim", "ratio", "heat", "loss", "texts", "benchmarks", "sizes", "right_choice"}


def test_claim_table_marks_what_the_verdict_names() -> None:
    frames = simulated_study.study()
    (verdict,) = claims.verdicts(frames)
    table = tables.claim(frames, verdict)
    assert len(table) == 27
    assert verdict.named is not None
    named = table.filter(pl.col("role") == "named")
    assert named.select(tables.CELL).rows() == [(verdict.named.model.params, verdict.named.model.tokens, 1.0)]
    assert table.filter(pl.col("role") == "reference").select(tables.CELL).rows() == [(M, M, 0.0)]
    assert table["role"].is_in(["passed", "named", "failed"]).sum() == len(verdict.tested)


def test_cells_are_means_with_the_range_of_the_seeds() -> None:
    frames = simulated_study.study()
    largest = {"params": M, "tokens": M, "synthetic_ratio": 1.0}
    row = tables.cells(frames).filter(**largest).row(0, named=True)
    scores = frames.runs.filter(**largest)["mean_score"]
    assert (row["low"], row["high"], row["seeds"]) == (scores.min(), scores.max(), 2)
    assert row["score"] == pytest.approx(scores.mean())


def test_loss_is_smoothed_and_only_of_the_largest_budget() -> None:
    frames = simulated_study.study()
    table = tables.loss(frames)
    assert set(table["budget"]) == {M}
    raw = frames.curves.filter(pl.col("run") == frames.runs.filter(params=M, tokens=M, synthetic_ratio=1.0)["run"][0])
    smooth = table.filter(params=M, synthetic_ratio=1.0)
    assert smooth["loss"].diff().tail(50).std() < raw["loss"].diff().tail(50).std() / 3  # type: ignore[operator]


def test_texts_begin_with_the_neutral_one_and_benchmarks_leave_twins_out() -> None:
    frames = simulated_study.study()
    assert tables.texts(frames)["text"][0] == "neutral"
    table = tables.benchmarks(frames)
    assert set(table["n"]) == {300} and len(table) == 3 * 2 * 5
    assert set(zip(table["params"], table["tokens"], strict=True)) == {(M, M)}


@pytest.mark.parametrize(
    ("study", "drawn"),
    [
        ({}, NAMES),
        ({"sizes": (M,), "budgets": (M,), "ratios": (0.5,), "seeds": (0,)}, NAMES),
        ({"sizes": (M,), "budgets": (M,), "ratios": (0.0, 1.0), "seeds": (0,), "unfinished": [(M, M, 0.0, 0), (M, M, 1.0, 0)]}, set()),
        ({"sizes": (100_000, M), "budgets": (M,), "unfinished": [(M, M, 1.0, 0), (100_000, M, 0.0, 0), (100_000, M, 0.0, 1)]}, NAMES),
    ],
    ids=["whole", "one run", "nothing finished", "running"],
)
def test_every_state_of_a_study_is_drawn(study: dict[str, Any], drawn: set[str], tmp_path: Path) -> None:
    paths = plots.draw_all(simulated_study.study(**study), tmp_path)
    assert {p.name for p in paths} == {f"{name}{end}" for name in drawn for end in (".png", ".svg", ".csv")}
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    for path in paths:
        head = path.read_bytes()[:200]
        assert path.suffix != ".png" or head.startswith(b"\x89PNG")
        assert path.suffix != ".svg" or b"<?xml" in head
        assert path.suffix != ".csv" or len(pl.read_csv(path)) > 0


def test_other_factors_get_their_own_figures() -> None:
    frames = simulated_study.study(sizes=(M,), budgets=(M,), extra=({"model.depth": 1}, {"model.depth": 2}))
    assert [(condition["model.depth"], len(part.runs)) for condition, part in strata(frames)] == [(1, 6), (2, 6)]


def test_arms_keep_their_colours_and_shapes_tell_sizes_apart() -> None:
    table = tables.cells(simulated_study.study())
    colours, markers = ink.arm_colours(table), ink.size_markers(table)
    assert len(set(colours.values())) == 3 and len(set(markers.values())) == 3
    two = ink.arm_colours(table.filter(pl.col("synthetic_ratio") != 0.5))
    assert two == {0.0: colours[0.0], 1.0: colours[1.0]}
