"""Which benchmark items stand in a corpus, by the published definitions. The items are indexed and the corpus is streamed once, so
memory follows the benchmarks. The text of an item is what a reader sees: its context and its right choice.

gpt3     share of the item's N-grams of words that occur; contaminated: any. N is the 5th percentile of the items' lengths in words,
         at least 8 and at most 13 (Brown et al. 2020, appendix C).
palm     share of its 8-grams of words that occur; contaminated: 70% or more (Chowdhery et al. 2022, quoted by Touvron et al. 2023).
gpt4     letters and digits alone; share of 3 random substrings of 50 of them that occur, or the whole where it is shorter;
         contaminated: any (OpenAI 2023, appendix C). Which three is drawn from a hash of the item.
llama2_L share of its tokens in a matched span longer than L tokens (skipgrams.py); contaminated: 20% or more, the complement of
         the paper's clean subset (Touvron et al. 2023, appendix A.6).

An item too short for a method (fewer than N words, 8 letters and digits, L + 1 tokens) has no value: it cannot be told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from copy import copy

import numpy as np
from numpy.typing import NDArray

from ablate.data import hashes
from ablate.data.blocks import blocks
from ablate.data.hashes import Hashes, Units

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

VERSION = 2
"""Raise it when a method would give another value for the same texts."""
SPAN_LENGTHS = (10, 20, 30, 40, 50)
SMALLEST_N, LARGEST_N = 8, 13
PALM_N = 8
SUBSTRINGS, SUBSTRING_CHARACTERS = 3, 50
FEWEST_CHARACTERS = 8
_WIDTHS = (32, 16, 8)

THRESHOLDS = {"gpt3": 0.0, "palm": 0.7, "gpt4": 0.0, **{f"llama2_{length}": 0.2 for length in SPAN_LENGTHS}}
"""Method → the value from which an item is contaminated; 0: any value above it."""


def is_dirty(method: str, values: Floats) -> NDArray[np.bool_]:
    """Which items the method calls contaminated; not those without a value."""
    limit = THRESHOLDS[method]
    return values >= limit if limit else values > 0


def gram_size(lengths: Sequence[int]) -> int:
    """GPT-3's N for a benchmark whose items have these lengths in words."""
    return int(np.clip(np.percentile(lengths, 5), SMALLEST_N, LARGEST_N))


class Sought:
    """Hashes that are looked for: `counts[i]` of them belong to item i. The j-th of `wanted` is the where[j]-th of those that differ;
    found says of each of these whether it has been found."""

    def __init__(self, wanted: Hashes, counts: Ints) -> None:
        self._counts = counts
        self._keys, self.where = np.unique(wanted, return_inverse=True)
        self.found = np.zeros(self._keys.size, np.bool_)
        bits = int(np.clip(np.ceil(np.log2(16 * max(self._keys.size, 1))), 16, 27))
        self._shift = np.uint64(64 - bits)
        self._may = np.zeros(1 << bits, np.bool_)
        self._may[self._keys >> self._shift] = True

    def blank(self) -> Sought:
        """The same hashes, none of them found; the tables are shared."""
        other = copy(self)
        other.found = np.zeros_like(self.found)
        return other

    def hits(self, given: Hashes) -> tuple[Ints, Ints]:
        """Where in `given` a sought hash stands, and which one it is."""
        places = np.flatnonzero(self._may[given >> self._shift])
        if not places.size or not self._keys.size:
            return places[:0], places[:0]
        which = np.minimum(np.searchsorted(self._keys, given[places]), self._keys.size - 1)
        right = self._keys[which] == given[places]
        return places[right], which[right]

    def shares(self) -> Floats:
        """Of each item the share of its hashes that were found; NaN where it has none."""
        totals = np.concatenate([[0], np.cumsum(self.found[self.where])])
        ends = np.cumsum(self._counts)
        with np.errstate(invalid="ignore"):
            return np.asarray((totals[ends] - totals[ends - self._counts]) / self._counts, np.float64)


class Overlap:
    """The word and character methods over any number of benchmarks, each the texts of its items."""

    METHODS = ("gpt3", "palm", "gpt4")

    def __init__(self, benchmarks: Sequence[Sequence[str]]) -> None:
        self._sizes = [len(texts) for texts in benchmarks]
        hashed = [hashes.words(texts) for texts in benchmarks]
        self._n = [gram_size(np.diff(starts).tolist()) for _, starts in hashed]
        # the benchmarks whose n-grams are looked for together, in the order in which their items stand in the Sought of that n
        self._together = {n: [i for i, own in enumerate(self._n) if n in (own, PALM_N)] for n in sorted({PALM_N, *self._n})}
        self._grams = {n: word_grams([hashed[i] for i in members], n) for n, members in self._together.items()}
        self._characters = _Substrings([text for texts in benchmarks for text in texts])

    def blank(self) -> Overlap:
        """The same items, nothing found; the tables are shared."""
        other = copy(self)
        other._grams = {n: sought.blank() for n, sought in self._grams.items()}
        other._characters = self._characters.blank()
        return other

    def read(self, documents: Iterable[str]) -> None:
        """Look for all items in these documents, on top of those read before."""
        for block in blocks(documents, len, hashes.BLOCK_CHARACTERS):
            words, starts = hashes.words(block)
            for n, grams in hashes.ngrams(words, max(self._grams)):
                if n in self._grams:
                    places, which = self._grams[n].hits(grams)
                    self._grams[n].found[which[in_one_document(places, n, starts)]] = True
            self._characters.read(hashes.characters(block))

    @property
    def found(self) -> list[NDArray[np.bool_]]:
        """What has been found so far, as `add` takes it."""
        return [sought.found for sought in self._all()]

    def add(self, found: Sequence[NDArray[np.bool_]]) -> None:
        """What another Overlap over the same items has found in another part of the corpus."""
        for sought, more in zip(self._all(), found, strict=True):
            sought.found |= more

    def _all(self) -> list[Sought]:
        return [*self._grams.values(), *self._characters.by_size()]

    def values(self) -> list[dict[str, Floats]]:
        """Of each benchmark: method → the value of every item, NaN where it is too short to be told."""
        of_n = {n: dict(zip(members, self._cut(self._grams[n].shares(), members), strict=True)) for n, members in self._together.items()}
        characters = self._cut(self._characters.shares(), range(len(self._sizes)))
        return [{"gpt3": of_n[n][i], "palm": of_n[PALM_N][i], "gpt4": characters[i]} for i, n in enumerate(self._n)]

    def _cut(self, values: Floats, members: Sequence[int]) -> list[Floats]:
        return np.split(values, np.cumsum([self._sizes[i] for i in members])[:-1])


def word_grams(hashed: Sequence[tuple[Hashes, Ints]], n: int) -> Sought:
    """The n-grams of all items of some benchmarks, each as hashes.words gives it."""
    wanted, counts = [], []
    for words, starts in hashed:
        *_, (_, grams) = hashes.ngrams(words, n)
        wanted.append(grams[in_one_document(np.arange(grams.size), n, starts)])
        counts.append(np.maximum(np.diff(starts) - n + 1, 0))
    return Sought(np.concatenate(wanted), np.concatenate(counts))


def in_one_document(places: Ints, n: int, starts: Ints) -> NDArray[np.bool_]:
    """Which of the n-grams that begin at `places` end in the document they begin in."""
    first = np.searchsorted(starts, places, side="right")
    return np.asarray(places + n <= starts[first], np.bool_)


class _Substrings:
    """GPT-4's substrings. One of n units is found by its first and its last window of w <= n <= 2 w units: they cover it."""

    CHUNK = 1 << 17

    def __init__(self, texts: Sequence[str]) -> None:
        needles = [(item, needle) for item, text in enumerate(texts) for needle in _drawn(text)]
        self._counts = np.bincount([item for item, _ in needles], minlength=len(texts))
        self._by_size: dict[int, tuple[list[int], Sought]] = {}
        self._firsts: dict[int, Sought] = {}
        self._total = len(needles)
        sizes: dict[int, list[int]] = {}
        for place, (_, needle) in enumerate(needles):
            sizes.setdefault(needle.size, []).append(place)
        firsts: dict[int, list[Hashes]] = {}
        for size, places in sizes.items():
            width = _width(size)
            found = [hashes.windows(needles[place][1], width) for place in places]
            ends = np.array([(own[0], own[-1]) for own in found], np.uint64)
            firsts.setdefault(width, []).append(ends[:, 0])
            self._by_size[size] = places, Sought(hashes.joined(ends[:, 0], ends[:, 1]), np.ones(len(places), np.int64))
        for width, parts in firsts.items():
            every = np.concatenate(parts)
            self._firsts[width] = Sought(every, np.ones(every.size, np.int64))

    def blank(self) -> _Substrings:
        other = copy(self)
        other._by_size = {size: (places, sought.blank()) for size, (places, sought) in self._by_size.items()}
        return other

    def by_size(self) -> list[Sought]:
        return [sought for _, sought in self._by_size.values()]

    def read(self, units: Units) -> None:
        for at in range(0, units.size, self.CHUNK):
            chunk = units[at : at + self.CHUNK + SUBSTRING_CHARACTERS]
            for width, firsts in self._firsts.items():
                windows = hashes.windows(chunk, width)
                places, _ = firsts.hits(windows)
                if places.size:
                    self._verify(windows, places, width)

    def _verify(self, windows: Hashes, places: Ints, width: int) -> None:
        for size, (_, sought) in self._by_size.items():
            if _width(size) == width:
                whole = places[places + size - width < windows.size]
                _, which = sought.hits(hashes.joined(windows[whole], windows[whole + size - width]))
                sought.found[which] = True

    def shares(self) -> Floats:
        found = np.zeros(self._total)
        for places, sought in self._by_size.values():
            found[places] = sought.shares()
        totals = np.concatenate([[0.0], np.cumsum(found)])
        ends = np.cumsum(self._counts)
        with np.errstate(invalid="ignore"):
            return np.asarray((totals[ends] - totals[ends - self._counts]) / self._counts, np.float64)


def _width(size: int) -> int:
    return next(width for width in _WIDTHS if width <= size)


def _drawn(text: str) -> Iterator[Units]:
    """The substrings that are looked for: none of a text with too few letters and digits."""
    units = hashes.characters([text])[:-1]
    if units.size <= SUBSTRING_CHARACTERS:
        if units.size >= FEWEST_CHARACTERS:
            yield units
        return
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
    for drawn in np.random.PCG64(seed).random_raw(SUBSTRINGS).tolist():
        first = drawn % (units.size - SUBSTRING_CHARACTERS + 1)
        yield units[first : first + SUBSTRING_CHARACTERS]
