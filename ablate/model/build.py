"""A shape → a transformers model with seeded weights."""

from __future__ import annotations

from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def build(model: dict[str, Any], seed: int) -> LlamaForCausalLM:
    """A float32 model on the CPU. Equal shape and seed give equal weights, whatever the arm or the device.

    Matrices are normal with the config's initializer_range, drawn here from one generator, so that the
    weights depend neither on transformers' own initialisation nor on the global generator.
    """
    config = LlamaConfig(
        **{key: value for key, value in model.items() if key != "family"},
        use_cache=False,
        bos_token_id=None,
        eos_token_id=None,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        built = LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, config.initializer_range, generator=generator)
    return built
