"""Effects against arithmetic done by hand, against scipy, and against studies simulated with a known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ablate.report import effects
from ablate.report.effects import Answers, Variance
from tests.report.simulated_study import answers

RESAMPLES = 1000


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_no_false_claims_and_honest_intervals(seeds: int) -> None:
    """Under the null a synthetic cell is called better in at most 5% of studies, and a known difference is covered in about 95%.

    1.96 Monte Carlo standard errors are allowed on top; the nominal rate of a false claim is 2.5% (one side)."""
    rng, studies, margin = np.random.default_rng(20230911), 400, 1.96 * (0.05 * 0.95 / 400) ** 0.5
    false = covered = 0
    for i in range(studies):
        truth = 0.0 if i % 2 else 0.1
        simulated, cell, reference = answers(rng, seeds, gain=truth)
        effect = effects.difference(simulated, cell, reference, RESAMPLES)
        assert effect is not None
        assert effect.method == ("bootstrap" if seeds >= 5 else "blocks")
        false += truth == 0.0 and effect.low > 0
        covered += effect.low <= truth <= effect.high
    assert false / (studies / 2) <= 0.05 + margin * 2**0.5
    assert 0.95 - 1.5 * margin <= covered / studies <= 0.995


def test_smallest_study_is_not_overconfident() -> None:
    """Two arms, one size, two seeds: one degree of freedom for the seeds."""
    rng = np.random.default_rng(4)
    found = [effects.difference(*answers(rng, 2, sizes=1, arms=2)) for _ in range(400)]
    assert sum(e is not None and e.low > 0 for e in found) / 400 <= 0.05


def test_two_cells_with_many_items_give_the_paired_t_test() -> None:
    """With one group a cell, no item variance and equal spread the block analysis is the textbook's."""
    rng = np.random.default_rng(0)
    scores = rng.normal(0.3, 0.1, (2, 4))
    gains = np.repeat(scores[:, :, None], 3, axis=2) * 10
    simulated = Answers((gains,), (np.full(3, 10.0),), np.array([0, 1]), np.array([0, 0]))
    effect = effects.difference(simulated, 0, 1)
    expected = stats.ttest_rel(scores[0], scores[1]).confidence_interval(0.95)
    assert effect is not None
    assert (effect.low, effect.high) == pytest.approx((expected.low, expected.high))


def test_block_variance_by_hand() -> None:
    """y = cell + seed + residual, residuals ±1 in two cells: sum of squares 4, divided by C/G · (G-1)(n-1) = 1."""
    scores = np.array([[1.0, 2.0], [3.0, 8.0]]) + np.array([[0.0], [5.0]])
    assert effects.block_variance(scores, np.array([0, 1])) == Variance(pytest.approx(4.0), 1)


def test_cells_of_one_trunk_add_no_degrees_of_freedom() -> None:
    rng = np.random.default_rng(1)
    trunk = rng.normal(size=(4, 3))
    alone = effects.block_variance(trunk, np.arange(4))
    copied = effects.block_variance(np.repeat(trunk, 5, axis=0), np.repeat(np.arange(4), 5))
    assert alone is not None
    assert copied == Variance(pytest.approx(alone.value), alone.df)


def test_a_missing_run_costs_its_seed_in_that_pair_only() -> None:
    simulated, cell, reference = answers(np.random.default_rng(2), 3)
    holes = tuple(g.copy() for g in simulated.gains)
    for gain in holes:
        gain[reference, 2] = np.nan
    partial = Answers(holes, simulated.items, simulated.groups, simulated.budgets)
    effect, other = effects.difference(partial, cell, reference), effects.difference(partial, cell, cell - 1)
    assert effect is not None and other is not None
    assert (effect.seeds, other.seeds) == (2, 3)
    assert effect.estimate == pytest.approx((simulated.scores[cell] - simulated.scores[reference])[:2].mean())
    for gain in holes:
        gain[reference] = np.nan
    assert effects.difference(Answers(holes, simulated.items, simulated.groups, simulated.budgets), cell, reference) is None


def test_item_variance_clusters() -> None:
    """Items that agree within their template count once: as much variance as one item a template."""
    rng = np.random.default_rng(3)
    gains = rng.normal(size=40)
    single = effects.item_variance(gains, np.ones(40))
    assert single.value == pytest.approx(gains.var(ddof=1) / 40)
    assert effects.item_variance(gains * 25, np.full(40, 25.0)) == Variance(pytest.approx(single.value), single.df)


def test_one_seed_speaks_of_items_only() -> None:
    simulated, cell, reference = answers(np.random.default_rng(5), 1)
    effect = effects.difference(simulated, cell, reference)
    assert effect is not None
    assert (effect.method, effect.seeds) == ("items", 1)


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_the_best_of_several_is_harder_to_beat(seeds: int) -> None:
    simulated, cell, reference = answers(np.random.default_rng(6), seeds)
    best = effects.best_difference(simulated, cell, [reference, reference - 9, reference - 1])
    one, plain = effects.best_difference(simulated, cell, [reference]), effects.difference(simulated, cell, reference)
    assert best is not None and one is not None and plain is not None
    assert best.estimate <= one.estimate == pytest.approx(plain.estimate)
    assert best.low <= one.low
    assert (one.low, one.high) == pytest.approx((plain.low, plain.high), abs=0.02)


def test_intervals_are_the_same_every_time() -> None:
    simulated, cell, reference = answers(np.random.default_rng(7), 5)
    assert effects.difference(simulated, cell, reference) == effects.difference(simulated, cell, reference)


def test_smallest_detectable_difference() -> None:
    """Against the known two-seed answer and by simulation of the t test it stands for."""
    smallest = effects.smallest_detectable_difference(groups=9, seeds=2, seed_sd=0.08)
    rng = np.random.default_rng(8)
    spread = 0.08 * np.sqrt(rng.chisquare(8, 20_000) / 8)
    t = rng.normal(smallest, 0.08 / 2**0.5, 20_000) / (spread / 2**0.5)
    assert np.mean(t > stats.t.ppf(0.975, 8)) == pytest.approx(0.8, abs=0.01)
    assert effects.smallest_detectable_difference(9, 4, 0.08) < smallest < effects.smallest_detectable_difference(2, 2, 0.08)
    assert effects.smallest_detectable_difference(9, 1, 0.08, item_se=0.01) == pytest.approx(0.028, abs=0.001)
