"""Cells, digests, families: what is added to a study leaves everything else as it was."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.errors import StudyError
from ablate.study.grid import Point, Run, digest, families, points
from ablate.study.load import with_values
from ablate.study.spec import Study

BOTH = {"synthetic": "builtin:textbook", "web": "builtin:web"}
GRID = {"params": ["0.1M", "1M"], "tokens": ["20x", "4M"], "synthetic_ratio": [0, 0.5, 1]}


def study(grid: dict[str, Any] | None = None, **rest: Any) -> Study:
    return Study.model_validate({"name": "s", "grid": GRID if grid is None else grid, "data": BOTH, **rest})


def as_run(study: Study, point: Point) -> Run:
    """A recipe of everything that a point says, made without a look at the rest of the study."""
    named = {k: v for k, v in point.factors.items() if "." in k}
    fixed = with_values(study, named).model_dump(mode="json", include={"data", "model", "train"})
    recipe = {k: str(v) if isinstance(v, Fraction) else v for k, v in point.factors.items() if "." not in k}
    return Run(factors={}, seed=point.seed, recipe=recipe | fixed | {"seed": point.seed}, data=study.data)


def runs(study: Study) -> list[Run]:
    return [as_run(study, point) for point in points(study)]


def digests(study: Study) -> set[str]:
    return {run.digest for run in runs(study)}


def refused(*args: Any, **rest: Any) -> str:
    with pytest.raises(StudyError) as caught:
        points(study(*args, **rest))
    return str(caught.value)


def test_a_grid_is_the_product_of_its_levels_and_seeds_in_their_order() -> None:
    found = points(study(seeds=[3, 0]))
    assert len(found) == 2 * 2 * 3 * 2
    assert found[0] == Point({"params": 100_000, "tokens": 2_000_000, "synthetic_ratio": Fraction(0)}, 3)
    assert found[1].seed == 0
    assert found[2].factors["synthetic_ratio"] == Fraction(1, 2)
    assert [list(point.factors) for point in found] == [list(GRID)] * 24
    assert {point.factors["tokens"] for point in found if point.factors["params"] == 10**6} == {20_000_000, 4_000_000}


counts = st.lists(st.integers(1, 10**9), min_size=1, max_size=3, unique=True)
shares = st.lists(st.fractions(0, 1, max_denominator=20), min_size=1, max_size=3, unique=True)
rates = st.lists(st.floats(1e-6, 1, allow_nan=False), min_size=1, max_size=2, unique=True)
seeds = st.lists(st.integers(0, 99), min_size=1, max_size=2, unique=True)
grids = st.fixed_dictionaries(
    {"params": counts, "tokens": counts, "synthetic_ratio": shares.map(lambda found: [str(share) for share in found]), "train.lr": rates}
)


@settings(max_examples=40, deadline=None)
@given(grids, seeds, st.data())
def test_adding_a_level_a_seed_or_a_benchmark_changes_no_digest(grid: dict[str, list[Any]], seeds: list[int], data: st.DataObject) -> None:
    factor = data.draw(st.sampled_from(list(grid)))
    kept = len(grid[factor]) - 1 or 1
    more, fewer = study(grid, seeds=seeds), study(grid | {factor: grid[factor][:kept]}, seeds=seeds[:1])
    renamed = study(grid, seeds=seeds, name="other", evaluate={"benchmarks": ["builtin:all", "builtin:more"]}, launch={"slots": 1})
    assert digests(fewer) <= digests(more) == digests(renamed)
    assert len(digests(more)) == len(points(more))


@settings(max_examples=40, deadline=None)
@given(grids, seeds)
def test_families_hold_every_run_once_in_order_of_tokens(grid: dict[str, list[Any]], seeds: list[int]) -> None:
    all_runs = runs(study(grid, seeds=seeds))
    found = families([*all_runs, *all_runs[:2]])
    assert sorted(run.digest for family in found for run in family.runs) == sorted(run.digest for run in all_runs)
    assert len(found) == len(all_runs) / len(grid["tokens"])
    for family in found:
        assert [run.tokens for run in family.runs] == sorted(grid["tokens"])
        assert {run.family for run in family.runs} == {family.digest}
        assert len({json.dumps(run.recipe | {"tokens": 0}, sort_keys=True) for run in family.runs}) == 1


def test_a_digest_knows_values_and_not_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [1.5, None]}) == digest({"b": [1.5, None], "a": 1}) == "993a7a2ceb877d40"
    assert digest({"a": 1}) != digest({"a": 1.0})
    for number in (float("nan"), float("inf")):
        with pytest.raises(ValueError):
            digest({"a": number})


def test_where_keeps_what_it_says() -> None:
    found = points(study(where="params < 1M or seed == 0", seeds=[0, 1]))
    assert len(found) == 6 * 2 + 6
    assert all(point.factors["params"] < 10**6 or point.seed == 0 for point in found)
    assert "keeps no run" in refused(where="params > 1B")
    assert "unknown factor 'train.lr'" in refused(where="train.lr > 1")
    assert {p.factors["train.lr"] for p in points(study(GRID | {"train.lr": [0.1, 0.01]}, where="train.lr == 0.1"))} == {0.1}


def test_cells_are_added_to_the_grid() -> None:
    cell = {"tokens": "7M", "params": "1M", "synthetic_ratio": "1/3", "train.lr": 0.01}
    found = points(study(cells=[cell]))
    assert len(found) == 13
    assert found[-1].factors == {"params": 10**6, "tokens": 7 * 10**6, "synthetic_ratio": Fraction(1, 3), "train.lr": 0.01}
    assert {point.factors["train.lr"] for point in found[:-1]} == {"auto"}
    assert len(points(study({}, cells=[cell]))) == 1
    assert "is there twice" in refused(cells=[{"params": "1M", "tokens": "4M", "synthetic_ratio": 1}])
    assert "cells entry 2, tokens is missing" in refused(cells=[cell, {"params": "1M"}])


@pytest.mark.parametrize(
    ("factor", "levels"),
    [
        ("params", ["1M", 1_000_000]),
        ("synthetic_ratio", [0.5, "1/2"]),
        ("tokens", ["1e6", "1000k"]),
        ("train.lr", [0.001, 1e-3]),
        ("train.batch_tokens", ["1k", 1000]),
        ("data.web", ["builtin:web", {"builtin": "web", "seed": 0}]),
    ],
)
def test_levels_that_mean_the_same_are_refused(factor: str, levels: list[Any]) -> None:
    sentence = refused(GRID | {factor: levels})
    assert "keep one" in sentence
    assert factor in sentence


def test_a_budget_in_tokens_a_parameter_may_meet_a_plain_one() -> None:
    assert "tokens: '20x' and '2M' are the same level" in refused(GRID | {"tokens": ["20x", "2M"]})
    assert "not a whole number" in refused({"params": [3], "tokens": ["0.5x"], "synthetic_ratio": [0]})


def test_levels_are_the_fields_values_in_one_form() -> None:
    web = {"builtin": "web", "noise": {"typos": 0.0}}
    found = points(study(GRID | {"data.web": [{"builtin": "web"}, web], "train.batch_tokens": ["1k", "auto"]}))
    assert [point.factors["data.web"] for point in found[::2][:2]] == ["builtin:web", {"builtin": "web", "noise": {"typos": 0.0}}]
    assert {point.factors["train.batch_tokens"] for point in found} == {1000, "auto"}
    for point in found:
        with_values(study(), {k: v for k, v in point.factors.items() if "." in k})


def test_the_ratio_follows_from_the_sources_where_only_one_is_there() -> None:
    plain = {"params": ["1M"], "tokens": ["1M"]}
    for role, ratio in (("synthetic", 1), ("web", 0)):
        assert points(study(plain, data={role: "builtin:web"}))[0].factors["synthetic_ratio"] == ratio
    assert "synthetic_ratio is missing" in refused(plain)
    assert "needs data.synthetic" in refused(plain | {"synthetic_ratio": [0.5]}, data={"web": "builtin:web"})
    assert "needs data.web" in refused(plain | {"synthetic_ratio": [0.5]}, data={"synthetic": "builtin:web"})


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({}, "grid is empty"),
        ({"params": ["1M"]}, "grid.tokens is missing"),
        (GRID | {"tokens": []}, "grid.tokens has no levels"),
        (GRID | {"synthetic_ratio": [1.5]}, r"synthetic_ratio: 1.5 is outside [0, 1]"),
        (GRID | {"params": ["1Q"]}, "grid.params: '1Q' is not"),
        (GRID | {"train.lr": [0.1, 5]}, "train.lr: expected auto or a number of at most 1, found 5"),
        (GRID | {"trian.lr": [1]}, "'trian.lr' is no factor; nearest: train.lr; valid: params, tokens, synthetic_ratio, data.{"),
        (GRID | {"launch.slots": [1]}, "'launch.slots' cannot be a factor"),
        (GRID | {"params": list(range(1, 50_001))}, "300,000 cells"),
    ],
)
def test_a_grid_that_cannot_be_run_is_refused(grid: dict[str, Any], words: str) -> None:
    assert words in refused(grid)


def test_a_seed_given_twice_is_refused() -> None:
    assert "one seed twice" in refused(seeds=[1, 1])
