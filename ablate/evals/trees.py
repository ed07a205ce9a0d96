"""Sequences as trees of tokens, in batches: what sequences share is held, and read by a model, once.

The sequences of a row form a tree: two sequences that begin alike share the nodes of what they have in common, be
it the context of one item's choices, the first half of a minimal pair, or the opening words of two items. The
model reads the nodes in depth-first order; a node's position is its depth, and it attends to its ancestors and to
itself alone. So each choice gets the log-probability that it would get as a sequence of its own.

What many items begin with (solved examples, a passage) is a trunk: read once by itself, its keys and values then serve
every row that goes on from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

T = TypeVar("T")

ROW_TOKENS = 64
"""A row takes items until it holds this many tokens: longer rows share more prefixes and cost more attention. After a trunk
they are half as long as it, since each row of a batch needs a copy of the trunk's keys and values."""
BATCH_TOKENS = 1024
"""Most tokens in a batch, padding included (a longer row is a batch of its own): activations stay in a core's cache."""
CALL_TOKENS = 64
"""A call of a small model costs about as much as reading so many tokens, beside those it reads."""
LONG_SHARED = 64
"""Items that share so many tokens belong together: in one trunk, or in one row."""
TRUNK_SAVES = 1024
"""A trunk must save the reading of so many tokens: it is a call of the model by itself."""


class Asked(NamedTuple):
    """One sequence: its tokens, and the index of the first one that is scored (1 or more)."""

    tokens: list[int]
    start: int


@dataclass(frozen=True)
class Batch:
    """Rows of about one length that go on from one trunk, padded to the longest; `T` tokens of continuations are scored in it."""

    trunk: Tensor
    """[P] int64: what every row begins with; of batches that follow each other it may be the very same tensor. P may be 0."""
    tokens: Tensor
    """[rows, length] int64."""
    positions: Tensor
    """[rows, length] int64: depth in the tree, P for what follows the trunk."""
    last_below: Tensor
    """[rows, length] int64: the last node of the subtree. Node j is an ancestor of i iff j <= i <= last_below[j];
    padding has only itself below it."""
    predictors: Tensor
    """[predictors] int64, ascending: the nodes, as row * length + column, after which a scored token comes."""
    predictor: NDArray[np.int64]
    """[T], ascending: which of `predictors` predicts the scored token."""
    target: Tensor
    """[T] int64: the scored token."""
    choice: NDArray[np.int64]
    """[T]: the continuation it belongs to, counted over all items."""


def one_a_row(asked: Sequence[Asked]) -> Iterator[Batch]:
    """Batches in which nothing is shared."""
    rows = (_Row.of([sequence], [choice]) for choice, sequence in enumerate(asked))
    return _batches([], rows)


def in_trees(asked: Sequence[Asked], first_choice: NDArray[np.int64]) -> Iterator[Batch]:
    """Batches in which items that begin alike come one after the other, so that they share a trunk or a row. An item without a sequence is
    in none."""
    items = [_Leaves.of(asked, range(a, b)) for a, b in pairwise(first_choice.tolist()) if a < b]
    items.sort(key=lambda item: item.sequences[0].tokens)
    alone: list[_Leaves] = []
    for run, shared in _runs([item.head for item in items]):
        if (len(run) - 1) * shared < TRUNK_SAVES:
            alone += items[run.start : run.stop]
        else:
            trunk = items[run.start].head[:shared]
            after = [item.after(shared) for item in items[run.start : run.stop]]
            yield from _batches(trunk, _rows(after, min(max(ROW_TOKENS, shared // 2), BATCH_TOKENS)))
    yield from _batches([], _rows(alone, ROW_TOKENS))


class _Leaves(NamedTuple):
    """The continuations of one item, those that begin alike one after the other."""

    sequences: list[Asked]
    choices: list[int]
    head: list[int]
    """What all of them begin with, up to the token before the last that must be read to predict a scored one."""

    @classmethod
    def of(cls, asked: Sequence[Asked], choices: range) -> _Leaves:
        order = sorted(choices, key=lambda choice: asked[choice].tokens)
        sequences = [asked[choice] for choice in order]
        shared = min(_common(sequences[0].tokens, sequences[-1].tokens), *(sequence.start - 1 for sequence in sequences))
        return cls(sequences, order, sequences[0].tokens[:shared])

    def after(self, shared: int) -> _Leaves:
        """Without the first `shared` tokens of the head."""
        cut = [Asked(sequence.tokens[shared:], sequence.start - shared) for sequence in self.sequences]
        return _Leaves(cut, self.choices, self.head[shared:])


def _runs(heads: Sequence[list[int]]) -> Iterator[tuple[range, int]]:
    """Neighbours that each share LONG_SHARED tokens with the next, and how many all of a run share."""
    begin, shared = 0, len(heads[0]) if heads else 0
    for i, (head, following) in enumerate(pairwise(heads), 1):
        common = _common(head, following)
        if common < LONG_SHARED:
            yield range(begin, i), shared
            begin, shared = i, len(following)
        else:
            shared = min(shared, common)
    if heads:
        yield range(begin, len(heads)), shared


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    done = 0
    while done + 64 <= min(len(a), len(b)) and a[done : done + 64] == b[done : done + 64]:
        done += 64
    for i, (x, y) in enumerate(zip(a[done : done + 64], b[done : done + 64], strict=False)):
        if x != y:
            return done + i
    return min(done + 64, len(a), len(b))


@dataclass
class _Row:
    """One tree of tokens while it grows, and the continuations that end in it."""

    tokens: list[int] = field(default_factory=list)
    depth: list[int] = field(default_factory=list)
    last_below: list[int] = field(default_factory=list)
    scored: list[tuple[int, int, int]] = field(default_factory=list)
    """(node that predicts it, token, continuation)."""
    path: list[int] = field(default_factory=list)
    sequence: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, sequences: Iterable[Asked], choices: Iterable[int]) -> _Row:
        row = cls()
        row.add(sequences, choices)
        return row

    def add(self, sequences: Iterable[Asked], choices: Iterable[int]) -> None:
        for (tokens, start), choice in zip(sequences, choices, strict=True):
            self._hang(tokens, start, choice)

    def _hang(self, sequence: list[int], start: int, choice: int) -> None:
        """Hang `sequence` into the tree, sharing what it has in common with the one before. Its last token is only
        ever predicted, so it is no node."""
        shared = min(_common(self.sequence, sequence), len(self.path), len(sequence) - 1)
        self._leave(shared)
        new = range(len(self.tokens), len(self.tokens) + len(sequence) - 1 - shared)
        self.path = [*self.path[:shared], *new]
        self.tokens += sequence[shared:-1]
        self.depth += range(shared, len(sequence) - 1)
        self.last_below += new
        self.scored += [(self.path[i - 1], sequence[i], choice) for i in range(start, len(sequence))]
        self.sequence = sequence

    def _leave(self, depth: int) -> None:
        """Nothing more comes below the nodes of the path from `depth` on."""
        for node in self.path[depth:]:
            self.last_below[node] = len(self.tokens) - 1

    def close(self) -> _Row:
        self._leave(0)
        return self


def _rows(items: Iterable[_Leaves], enough: int) -> Iterator[_Row]:
    """Rows of at least `enough` tokens. One that is full takes an item more where the item shares much with the one before, and another
    continuation of an item where it shares half of its tokens: those of an item that is cut at the left may share none."""
    row = _Row()
    for item in items:
        for i, (sequence, choice) in enumerate(zip(item.sequences, item.choices, strict=True)):
            if len(row.tokens) >= enough and not _belong_together(row.sequence, sequence.tokens, same_item=i > 0):
                yield row
                row = _Row()
            row.add([sequence], [choice])
    if row.tokens:
        yield row


def _belong_together(before: Sequence[int], tokens: Sequence[int], same_item: bool) -> bool:
    shared = _common(before, tokens)
    return shared >= LONG_SHARED or (same_item and 2 * shared >= len(tokens))


def _batches(trunk: list[int], rows: Iterable[_Row]) -> Iterator[Batch]:
    shared = torch.tensor(trunk, dtype=torch.int64)
    for group in by_length(rows, lambda row: len(row.tokens)):
        yield _batch(shared, group)


def by_length(rows: Iterable[T], length: Callable[[T], int]) -> Iterator[list[T]]:
    """Sort rows by length and cut them into batches of at most BATCH_TOKENS, padding included, where padding and calls cost least."""
    ordered = sorted(rows, key=length)
    cost, begins = [0], [0]
    for end, longest in enumerate(map(length, ordered), 1):
        most = max(1, BATCH_TOKENS // max(1, longest))
        found = min((cost[begin] + (end - begin) * longest, begin) for begin in range(max(0, end - most), end))
        cost.append(found[0] + CALL_TOKENS)
        begins.append(found[1])
    cuts = [len(ordered)]
    while cuts[-1]:
        cuts.append(begins[cuts[-1]])
    for begin, end in pairwise(reversed(cuts)):
        yield ordered[begin:end]


def _batch(trunk: Tensor, rows: Sequence[_Row]) -> Batch:
    length = max(len(row.tokens) for row in rows)
    tokens = np.zeros((len(rows), length), dtype=np.int64)
    positions = np.zeros_like(tokens)
    last_below = np.tile(np.arange(length), (len(rows), 1))
    scored: list[tuple[int, int, int]] = []
    for i, row in enumerate(rows):
        row.close()
        tokens[i, : len(row.tokens)] = row.tokens
        positions[i, : len(row.tokens)] = row.depth
        last_below[i, : len(row.tokens)] = row.last_below
        scored += [(i * length + node, token, choice) for node, token, choice in row.scored]
    node, target, choice = np.array(sorted(scored), dtype=np.int64).T
    predictors, predictor = np.unique(node, return_inverse=True)
    return Batch(
        trunk=trunk,
        tokens=torch.from_numpy(tokens),
        positions=torch.from_numpy(positions + len(trunk)),
        last_below=torch.from_numpy(last_below),
        predictors=torch.from_numpy(predictors),
        predictor=predictor.astype(np.int64),
        target=torch.from_numpy(target.copy()),
        choice=choice.copy(),
    )
