"""A parameter count → the shape of a Llama, and the sums that follow from any shape."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from ablate.errors import StudyError
from ablate.model import build
from ablate.model.build import Counts as Counts

_RUNG = {
    "family", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "tie_word_embeddings", "max_position_embeddings",
}  # fmt: skip
SMALLEST, LARGEST = 50_000, 7_000_000_000
TOLERANCE = 0.03  # of the asked count


def shape(params: int, vocab_size: int, seq_len: int, tie_word_embeddings: bool) -> dict[str, Any]:
    """The Hugging Face config values of a Llama with `params` non-embedding parameters, within 3%.

    Among widths in steps of 64 it takes the one whose depth and feed-forward size lie nearest to what is
    usual: a width of 40 layers' worth at 1M parameters and below, rising to 126 at 7B (Llama-2-7B: 128),
    and a feed-forward of 8/3 widths (Shazeer 2020, 2002.05202), which then takes up the remainder.
    Raises StudyError outside 50k to 7B.
    """
    if not SMALLEST <= params <= LARGEST:
        raise StudyError(f"params: {params:,} is outside what the ladder covers, {SMALLEST:,} to {LARGEST:,} non-embedding parameters")
    width, depth, inner = _best(params)
    heads = width // _head_size(width)
    return {
        "family": "llama",
        "vocab_size": vocab_size,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "tie_word_embeddings": tie_word_embeddings,
        "max_position_embeddings": seq_len,
    }


def count(model: dict[str, Any]) -> Counts:
    """Exact parameter counts of a shape.

    The ladder's own follow from a closed form (no biases; two norms a layer and one at the end); any other shape is built on
    the meta device, which takes a second or two the first time, while transformers loads its code.
    """
    if not _is_rung(model):
        return build.count(model)
    embedding = model["vocab_size"] * model["hidden_size"]
    non_embedding = _non_embedding(model["hidden_size"], model["num_hidden_layers"], model["intermediate_size"])
    return Counts(non_embedding, non_embedding + embedding * (1 if model["tie_word_embeddings"] else 2))


def flops_per_token(model: dict[str, Any], seq_len: int) -> int:
    """Training FLOPs (forward and backward) a token: 6 N + 12 layers · width · seq_len + 6 vocabulary · width.

    N is the non-embedding count; the second term is attention's scores and values over the full square, as
    in PaLM (Chowdhery et al. 2022, 2204.02311, appendix B), whatever the mask or the number of key heads; the third is
    the output head. Looking up an embedding costs nothing; recomputed activations are not counted.
    """
    width = int(model["hidden_size"])
    attention = 12 * model["num_hidden_layers"] * width * seq_len
    return 6 * count(model).non_embedding + int(attention) + 6 * int(model["vocab_size"]) * width


def _is_rung(model: dict[str, Any]) -> bool:
    """Whether the shape is one that `shape` makes: a Llama with nothing said beyond that, and as many key as query heads."""
    return model.keys() == _RUNG and model["family"] == "llama" and model["num_key_value_heads"] == model["num_attention_heads"]


def _non_embedding(width: int, depth: int, inner: int) -> int:
    return depth * (4 * width * width + 3 * width * inner + 2 * width) + width


@cache
def _best(params: int) -> tuple[int, int, int]:
    return min(_candidates(params), key=lambda c: (_oddity(params, *c), c))


def _candidates(params: int) -> list[tuple[int, int, int]]:
    """Every (width, depth, inner) within the tolerance whose feed-forward is 1 to 5 widths."""
    found = []
    for width in range(64, 8192 + 1, 64):
        if width % _head_size(width):
            continue
        for depth in range(1, 97):
            inner = 8 * round(((params - width) / depth - 4 * width * width - 2 * width) / (3 * width * 8))
            near = abs(_non_embedding(width, depth, inner) - params) <= TOLERANCE * params
            if width <= inner <= 5 * width and near:
                found.append((width, depth, inner))
    return found


def _oddity(params: int, width: int, depth: int, inner: int) -> float:
    """How far a shape lies from the usual one, in nats of both ratios."""
    usual_aspect = 40 * max(1.0, params / 1e6) ** 0.13
    return abs(math.log(width / depth / usual_aspect)) + abs(math.log(inner / (width * 8 / 3)))


def _head_size(width: int) -> int:
    return 32 if width < 256 else 64 if width < 2048 else 128
