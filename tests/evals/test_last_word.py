"""The last word of a passage against one sequence a passage."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ablate.evals.items import Benchmark, Prompt
from ablate.evals.last_word import score
from ablate.evals.requests import requests
from tests.evals.plain import ids, read

CPU = torch.device("cpu")
TOLERANCE = 1e-4


def greedy_word(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, context: str) -> str | None:
    """The text of the likeliest next token; None where it would merge with the context."""
    before = ids(tokenizer, context)
    with torch.no_grad():
        token = int(model(torch.tensor([[tokenizer.eos_token_id, *before]])).logits[0, -1].argmax())
    word = tokenizer.decode([token])
    return word if ids(tokenizer, context + word) == [*before, token] else None


def passages(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> list[Prompt]:
    begun = [f"Ada has {number} {what}" for number in ("three", "two", "five", "one") for what in ("red", "green", "dark", "lamps and")]
    right = [Prompt(context, word, "right") for context in begun if (word := greedy_word(model, tokenizer, context))]
    return [*right, *(Prompt(context, " owl gardens", "wrong") for context in begun)]


def test_words_are_right_where_they_are_the_greedy_ones(tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM) -> None:
    prompts = passages(model, tokenizer)
    benchmark = Benchmark("lambada", "language", "published", False, None, "0" * 16, tuple(prompts), kind="last_word")
    answered = score(model, requests(benchmark, tokenizer, 64), CPU)
    expected = [read(model, tokenizer, prompt.context, prompt.reference) for prompt in prompts]
    logprobs = [logprob for logprob, _ in expected]
    assert {greedy for _, greedy in expected} == {True, False}
    assert answered.answers["correct"] == [int(greedy) for _, greedy in expected]
    np.testing.assert_allclose(answered.answers["logprob"], logprobs, atol=TOLERANCE)
    assert answered.score == np.mean(answered.answers["correct"])
    assert answered.details["perplexity"] == pytest.approx(math.exp(-np.mean(logprobs)), rel=TOLERANCE)
    size = sum(len(prompt.reference.encode()) for prompt in prompts)
    assert answered.bits_per_byte == pytest.approx(-sum(logprobs) / math.log(2) / size, rel=TOLERANCE)
    assert (answered.metric, answered.acc_norm, answered.answers["choice"][0]) == ("acc", None, None)
