"""The verdict on simulated studies, and its words."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import polars as pl
import pytest

from ablate.report import cells, claims, sentences
from ablate.report.claims import Verdict
from ablate.report.frames import Frames
from tests.report import simulated_study
from tests.report.simulated_study import BENCHMARKS

M = 1_000_000
ONE_CELL = {"sizes": (M,), "budgets": (M,)}


def verdict(**study: Any) -> Verdict:
    (found,) = claims.verdicts(simulated_study.study(**study))
    return found


def test_a_true_advantage_is_named_with_its_numbers() -> None:
    found = verdict()
    assert (found.outcome, found.candidates, found.groups, found.items) == ("holds", 9, 9, 3000)
    assert found.reference is not None and (found.reference.params, found.reference.tokens, found.reference.synthetic_ratio) == (M, M, 0.0)
    flops = [c.model.flops for c in found.tested]
    assert flops == sorted(flops, reverse=True)
    assert [c.difference.low > 0 for c in found.tested[:-1]] == [True] * (len(flops) - 1)
    assert found.named is not None
    text = sentences.sentence(found)
    assert f"{found.named.difference.low:+.3f}" in text
    for part in ("2 seeds, 3,000 items of 5 benchmarks", "1M params on 1M tokens", "Learning rate not tuned per arm"):
        assert part in text
    assert json.loads(json.dumps(found.as_json()))["reference"]["params"] == M


def test_no_advantage_is_called_none() -> None:
    found = verdict(null=True)
    assert (found.outcome, len(found.tested), found.named) == ("none", 1, None)
    assert sentences.sentence(found).startswith("No synthetic cell beats the reference, 1M params on 1M tokens")


def test_the_sequence_stops_at_the_first_failure() -> None:
    """Cheaper cells that would pass are not tested, and the best of all is not searched for."""
    found = verdict(sd=0.01)
    failed = found.tested[-1]
    assert failed.difference.low <= 0
    cheaper = {(m.params, m.tokens) for m in (c.model for c in found.tested)}
    assert (100_000, M) not in cheaper  # truly .58 against .30, but dearer cells come first


def test_dearer_cells_are_no_candidates() -> None:
    frames = simulated_study.study(sizes=(300_000, M))
    dear = pl.when(pl.col("synthetic_ratio") == 1.0).then(pl.col("train_flops") * 2).otherwise(pl.col("train_flops"))
    (found,) = claims.verdicts(replace(frames, runs=frames.runs.with_columns(dear.alias("train_flops"))))
    assert found.reference is not None
    assert found.candidates == 5
    assert all(c.model.flops <= found.reference.flops for c in found.tested)


def test_one_seed_says_so() -> None:
    assert "1 seed: items only, given this seed" in sentences.sentence(verdict(seeds=(3,)))


def pending(*wanted: tuple[int, int, float]) -> list[tuple[int, int, float, int]]:
    return [(*cell, seed) for cell in wanted for seed in (0, 1)]


@pytest.mark.parametrize(
    ("study", "words"),
    [
        ({"ratios": (0.0,)}, "one level of synthetic_ratio (0)"),
        ({"unfinished": pending((M, M, 0.0))}, "the reference (params 1,000,000, tokens 1,000,000, synthetic_ratio 0) has not finished"),
        ({**ONE_CELL, "unfinished": pending((M, M, 0.0))}, "no run of the web arm (synthetic_ratio 0) has finished"),
        ({**ONE_CELL, "unfinished": pending((M, M, 1.0))}, "no run of the synthetic arm (synthetic_ratio 1) has finished"),
        ({**ONE_CELL, "ratios": (0.0, 1.0), "unfinished": pending((M, M, 0.0), (M, M, 1.0))}, "none of the 4 runs"),
    ],
)
def test_what_is_missing_is_said(study: dict[str, Any], words: str) -> None:
    found = verdict(**study)
    assert found.outcome == "missing"
    assert words in sentences.sentence(found)


def test_an_empty_study_has_a_sentence() -> None:
    study = simulated_study.study()
    empty = Frames("x", *(getattr(study, f.name).clear() for f in fields(study)[1:]))
    assert sentences.sentence(claims.verdicts(empty)[0]) == "No verdict: the study has no runs."


def test_a_running_study_compares_shared_seeds() -> None:
    found = verdict(unfinished=[(M, M, 0.0, 1)])
    assert found.tested[0].difference.seeds == 1
    shown = found.tested[0]
    assert shown.model.score - shown.reference.score == pytest.approx(shown.difference.estimate)
    assert "1 run is not done" in sentences.sentence(found)


LRS = tuple({"train.lr": lr} for lr in (0.001, 0.004, 0.016))


def test_the_learning_rate_is_chosen_by_bits_per_byte_and_must_be_bracketed() -> None:
    frames = simulated_study.study(extra=LRS, sd=0.02)
    (grid,) = cells.grids(frames)
    chosen = {json.loads(f)["train.lr"] for f in cells.best_lr(frames.runs)["factors"]}
    assert (grid.lr_tuned, chosen) == (True, {0.004})
    assert all(len(c.runs) == 2 for c in grid.cells)
    assert not cells.lr_tuned(simulated_study.study(extra=LRS[1:], sd=0.02).runs)
    assert not cells.lr_tuned(simulated_study.study(extra=[{"train.lr": x} for x in (0.004, 0.016, 0.064)], sd=0.02).runs)


def test_other_factors_split_the_verdict() -> None:
    found = claims.verdicts(simulated_study.study(extra=({"data.web.noise.typos": 0.0}, {"data.web.noise.typos": 0.1})))
    assert [v.conditions["data.web.noise.typos"] for v in found] == [0.0, 0.1]
    assert sentences.sentence(found[1]).startswith("At data.web.noise.typos = 0.1: the claim holds")


def test_flags() -> None:
    frames = simulated_study.study()
    assert claims.verdicts(frames)[0].flags == ()
    synthetic = pl.col("source") == "synthetic"
    usage = frames.usage.with_columns(
        pl.when(synthetic).then((pl.col("bytes") * 1.2).cast(pl.Int64)).otherwise("bytes").alias("bytes"),
        pl.when(synthetic).then(3.0).otherwise("epochs").alias("epochs"),
    )
    runs = frames.runs.with_columns(pl.when(pl.col("seed") == 1).then(pl.lit("GPU")).otherwise("device").alias("device"))
    answers = frames.answers.filter((pl.col("benchmark") != "sums") | (pl.col("run") != runs["run"][0]))
    (found,) = claims.verdicts(replace(frames, usage=usage, runs=runs, answers=answers))
    for words, flag in zip(("1.20 times the bytes", "3.0 times as often", "CPU, GPU", "sums"), found.flags, strict=True):
        assert words in flag
    assert found.benchmarks == len(BENCHMARKS) - 1


def test_arms_that_were_not_made_alike_are_flagged() -> None:
    frames = simulated_study.study()
    arm = pl.col("run").is_in(frames.runs.filter(pl.col("synthetic_ratio") == 1)["run"].to_list())
    half = pl.col("run").is_in(frames.runs.filter(pl.col("seed") == 1)["run"].to_list())

    def flags(**new: pl.Expr) -> tuple[str, ...]:
        return claims.verdicts(replace(frames, attempts=frames.attempts.with_columns(**new)))[0].flags

    older = pl.when(arm).then(pl.lit('{"torch": "2.11.0"}')).otherwise("versions")
    found = flags(versions=older, compile=~arm)
    assert found == ("the arms differ in more than their data: compile True against False; torch 2.13.0 against 2.11.0",)
    assert flags(launcher=pl.when(half).then(pl.lit("inline")).otherwise("launcher")) == (), "both arms alike"
    assert flags(optimizer_backend=pl.when(arm).then(pl.lit("apex"))) == (), "not known of one arm"


def test_scores_are_the_stores_mean_score() -> None:
    """mean over benchmarks of (score - chance)/(1 - chance), registers pooled, fresh twins not in it."""
    frames = simulated_study.study(seeds=(0,))
    (grid,) = cells.grids(frames)
    public = frames.scores.filter(~pl.col("fresh")).with_columns(((pl.col("score") - pl.col("chance")) / (1 - pl.col("chance"))).alias("x"))
    means = dict(public.group_by("run").agg(pl.col("x").mean()).iter_rows())
    for cell, scores in zip(grid.cells, grid.answers.scores, strict=True):
        assert scores[0] == pytest.approx(means[cell.runs[0]])


def test_fresh_twins_made_alike_show_no_gap() -> None:
    web, synthetic = verdict().fresh
    assert (web.model.synthetic_ratio, synthetic.model.synthetic_ratio) == (0.0, 1.0)
    assert web.low < 0 < web.high and synthetic.low < 0 < synthetic.high


def test_benchmarks_at_chance_are_listed_by_size_and_arm() -> None:
    table = claims.at_chance(cells.grids(simulated_study.study(sizes=(100_000,), budgets=(250_000,)))[0])
    counts = dict(table.group_by("synthetic_ratio").agg(pl.col("at_chance").sum()).iter_rows())
    assert len(table) == 3 * len(BENCHMARKS)
    assert counts[0.0] == len(BENCHMARKS)


def test_what_is_at_chance_is_said_by_size() -> None:
    columns = ["params", "synthetic_ratio", "benchmark", "at_chance"]
    rows = [(50_000, 0.0, "sums", True), (50_000, 1.0, "sums", True), (50_000, 0.0, "kinds", True), (50_000, 1.0, "kinds", False)]
    table = pl.DataFrame([*rows, (10**6, 0.0, "sums", False), (10**6, 1.0, "sums", False)], schema=columns, orient="row")
    small, large = sentences.at_chance(table, {}).splitlines()
    assert small == "At chance at 0.05M params, at its largest budget: sums in every arm; kinds at synthetic_ratio 0."
    assert large == "At chance at 1M params, at its largest budget: nothing."
    assert "At chance at depth = 2, 0.05M params" in sentences.at_chance(table, {"depth": 2})
    assert sentences.at_chance(table.clear(), {}) == ""


@pytest.mark.parametrize(("value", "text"), [(0.1234, "+0.123"), (-0.0004, "-0.0004"), (0.0, "+0.000")])
def test_a_bound_is_never_rounded_to_zero(value: float, text: str) -> None:
    assert sentences.signed(value) == text


def test_the_claim_with_and_without_what_the_text_cost() -> None:
    free = simulated_study.study(seeds=(0, 1, 2))
    synthetic = pl.col("synthetic_ratio") > 0

    def said(runs: pl.DataFrame) -> str:
        return sentences.sentence(claims.verdicts(replace(free, runs=runs))[0])

    assert "generate" not in said(free.runs), "embedded corpora cost nothing"
    runs = free.runs.with_columns(pl.when(synthetic).then(30.0).otherwise(0.0).alias("data_gpu_hours"))
    assert "took 30 GPU-hours to generate, the reference's 0; training did not run on a GPU" in said(runs)
    runs = runs.with_columns(pl.when(synthetic).then(1.0).otherwise(10.0).alias("gpu_hours"))
    assert "with it the cell took 3.1 times the reference's GPU-hours, without it 0.1 times." in said(runs)
    runs = runs.with_columns(pl.when(synthetic).then(None).otherwise(0.0).alias("data_gpu_hours"))
    assert "What the text cost to generate is not known" in said(runs)
