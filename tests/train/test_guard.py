"""The guard lets every healthy curve and every spike that comes back pass, and stops what does not come back."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from numpy.typing import NDArray

from ablate.train.guard import FIRST, Guard

NOISES = {
    "normal": lambda rng, n: rng.normal(0, 1, n),
    "heavy tails": lambda rng, n: rng.standard_t(3, n),
    "odd batches": lambda rng, n: np.where(rng.random(n) < 0.05, rng.exponential(5, n), rng.normal(0, 1, n)),
    "slow waves": lambda rng, n: rng.normal(0, 1, n) + np.convolve(rng.normal(0, 0.3, n), 0.95 ** np.arange(100))[:n],
}


def losses(seed: int, kind: str = "normal", noise: float = 0.3, steps: int = 1500) -> NDArray[np.float64]:
    """A run of the default study: from 5.9 to 1.4 nats, its noise that of four sequences a step."""
    t = np.arange(steps)
    fall = 1.3 + 2.3 * np.exp(-t / 60) + 2.3 * (1 + t / 20) ** -0.5
    return np.asarray(fall + noise * NOISES[kind](np.random.default_rng(seed), steps))


def stopped(curve: NDArray[np.float64]) -> int | None:
    """The step at which the guard stops the run; None if it never does."""
    guard = Guard()
    return next((step for step, loss in enumerate(curve) if guard.see(step, float(loss), 1.0)), None)


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("kind", NOISES)
def test_a_healthy_run_is_never_stopped(kind: str, noise: float) -> None:
    assert [stopped(losses(seed, kind, noise)) for seed in range(20)] == [None] * 20


def test_a_run_that_learns_nothing_is_not_stopped() -> None:
    assert stopped(5.3 + losses(0) * 0 + np.random.default_rng(0).normal(0, 0.3, 1500)) is None


@pytest.mark.parametrize("length", [1, 10, 45])
def test_a_spike_that_comes_back_is_let_pass(length: int) -> None:
    curve = losses(1)
    curve[600 : 600 + length] += 4
    assert stopped(curve) is None


@pytest.mark.parametrize(("onset", "most"), [(200, 50), (500, 50), (1000, 100)])
@pytest.mark.parametrize("slowness", [1, 100])
def test_a_rise_that_stays_is_stopped(onset: int, most: int, slowness: int) -> None:
    curve = losses(2)
    curve[onset:] += (6.5 - curve[onset]) * np.minimum(1, np.arange(1, 1501 - onset) / slowness)
    at = stopped(curve)
    assert at is not None and onset < at <= onset + most + slowness + 5


def test_a_long_run_waits_longer() -> None:
    guard = Guard()
    flat = 2 + np.random.default_rng(0).normal(0, 0.05, 20_000)
    assert all(guard.see(step, float(loss), 1.0) is None for step, loss in enumerate(flat))
    waited = next(n for n in range(10_000) if guard.see(20_000 + n, 6.0, 1.0))
    assert waited == 499


def test_a_few_low_losses_do_not_excuse_it() -> None:
    curve = losses(3, noise=0.1)
    curve[700:] += 4
    curve[700::5] -= 4
    assert stopped(curve) is not None


@pytest.mark.parametrize(("loss", "norm", "words"), [(float("nan"), 1.0, "the loss became nan"), (1.0, float("inf"), "norm became inf")])
def test_what_is_no_number_stops_at_once(loss: float, norm: float, words: str) -> None:
    assert words in str(Guard().see(7, loss, norm)) and "at step 7" in str(Guard().see(7, loss, norm))


def test_its_state_goes_through_json_and_it_goes_on_the_same() -> None:
    curve = losses(4)
    curve[900:] += 4
    whole, parts = Guard(), Guard()
    for step, loss in enumerate(curve[:1000]):
        if step % 7 == 0:
            parts = Guard(**json.loads(json.dumps(asdict(parts))))
        assert whole.see(step, float(loss), 1.0) == parts.see(step, float(loss), 1.0)
        assert whole == parts
    assert whole.seen > FIRST
