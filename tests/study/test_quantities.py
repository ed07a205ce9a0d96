"""Numbers as people write them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.study.quantities import format_count, format_seconds, parse_budget, parse_count, parse_fraction, parse_seconds


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("30M", 30_000_000),
        ("1.3B", 1_300_000_000),
        ("0.1M", 100_000),
        ("250k", 250_000),
        ("1_000_000", 10**6),
        ("2e9", 2 * 10**9),
        (2e9, 2 * 10**9),
        (7, 7),
        (" 7 B ", 7 * 10**9),
        ("0.3T", 3 * 10**11),
    ],
)
def test_counts(text: object, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize(
    "text", ["", "M", "1.5", "0", 0, -3, "-1M", "1e999999999", "1MB", "1m", "0.0001k", True, None, [1], float("nan"), "١"]
)
def test_what_is_no_count(text: object) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse_count(text)


@given(st.integers(1, 999), st.integers(0, 12))
def test_counts_of_three_digits_come_back(digits: int, zeros: int) -> None:
    count = digits * 10**zeros
    assert parse_count(format_count(count)) == count


@given(st.integers(1, 10**15))
def test_formatted_counts_are_near_and_short(count: int) -> None:
    text = format_count(count)
    assert abs(parse_count(text) - count) <= count * 0.005
    assert len(text) <= 7


@pytest.mark.parametrize(
    ("count", "text"), [(250_000, "0.25M"), (100_000, "0.1M"), (12_345, "12.3k"), (100_000_000, "100M"), (999_999_999, "1B")]
)
def test_counts_for_people(count: int, text: str) -> None:
    assert format_count(count) == text


def test_budgets() -> None:
    assert parse_budget("20x") == Fraction(20)
    assert isinstance(parse_budget("2.5x"), Fraction)
    assert parse_budget("1M") == 10**6
    for wrong in ("0x", "x", "-1x", "1/2x", True):
        with pytest.raises(ValueError):
            parse_budget(wrong)


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_shares_come_back_exactly(a: int, b: int) -> None:
    share = Fraction(min(a, b), b)
    assert parse_fraction(str(share)) == share
    assert parse_fraction(share) == share


def test_shares_are_what_is_written_and_not_a_float_near_it() -> None:
    assert parse_fraction(0.1) == Fraction(1, 10)
    assert parse_fraction(1e-05) == Fraction(1, 100_000)
    assert parse_fraction("1/3") == Fraction(1, 3)
    assert parse_fraction(1) == 1


@pytest.mark.parametrize("text", [1.01, "-0.1", "3/2", Fraction(5, 4)])
def test_shares_outside_the_range(text: object) -> None:
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        parse_fraction(text)


@pytest.mark.parametrize("text", ["", "half", "1/0", True, None, "1e-999999999", "50%"])
def test_what_is_no_share(text: object) -> None:
    with pytest.raises(ValueError, match="is not a share"):
        parse_fraction(text)


def test_seconds() -> None:
    assert [parse_seconds(t) for t in ("90s", "2m", "2min", "1.5h", "1d", 30)] == [90, 120, 120, 5400, 86400, 30]
    assert [format_seconds(s) for s in (3725, 75, 8.2, 59.6)] == ["1h 02m", "1m 15s", "8s", "1m 00s"]
    with pytest.raises(ValueError, match=r"1\.5h"):
        parse_seconds("soon")
