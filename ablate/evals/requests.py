"""A benchmark made ready for one tokenizer: every choice as tokens, prefixes that choices share held once.

The sequences of a row form a tree: two sequences that begin alike share the nodes of what they have in common, be
it the context of one item's choices, the first half of a minimal pair, or the opening words of two items. The
model reads the nodes in depth-first order; a node's position is its depth, and it attends to its ancestors and to
itself alone. So each choice gets the log-probability that it would get as a sequence of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from ablate.data.tokenizer import end_of_text
from ablate.errors import DataError
from ablate.evals.items import Benchmark

T = TypeVar("T")

ROW_TOKENS = 64
"""A row takes items until it holds this many tokens: longer rows share more prefixes and cost more attention."""
BATCH_TOKENS = 1024
"""Most tokens in a batch, padding included (a longer row is a batch of its own): activations stay in a core's cache."""


@dataclass(frozen=True)
class Batch:
    """Rows of about one length, padded to the longest; `T` tokens of choices are scored in it."""

    tokens: Tensor
    """[rows, length] int64."""
    positions: Tensor
    """[rows, length] int64: depth in the tree."""
    last_below: Tensor
    """[rows, length] int64: the last node of the subtree. Node j is an ancestor of i iff j <= i <= last_below[j];
    padding has only itself below it."""
    predictors: Tensor
    """[P] int64, ascending: the nodes, as row * length + column, after which a scored token comes."""
    predictor: NDArray[np.int64]
    """[T], ascending: which of `predictors` predicts the scored token."""
    target: Tensor
    """[T] int64: the scored token."""
    choice: NDArray[np.int64]
    """[T]: the choice it belongs to, counted over all items."""


@dataclass(frozen=True)
class Requests:
    """What a model is asked for one benchmark; serves every model that uses the tokenizer."""

    benchmark: Benchmark
    batches: tuple[Batch, ...]
    first_choice: NDArray[np.int64]
    """[items + 1]: where each item's choices begin among all choices."""
    choice_bytes: NDArray[np.int64]
    """[choices]: length in UTF-8."""
    truncated: int
    """Items that lost tokens at the left."""
    max_tokens: int
    shared: bool
    """Whether sequences share prefixes; else each is a row of its own."""


def encode(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, without special tokens."""
    encoded = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
    return list(encoded["input_ids"])


def requests(benchmark: Benchmark, tokenizer: PreTrainedTokenizerFast, max_tokens: int, shared: bool = True) -> Requests:
    """Tokenise a benchmark once for all models that see at most `max_tokens` tokens; `shared` for those that read trees.

    The rule is lm-eval's: context and choice are tokenised together, and the tokens after the context's own are
    scored. Where a choice changes the context's last tokens (a merge over the boundary, a context that ends in a
    space), all choices of the item are scored from the first token that differs, so that they cover the same text.
    <|endoftext|> comes first, as before every document in training; with an empty context everything after it is scored.

    An item that would need more than `max_tokens` tokens of input loses the same number at the left for each of its
    choices: what its longest choice needs. DataError where a token to be scored would be lost.
    """
    sequences, starts, truncated = _sequences(benchmark, tokenizer, max_tokens)
    counts = [len(item.choices) for item in benchmark.questions]
    first_choice = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    rows = _rows(sequences, starts, first_choice) if shared else map(_alone, sequences, starts, range(len(sequences)))
    return Requests(
        benchmark=benchmark,
        batches=tuple(_batch(group) for group in by_length(rows, lambda row: len(row.tokens))),
        first_choice=first_choice,
        choice_bytes=np.array([len(choice.encode()) for item in benchmark.questions for choice in item.choices], dtype=np.int64),
        truncated=truncated,
        max_tokens=max_tokens,
        shared=shared,
    )


def _sequences(benchmark: Benchmark, tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> tuple[list[list[int]], list[int], int]:
    """Of every choice of every item: all tokens, and the index of the first one that is scored; and how many items were cut."""
    items = benchmark.questions
    first = end_of_text(tokenizer)
    contexts = encode(tokenizer, [item.context for item in items])
    wholes = iter(encode(tokenizer, [item.context + choice for item in items for choice in item.choices]))
    sequences: list[list[int]] = []
    starts: list[int] = []
    truncated = 0
    for number, (item, context) in enumerate(zip(items, contexts, strict=True)):
        own = [next(wholes) for _ in item.choices]
        shared = min(_common(context, whole) for whole in own)
        longest = max(map(len, own))
        excess = max(0, longest - max_tokens)  # <|endoftext|> is one more input, the last token is none
        if excess > shared:
            raise DataError(
                f"benchmark {benchmark.name}: a choice of item {number} ({item.choices[0][:60]!r} ...) has {longest - shared} tokens, "
                f"and the models see {max_tokens} at once; raise data.seq_len or leave the item out"
            )
        truncated += excess > 0
        sequences += [[first, *whole][excess:] for whole in own]
        starts += [1 + shared - excess] * len(own)
    return sequences, starts, truncated


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


@dataclass
class _Row:
    """One tree of tokens while it grows, and the choices that end in it."""

    tokens: list[int] = field(default_factory=list)
    depth: list[int] = field(default_factory=list)
    last_below: list[int] = field(default_factory=list)
    scored: list[tuple[int, int, int]] = field(default_factory=list)
    """(node that predicts it, token, choice)."""
    path: list[int] = field(default_factory=list)
    sequence: list[int] = field(default_factory=list)

    def add(self, sequence: list[int], start: int, choice: int) -> None:
        """Hang `sequence` into the tree, sharing what it has in common with the one before. Its last token is only
        ever predicted, so it is no node."""
        shared = min(_common(self.sequence, sequence), len(self.path), len(sequence) - 1)
        new = range(len(self.tokens), len(self.tokens) + len(sequence) - 1 - shared)
        self.path = [*self.path[:shared], *new]
        self.tokens += sequence[shared:-1]
        self.depth += range(shared, len(sequence) - 1)
        self.last_below += new
        for node in self.path:
            self.last_below[node] = len(self.tokens) - 1
        self.scored += [(self.path[i - 1], sequence[i], choice) for i in range(start, len(sequence))]
        self.sequence = sequence


def _rows(sequences: list[list[int]], starts: list[int], first_choice: NDArray[np.int64]) -> Iterator[_Row]:
    """Trees of whole items; items that begin alike come one after the other, so that they share a row."""
    spans = [sorted(range(a, b), key=sequences.__getitem__) for a, b in pairwise(first_choice.tolist())]
    row = _Row()
    for span in sorted(spans, key=lambda span: sequences[span[0]]):
        for choice in span:
            row.add(sequences[choice], starts[choice], choice)
        if len(row.tokens) >= ROW_TOKENS:
            yield row
            row = _Row()
    if row.tokens:
        yield row


def _alone(sequence: list[int], start: int, choice: int) -> _Row:
    row = _Row()
    row.add(sequence, start, choice)
    return row


def by_length(rows: Iterable[T], length: Callable[[T], int]) -> Iterator[list[T]]:
    """Sort rows by length and cut them into batches of at most BATCH_TOKENS, padding included."""
    group: list[T] = []
    for row in sorted(rows, key=length):
        if group and (len(group) + 1) * length(row) > BATCH_TOKENS:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _batch(rows: list[_Row]) -> Batch:
    length = max(len(row.tokens) for row in rows)
    tokens = np.zeros((len(rows), length), dtype=np.int64)
    positions = np.zeros_like(tokens)
    last_below = np.tile(np.arange(length), (len(rows), 1))
    scored: list[tuple[int, int, int]] = []
    for i, row in enumerate(rows):
        tokens[i, : len(row.tokens)] = row.tokens
        positions[i, : len(row.tokens)] = row.depth
        last_below[i, : len(row.tokens)] = row.last_below
        scored += [(i * length + node, token, choice) for node, token, choice in row.scored]
    node, target, choice = np.array(sorted(scored), dtype=np.int64).T
    predictors, predictor = np.unique(node, return_inverse=True)
    return Batch(
        tokens=torch.from_numpy(tokens),
        positions=torch.from_numpy(positions),
        last_below=torch.from_numpy(last_below),
        predictors=torch.from_numpy(predictors),
        predictor=predictor.astype(np.int64),
        target=torch.from_numpy(target.copy()),
        choice=choice.copy(),
    )
