"""The figures that take benchmarks apart: what is at chance is flagged, other models stand beside the study's, metrics stay apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from matplotlib.patches import Rectangle

from ablate.report import benchmark_plots, claims, ink, plots, tables
from ablate.report.frames import BASELINES, Frames, table
from tests.report import simulated_study

M = 1_000_000


def baseline(name: str = "Other-3M", benchmarks: Any = simulated_study.BENCHMARKS, **changes: Any) -> list[list[Any]]:
    """A baseline's rows, on all of the simulated study's benchmarks: half of what guessing misses is right."""
    rows = []
    for benchmark, chance in dict(benchmarks).items():
        for register in ("textbook", "page"):
            row = {
                "name": name, "params_total": 3 * M, "benchmark": benchmark, "register": register, "fresh": False, "metric": "acc",
                "score": (1 + chance) / 2, "stderr": 0.02, "chance": chance, "n": 300, "mean_logprob": -2.0,
                "bits_per_byte": 1.0, "benchmark_digest": f"{benchmark} {register}",
            } | changes  # fmt: skip
            rows.append([row[column] for column in BASELINES])
    return rows


def with_baselines(*rows: list[Any], **options: Any) -> Frames:
    return replace(simulated_study.study(**options), baselines=table(BASELINES, rows))


def test_the_largest_cell_flags_what_is_at_chance() -> None:
    frames = simulated_study.study(sizes=(100_000,), budgets=(250_000,))
    found = tables.benchmarks(frames)
    row = found.filter(benchmark="sums", register="page", synthetic_ratio=0.0).row(0, named=True)
    assert row["low"] == pytest.approx(row["score"] - 1.96 * row["stderr"])
    assert found["at_chance"].to_list() == [low <= chance for low, chance in found.select("low", "chance").iter_rows()]
    assert found["at_chance"].sum() > 4
    with ink.style():
        figure = benchmark_plots.benchmarks(found)
    hollow = [line for axis in figure.axes for line in axis.lines if line.get_markerfacecolor() == "white"]
    assert len(hollow) == found["at_chance"].sum()
    assert any("at chance" in text.get_text() for text in figure.legends[0].get_texts())


def test_what_has_no_chance_is_never_at_it() -> None:
    frames = simulated_study.study(sizes=(100_000,), budgets=(250_000,))
    chance = pl.when(pl.col("benchmark") == "sums").then(None).otherwise("chance").alias("chance")
    found = tables.benchmarks(replace(frames, scores=frames.scores.with_columns(chance)))
    assert found["at_chance"].any() and not found.filter(benchmark="sums")["at_chance"].any()


def test_every_size_has_its_row_and_what_is_at_chance_is_hatched() -> None:
    frames = simulated_study.study(budgets=(250_000,))
    found = tables.sizes(frames)
    assert len(found) == 3 * 3 * 5 and set(found["tokens"]) == {250_000}
    assert 0 < found["at_chance"].sum() < len(found)
    with ink.style():
        figure = benchmark_plots.sizes(found)
    patches = [patch for axis in figure.axes for patch in axis.patches if isinstance(patch, Rectangle) and patch.get_hatch()]
    assert len(patches) == found["at_chance"].sum()


def test_the_right_choice_s_bits_are_means_over_registers_and_seeds() -> None:
    frames = simulated_study.study()
    cell = {"params": M, "tokens": M, "synthetic_ratio": 1.0}
    row = tables.right_choice(frames).filter(benchmark="sums", **cell).row(0, named=True)
    runs = frames.runs.filter(**cell)["run"].to_list()
    raw = frames.scores.filter(pl.col("run").is_in(runs), ~pl.col("fresh"), benchmark="sums")
    assert row["bits_per_byte"] == pytest.approx(raw["bits_per_byte"].mean())
    assert row["seeds"] == 2 and row["low"] <= row["bits_per_byte"] <= row["high"]


def test_a_baseline_is_marked_in_every_score_figure(tmp_path: Path) -> None:
    frames = with_baselines(*baseline())
    claim = tables.claim(frames, claims.verdicts(frames)[0])
    assert claim.filter(role="baseline").select("baseline", "score").rows() == [("Other-3M", pytest.approx(0.5))]
    marked = tables.benchmarks(frames).filter(baseline="Other-3M")
    assert len(marked) == 2 * 5 and marked["synthetic_ratio"].null_count() == 10
    near = tables.beside(frames)
    assert near.filter(kind="baseline")["params_total"].unique().to_list() == [3 * M]
    assert near.filter(kind="baseline", benchmark="sums")["score"].to_list() == [pytest.approx(0.625)]
    names = {path.stem for path in plots.draw_all(frames, tmp_path, only=("claim", "benchmarks", "beside"))}
    assert names == {"claim", "benchmarks", "beside"}


@pytest.mark.parametrize("changes", [{"metric": "acc_norm"}, {"fresh": True}], ids=str)
def test_another_metric_is_not_drawn(changes: dict[str, Any]) -> None:
    frames = with_baselines(*baseline(**changes), sizes=(M,), budgets=(M,))
    assert tables.beside(frames).is_empty()
    assert set(tables.benchmarks(frames)["baseline"]) == {""}
    assert tables.claim(frames, None).filter(role="baseline").is_empty()


def test_a_mean_is_never_over_fewer_benchmarks() -> None:
    frames = with_baselines(*baseline(benchmarks={"sums": 0.25}), sizes=(M,), budgets=(M,))
    assert tables.claim(frames, None).filter(role="baseline").is_empty()
    assert set(tables.beside(frames)["benchmark"]) == {"sums"}


def test_published_scores_stand_beside_only_where_benchmark_and_metric_agree() -> None:
    frames = simulated_study.study(sizes=(M,), budgets=(M,))
    renamed = pl.col("benchmark").replace({"kinds": "hellaswag", "stories": "winogrande", "sums": "gsm8k"})
    frames = replace(frames, scores=frames.scores.with_columns(renamed))
    assert tables.beside(frames).is_empty(), "only when asked for"
    found = tables.beside(frames, with_published=True)
    theirs = found.filter(kind="published")
    assert set(theirs["benchmark"]) == {"hellaswag", "winogrande"}, "gsm8k is published by other metrics alone"
    assert set(theirs["metric"]) == {"acc"} and theirs["source"].null_count() == 0 and theirs["setting"].null_count() == 0
    assert theirs.filter(benchmark="hellaswag", system="phi-1.5")["score"].to_list() == [0.476]
    with ink.style():
        figure = benchmark_plots.beside(found)
    assert "not measured here" in figure.get_suptitle()
    hollow = [line for axis in figure.axes for line in axis.lines if line.get_markerfacecolor() == "white"]
    assert len(hollow) == len(theirs)
