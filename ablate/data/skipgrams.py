"""Llama-2's contamination measure (Touvron et al. 2023, appendix A.6), on tokens: a token of an item is contaminated if it lies in a
span longer than L tokens that the item and the corpus share, up to 4 places of which may differ, none of them among its first 10
tokens, and not its last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np
from numpy.typing import NDArray

from ablate.data import hashes
from ablate.data.overlap import SPAN_LENGTHS, Floats, Ints, Sought

PREFIX = 10
"""Tokens at the beginning of a span that must agree."""
BUDGET = 4
"""Places of a span that may differ."""
_NONE = -1
"""Between two items: no token."""
_CHUNK = 1 << 16


class Skipgrams:
    """Items as token ids, all benchmarks one after the other; a corpus is read chunk by chunk."""

    METHODS = tuple(f"llama2_{length}" for length in SPAN_LENGTHS)

    def __init__(self, items: Sequence[Sequence[int]]) -> None:
        self._lengths = np.array([len(item) for item in items], np.int64)
        self._starts = np.cumsum(self._lengths + 1) - self._lengths
        self._items = np.full(int(self._lengths.sum()) + len(items) + 1, _NONE, np.int64)
        for start, item in zip(self._starts.tolist(), items, strict=True):
            self._items[start : start + len(item)] = item
        *_, (_, grams) = hashes.ngrams(hashes.of_numbers(self._items), PREFIX)
        whole = np.flatnonzero(_windows_without(self._items == _NONE, PREFIX))
        self._sought = Sought(grams[whole], np.ones(whole.size, np.int64))
        # of each sought gram the places in the items where it stands
        order = np.argsort(self._sought.where, kind="stable")
        self._places = whole[order]
        self._bounds = np.searchsorted(self._sought.where[order], np.arange(self._sought.found.size + 1))
        self._edges = self._no_edges()

    def blank(self) -> Skipgrams:
        """The same items, nothing found; the tables are shared."""
        other = copy(self)
        other._edges = self._no_edges()
        return other

    def _no_edges(self) -> dict[int, Ints]:
        return {length: np.zeros(self._items.size + 1, np.int64) for length in SPAN_LENGTHS}

    def read(self, tokens: NDArray[np.integer], starts: Ints) -> None:
        """Look for all items in documents that begin at `starts` ([documents + 1]) of `tokens`."""
        for at in range(0, len(tokens), _CHUNK):
            chunk = np.asarray(tokens[at : at + _CHUNK + PREFIX - 1], np.int64)
            *_, (_, grams) = hashes.ngrams(hashes.of_numbers(chunk), PREFIX)
            places, which = self._sought.hits(grams)
            if places.size:
                self._mark(tokens, starts, places + at, which)

    @property
    def edges(self) -> list[Ints]:
        """What has been found so far, as `add` takes it."""
        return list(self._edges.values())

    def add(self, edges: Sequence[Ints]) -> None:
        """What another Skipgrams over the same items has found in another part of the corpus."""
        for own, more in zip(self._edges.values(), edges, strict=True):
            own += more

    def values(self) -> dict[str, Floats]:
        """Method → of each item the share of its tokens that are contaminated, NaN for an item of at most L tokens."""
        shares = {}
        for length, edges in self._edges.items():
            marked = np.concatenate([[0], np.cumsum(np.cumsum(edges[:-1]) > 0)])
            counted = marked[self._starts + self._lengths] - marked[self._starts]
            shares[f"llama2_{length}"] = np.where(self._lengths > length, counted / np.maximum(self._lengths, 1), np.nan)
        return shares

    def _mark(self, tokens: NDArray[np.integer], starts: Ints, places: Ints, which: Ints) -> None:
        """Extend each match of 10 tokens to the right and mark what it covers in its item."""
        counts = self._bounds[which + 1] - self._bounds[which]
        corpus = np.repeat(places, counts)
        within = np.arange(corpus.size) - np.repeat(np.cumsum(counts) - counts, counts)
        item = self._places[np.repeat(self._bounds[which], counts) + within]
        document = np.searchsorted(starts, corpus, side="right")
        # a match whose left neighbours agree too is part of the one that begins there
        continued = (corpus > starts[document - 1]) & (tokens[np.maximum(corpus - 1, 0)] == self._items[item - 1])
        whole = corpus + PREFIX <= starts[document]
        kept = ~continued & whole
        corpus, item, ends = corpus[kept], item[kept], starts[document[kept]]
        spans = self._extended(tokens, corpus, item, ends)
        for length, edges in self._edges.items():
            long = spans > length
            np.add.at(edges, item[long], 1)
            np.add.at(edges, item[long] + spans[long], -1)

    def _extended(self, tokens: NDArray[np.integer], corpus: Ints, item: Ints, ends: Ints) -> Ints:
        """The length of the longest span of each match: at most BUDGET places differ, the last one agrees."""
        spans = np.full(corpus.size, PREFIX, np.int64)
        left = np.full(corpus.size, BUDGET, np.int64)
        alive = np.arange(corpus.size)
        step = PREFIX
        while alive.size:
            there = self._items[item[alive] + step]
            alive = alive[(there != _NONE) & (corpus[alive] + step < ends[alive])]
            there = self._items[item[alive] + step]
            same = tokens[corpus[alive] + step] == there
            spans[alive[same]] = step + 1
            left[alive[~same]] -= 1
            alive = alive[left[alive] >= 0]
            step += 1
        return spans


def _windows_without(marks: NDArray[np.bool_], n: int) -> NDArray[np.bool_]:
    """Which windows of n places hold no mark."""
    before = np.concatenate([[0], np.cumsum(marks)])
    return np.asarray(before[n:] == before[:-n], np.bool_)
