"""The plain way to score: every continuation a sequence of its own, as lm-eval reads it, and all its logits. Not a test."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast


def ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def read(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    context: str,
    continuation: str,
    max_tokens: int = 64,
    prefix: tuple[int, ...] | None = None,
) -> tuple[float, bool]:
    """Log-probability of the continuation, and whether each of its tokens is the likeliest."""
    blanks = len(context) - len(context.rstrip())
    if blanks:
        context, continuation = context[:-blanks], context[-blanks:] + continuation
    before = ids(tokenizer, context)
    scored = ids(tokenizer, context + continuation)[len(before) :]
    first = [tokenizer.eos_token_id] if prefix is None or not (prefix or before) else list(prefix)
    tokens = torch.tensor([first + before + scored])[:, -(max_tokens + 1) :]
    with torch.no_grad():
        logprobs = model(tokens[:, :-1]).logits.double().log_softmax(-1)[0, -len(scored) :]
    wanted = torch.tensor(scored)
    return float(logprobs[torch.arange(len(scored)), wanted].sum()), bool((logprobs.argmax(-1) == wanted).all())
