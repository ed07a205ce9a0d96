"""The published rules at the sizes their authors print, and the schedule's ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.train import schedule


def test_the_rules_at_their_anchor() -> None:
    assert schedule.learning_rate(108_000_000) == pytest.approx(0.00235)
    assert schedule.batch_tokens(108_000_000, seq_len=2048) == 160 * 2048
    assert schedule.learning_rate(108_000_000 * 8) == pytest.approx(0.00235 / 2)
    assert schedule.batch_tokens(108_000_000 * 8, seq_len=2048) == 4 * 160 * 2048
    assert schedule.warmup_steps(1_000_000, batch_tokens=512) == 1954


@given(st.integers(50_000, 7_000_000_000), st.sampled_from([16, 128, 2048, 1_048_576]))
def test_a_batch_is_whole_sequences(params: int, seq_len: int) -> None:
    tokens = schedule.batch_tokens(params, seq_len)
    assert tokens >= seq_len and tokens % seq_len == 0


@given(st.integers(1, 10**7), st.fractions(0, 1).filter(lambda f: f > 0))
def test_a_fork_leaves_at_least_the_decay(steps: int, decay: object) -> None:
    fork = schedule.fork_of(steps, str(decay))
    assert 0 <= fork < steps and steps - fork - 1 < steps * decay <= steps - fork  # type: ignore[operator]


def test_decay_is_read_as_written() -> None:
    assert schedule.fork_of(10, 0.1) == schedule.fork_of(10, "1/10") == 9  # 10 * (1 - 0.1 as a float) is above 9 by rounding alone
    assert schedule.fork_of(488, 0.2) == 390
    assert schedule.steps_of(250_000, 512) == 488


def test_warm_up_then_constant_then_down() -> None:
    trunk = [schedule.trunk_scale(step, warmup_steps=4) for step in range(8)]
    assert trunk == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1])
    assert schedule.trunk_scale(0, warmup_steps=0) == 1
    wsd = {"schedule": "wsd", "decay": 0.5, "warmup_steps": 0}
    branch = [schedule.branch_scale(wsd, step, steps=8) for step in range(8)]
    assert branch == pytest.approx([1, 1, 1, 1, 1, 0.5, 1 - 0.5**0.5, 1 - 0.75**0.5])


def test_cosine_and_linear_go_from_the_warm_up_to_their_end() -> None:
    whole = {"warmup_steps": 2, "min_lr": 0.1}
    cosine = [schedule.branch_scale({**whole, "schedule": "cosine"}, step, steps=10) for step in (0, 2, 4, 6, 8, 10)]
    assert cosine == pytest.approx([1, 1, 0.1 + 0.9 * (2 + 2**0.5) / 4, 0.55, 0.1 + 0.9 * (2 - 2**0.5) / 4, 0.1])
    linear = [schedule.branch_scale({**whole, "schedule": "linear"}, step, steps=10) for step in (0, 2, 6, 10)]
    assert linear == pytest.approx([1, 1, 0.55, 0.1])
    assert schedule.branch_scale({"schedule": "constant"}, 9, steps=10) == 1
    assert schedule.fork_of(10, schedule.DECAY["cosine"]) == 0, "their trunk has no step"
