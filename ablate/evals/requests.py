"""A benchmark made ready for one tokenizer: everything whose log-probability is asked, as tokens, in batches.

The rule is lm-eval's (EleutherAI's lm-evaluation-harness, `_encode_pair` and `_loglikelihood_tokens`), so that numbers agree:

- Blanks that end a context are moved to the continuation.
- The context is tokenised, and so is context and continuation together; what the latter has beyond the length of the former is scored.
- A model that sees `max_tokens` at once is given the last `max_tokens` before the last scored token: contexts lose tokens at the left,
  each choice's by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from ablate.data.tokenizer import end_of_text
from ablate.errors import DataError
from ablate.evals.items import Benchmark, Item, Prompt
from ablate.evals.trees import Asked, Batch, in_trees, one_a_row


@dataclass(frozen=True)
class Requests:
    """What a model is asked for one benchmark; serves every model that uses the tokenizer.

    A continuation is a choice of an item, or what is right after a prompt.
    """

    benchmark: Benchmark
    batches: tuple[Batch, ...]
    first_choice: NDArray[np.int64]
    """[items + 1]: where each item's continuations begin among all of them."""
    choice_bytes: NDArray[np.int64]
    """[continuations]: length in UTF-8, the leading space included."""
    choice_characters: NDArray[np.int64]
    """[continuations]: length in characters without the delimiter, which is one leading space (at least 1)."""
    truncated: int
    """Items that lost tokens at the left."""
    max_tokens: int
    shared: bool
    """Whether sequences share prefixes; else each is a row of its own."""


def encode(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, without special tokens."""
    if not texts:
        return []
    encoded = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
    return list(encoded["input_ids"])


def requests(
    benchmark: Benchmark,
    tokenizer: PreTrainedTokenizerFast,
    max_tokens: int,
    shared: bool = True,
    prefix: tuple[int, ...] | None = None,
) -> Requests:
    """Tokenise a benchmark once for all models that see at most `max_tokens` tokens; `shared` for those that read trees.

    `prefix` comes before every context: <|endoftext|> where it is not given, as before every document our own models train on; for a
    published model what its tokenizer adds by itself, which may be nothing (an empty context is then its beginning of text, or, where
    it has none, its end of text).

    DataError for a continuation that has more than `max_tokens` tokens, or none that its context has not.
    """
    pairs = [pair for item in benchmark.items for pair in _pairs(item)]
    first_choice = np.cumsum([0, *(len(_pairs(item)) for item in benchmark.items)]).astype(np.int64)
    asked, cut = _asked(benchmark, pairs, tokenizer, max_tokens, prefix)
    return Requests(
        benchmark=benchmark,
        batches=tuple(in_trees(asked, first_choice) if shared else one_a_row(asked)),
        first_choice=first_choice,
        choice_bytes=np.array([len(continuation.encode()) for _, continuation in pairs], dtype=np.int64),
        choice_characters=np.array([max(1, len(continuation.removeprefix(" "))) for _, continuation in pairs], dtype=np.int64),
        truncated=sum(any(cut[a:b]) for a, b in pairwise(first_choice.tolist())),
        max_tokens=max_tokens,
        shared=shared,
    )


def _pairs(item: Item | Prompt) -> list[tuple[str, str]]:
    """(context, continuation) of everything whose log-probability is asked."""
    if isinstance(item, Prompt):
        return [(item.context, item.reference)]
    return [(item.context_of(i), choice) for i, choice in enumerate(item.choices)]


def _asked(
    benchmark: Benchmark,
    pairs: Sequence[tuple[str, str]],
    tokenizer: PreTrainedTokenizerFast,
    max_tokens: int,
    prefix: tuple[int, ...] | None,
) -> tuple[list[Asked], list[bool]]:
    """Of every continuation its tokens from the left, the index of the first that is scored; and whether it was cut."""
    contexts = [context.rstrip() for context, _ in pairs]
    different = {context: i for i, context in enumerate(dict.fromkeys(contexts))}
    context_ids = encode(tokenizer, list(different))
    first = (end_of_text(tokenizer),) if prefix is None else prefix
    alone = first or (beginning(tokenizer),)
    found: list[Asked] = []
    cut: list[bool] = []
    for i, whole in enumerate(encode(tokenizer, [context + continuation for context, continuation in pairs])):
        context = context_ids[different[contexts[i]]]
        scored = whole[len(context) :]
        tokens = [*(first if context else alone), *context, *scored]
        excess = max(0, len(tokens) - 1 - max_tokens)  # the last token is only predicted
        if not 0 < len(scored) <= max_tokens:
            raise DataError(_unscorable(benchmark, i, pairs[i][1], len(scored), max_tokens))
        found.append(Asked(tokens[excess:], len(tokens) - len(scored) - excess))
        cut.append(excess > 0)
    return found, cut


def beginning(tokenizer: PreTrainedTokenizerFast) -> int:
    """What stands for an empty context: lm-eval's prefix token."""
    return int(tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id)


def _unscorable(benchmark: Benchmark, number: int, continuation: str, tokens: int, max_tokens: int) -> str:
    counts = np.cumsum([len(_pairs(item)) for item in benchmark.items])
    item = int(np.searchsorted(counts, number, side="right"))
    what = f"benchmark {benchmark.name}: a choice of item {item} ({continuation[:60]!r} ...)"
    if tokens:
        return f"{what} has {tokens} tokens, and the models see {max_tokens} at once; raise data.seq_len or leave the item out"
    return f"{what} adds no token to its context: the two merge; let it begin with a space, or leave the item out"
