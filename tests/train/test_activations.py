"""Activation checkpointing: the same numbers from less memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ablate.model.build import build
from ablate.model.gpus import GPUS
from ablate.model.memory import needs_checkpointing
from ablate.train.forward import Forward
from tests.model.test_memory import BF16, LLAMA_2_7B
from tests.train.family import batch, recipe

SHAPES: dict[str, dict[str, Any]] = {
    "llama": {**recipe()["model"], "num_hidden_layers": 4},
    "gpt2": {"family": "gpt2", "vocab_size": 96, "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2},
}


def _pass(shape: dict[str, Any], bfloat16: bool, checkpointing: bool) -> tuple[float, torch.Tensor, int]:
    """(loss, gradient, bytes kept between the forward and the backward pass)"""
    model = build(shape, 0).eval() if shape["family"] == "gpt2" else build(shape, 0)  # eval: it has dropout
    forward = Forward(model, 16, bfloat16, compile=False, checkpointing=checkpointing)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(saved: torch.Tensor) -> torch.Tensor:
        storage = saved.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        loss = forward(torch.from_numpy(batch(0, 8)))
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]), sum(kept.values())


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("family", SHAPES)
def test_the_same_gradients_from_less_memory(family: str, bfloat16: bool) -> None:
    loss, gradient, kept = _pass(SHAPES[family], bfloat16, checkpointing=False)
    again, gradient_again, kept_again = _pass(SHAPES[family], bfloat16, checkpointing=True)
    assert again == loss and torch.equal(gradient_again, gradient), "the same operations once more: the same bits"
    assert kept_again < kept / 2


def test_auto_is_on_where_one_sequence_does_not_fit() -> None:
    room = GPUS["A100-40GB"].bytes
    assert needs_checkpointing(LLAMA_2_7B, BF16, 4096, 4, room)
    assert not needs_checkpointing(LLAMA_2_7B, BF16, 4096, 8, room)
