"""Seeded weights: the same for every arm, a real transformers model that goes through a folder unchanged."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from ablate.model.build import build
from ablate.model.ladder import shape

MODEL = shape(50_000, vocab_size=512, seq_len=32, tie_word_embeddings=True)


def _weights(model: LlamaForCausalLM) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_the_seed_alone_decides_the_weights() -> None:
    torch.manual_seed(1)
    first = _weights(build(MODEL, seed=0))
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    again, other = _weights(build(MODEL, seed=0)), _weights(build(MODEL, seed=1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(state, torch.random.get_rng_state()), "building must not move the global generator"
    assert first.dtype == torch.float32


def test_initial_weights_are_those_of_the_architecture() -> None:
    model = build(MODEL, seed=0)
    assert torch.all(model.model.norm.weight == 1)
    assert abs(float(model.lm_head.weight.detach().std()) - model.config.initializer_range) < 0.001
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_saved_and_loaded_by_transformers(tmp_path: Path) -> None:
    model = build(MODEL, seed=0).eval()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        assert torch.equal(model(input_ids=tokens).logits, loaded(input_ids=tokens).logits)
