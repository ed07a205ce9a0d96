"""The published law against its published values."""

from __future__ import annotations

import pytest

from ablate.data.repetition import loss, worth


def test_the_authors_own_values() -> None:
    """datablations' README prints these two for 25B unique tokens."""
    assert loss(6.34e9, 242e9, 25e9) == pytest.approx(2.2256440889984477, abs=1e-6)
    assert loss(8.67e9, 178e9, 25e9) == pytest.approx(2.2269634075087867, abs=1e-6)


def test_the_authors_optimum() -> None:
    """1e22 FLOP on 25B unique tokens are spent best on 2.3734e11 tokens (9.49 passes); on a grid of steps of 0.1%, so within 0.2%."""
    best = min((2e11 * 1.001**k for k in range(400)), key=lambda tokens: loss(1e22 / 6 / tokens, tokens, 25e9))
    assert best == pytest.approx(2.3734e11, rel=0.002)


@pytest.mark.parametrize(
    ("epochs", "value"), [(0, 1), (0.3, 1), (1, 1), (2, 0.984), (3, 0.96), (4, 0.931), (5, 0.904), (8, 0.83), (13.8, 0.70)]
)
def test_worth(epochs: float, value: float) -> None:
    assert worth(epochs) == pytest.approx(value, abs=0.005)


def test_repeating_never_helps_more_than_new_text() -> None:
    assert [loss(1e9, 1e10, unique) for unique in (1e10, 5e9, 1e9)] == sorted(loss(1e9, 1e10, unique) for unique in (1e10, 5e9, 1e9))
    assert all(worth(n + 1) * (n + 1) > worth(n) * n for n in range(1, 60)), "every further pass adds something"
