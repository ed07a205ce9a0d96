"""A small shape of every family that a preset has, for tests. Not a test."""

from __future__ import annotations

from typing import Any

from ablate.model import presets

_SMALL = {
    "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64, "n_inner": 64, "ffn_dim": 64,
    "word_embed_proj_dim": 32, "rotary_dim": 4, "max_position_embeddings": 64, "max_seq_len": 64, "window_size": 8,
}  # fmt: skip
_EXAMPLES = (
    "llama-7b",
    "phi-1.5",
    "tinystories-1m",
    "falcon-rw-1b",
    "falcon-7b",
    "gpt2",
    "starcoder",
    "codegen-350m-mono",
    "opt-1.3b",
    "mpt-7b",
)


def small(name: str, vocab_size: int = 320) -> dict[str, Any]:
    """The preset's architecture, two layers deep and 32 wide."""
    values = presets.preset(name).values
    shrunk = {key: _SMALL.get(key, value) for key, value in values.items()}
    depth = {"num_hidden_layers": 2, **({"attention_types": [[["global", "local"], 1]]} if "attention_types" in values else {})}
    return {"family": presets.preset(name).family, **shrunk, **depth, "vocab_size": vocab_size}


EVERY = {name: small(name) for name in _EXAMPLES}
