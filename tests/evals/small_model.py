"""A small model whose weights are random but large, so that what a token sees matters; and a text for a small tokenizer."""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM

TEXT = """The owl sees the garden at night. The owls see the garden. Ada has three red lamps and Ben has two green lamps.
Ben gave the lamp to Ada because it was dark. How many lamps are there? There are five lamps, said the owl."""


def build(attention: str, seed: int = 0, context: int = 64) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=context,
        initializer_range=0.3,
        attn_implementation=attention,
    )
    return LlamaForCausalLM(config).eval()
