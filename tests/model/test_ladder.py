"""A parameter count becomes a sensible shape, and the closed forms agree with what transformers builds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from ablate.errors import StudyError
from ablate.model import ladder

ASKED = [50_000, 100_000, 300_000, 1_000_000, 10_000_000, 100_000_000, 1_300_000_000, 7_000_000_000]


def _on_meta(model: dict[str, object]) -> LlamaForCausalLM:
    with torch.device("meta"):
        return LlamaForCausalLM(LlamaConfig(**{key: value for key, value in model.items() if key != "family"}))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("asked", ASKED)
def test_counts_agree_with_transformers(asked: int, tied: bool) -> None:
    model = ladder.shape(asked, vocab_size=1024, seq_len=128, tie_word_embeddings=tied)
    real = _on_meta(model)
    total = sum(p.numel() for p in real.parameters())
    outside = model["vocab_size"] * model["hidden_size"] * (1 if tied else 2)
    assert ladder.count(model) == ladder.Counts(total - outside, total)
    assert abs(total - outside - asked) <= 0.03 * asked


@settings(deadline=None)
@given(st.integers(ladder.SMALLEST, ladder.LARGEST) | st.floats(0, 1).map(lambda x: int(5e4 * 1.4e5**x)))
def test_any_count_becomes_a_sensible_shape(asked: int) -> None:
    model = ladder.shape(asked, vocab_size=1024, seq_len=128, tie_word_embeddings=True)
    width, head = model["hidden_size"], model["hidden_size"] // model["num_attention_heads"]
    assert abs(ladder.count(model).non_embedding - asked) <= 0.03 * asked
    assert width % 32 == 0 and width % model["num_attention_heads"] == 0 and 32 <= head <= 128
    assert 1 <= model["intermediate_size"] / width <= 5 and model["intermediate_size"] % 8 == 0
    assert 12 <= width / model["num_hidden_layers"] <= 150


def test_the_shapes_of_the_trial_are_kept() -> None:
    shapes = {asked: ladder.shape(asked, 1024, 128, True) for asked in (50_000, 100_000, 300_000, 1_000_000)}
    assert {k: (s["hidden_size"], s["num_hidden_layers"]) for k, s in shapes.items()} == {
        50_000: (64, 1),
        100_000: (64, 2),
        300_000: (128, 2),
        1_000_000: (128, 5),
    }


@pytest.mark.parametrize("asked", [49_999, 7_000_000_001])
def test_outside_the_ladder_is_refused(asked: int) -> None:
    with pytest.raises(StudyError, match="outside what the ladder covers"):
        ladder.shape(asked, 1024, 128, True)


def test_flops_by_hand() -> None:
    """GPT-3-like check: one layer of width 64, so each term can be worked out on paper."""
    model = ladder.shape(50_000, vocab_size=1000, seq_len=128, tie_word_embeddings=True)
    n = 4 * 64 * 64 + 3 * 64 * 176 + 2 * 64 + 64
    assert ladder.flops_per_token(model, seq_len=128) == 6 * n + 12 * 1 * 64 * 128 + 6 * 1000 * 64
