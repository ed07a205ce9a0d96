"""The condition of a ragged grid: exact, and unable to do anything but compare."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.errors import StudyError
from ablate.study import where

VALUES: dict[str, Any] = {
    "params": 10**6,
    "tokens": 20 * 10**6,
    "synthetic_ratio": Fraction(1, 10),
    "train.lr": "auto",
    "train.clip": 0.3,
    "seed": 1,
}


def holds(text: str) -> bool:
    return where.parse(text, VALUES).holds(VALUES)


@pytest.mark.parametrize(
    "text",
    [
        "params < 1B or seed == 0",
        "params == 1M and tokens == 20x",
        "synthetic_ratio == 0.1",
        "synthetic_ratio == 1/10",
        "1k < params <= 1_000_000",
        "train.lr == 'auto'",
        "train.clip == 0.3",
        "train.clip * 10 == 3",
        "seed in (1, 2)",
        "not seed in [0]",
        "tokens == 20 * params",
        "train.lr != '1M'",
        "true",
        "tokens / params > 1.9e1",
        "params == 1e3k",
        "-params < 0",
    ],
)
def test_true(text: str) -> None:
    assert holds(text)


@pytest.mark.parametrize("text", ["params > 1B", "params < 20x and false", "not params == 1M", "seed not in (1,)", "tokens < 20x"])
def test_false(text: str) -> None:
    assert not holds(text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('x')",
        "params.real < 1",
        "params.__class__ == 1",
        "(lambda: 1)()",
        "[x for x in (1,)]",
        "params ** 9 > 1",
        "f'{params}' == 'a'",
        "(x := 1) == 1",
        "params if seed else tokens",
        "params < 1b",
        "params = 1",
        "",
        "(" * 300,
        "-" * 1999 + "1",
        "params > 1e999",
        "1k" * 2000,
        "params < 0.0001k",
        "params in 3",
        "params is 1",
        "{1: 2}[1]",
        "1 < params <",
    ],
)
def test_refused_before_any_run_is_looked_at(text: str) -> None:
    with pytest.raises(StudyError, match=r"^where: "):
        where.parse(text, VALUES)


@pytest.mark.parametrize("text", ["params", "train.lr < 1", "params / (seed - 1) > 1", "not params", "seed or params", "true + 1 > 0"])
def test_refused_for_the_values_it_meets(text: str) -> None:
    with pytest.raises(StudyError, match=r"^where: "):
        holds(text)


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(StudyError, match=r"unknown factor 'parms'.*nearest: params; valid: params, seed"):
        where.parse("parms < 1M", VALUES)


@given(st.text(alphabet="params<>=!()[]'\". 0123456789xkMB+-*/eandorti", max_size=40))
def test_any_text_is_answered_or_refused_in_words(text: str) -> None:
    try:
        assert holds(text) in (True, False)
    except StudyError as e:
        assert str(e).startswith("where: ")
