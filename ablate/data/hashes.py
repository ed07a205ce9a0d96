"""Text as 64-bit hashes, a block of documents at once: of its words, of n words in a row, of w characters in a row.

Everything is an array operation on UTF-16 code units, so that a core gets through tens of megabytes a second. Two different
strings have one hash with probability 2^-64: with 10^6 hashes to find in 10^9 words, one false hit in 20,000 such corpora.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Units = NDArray[np.uint16]

BLOCK_CHARACTERS = 1 << 16
"""Documents that are looked at together have about so many."""
PIECE_CHARACTERS = 1 << 17
"""Hashed at once: the arrays of a piece stay in a core's cache."""
_SPACE = 32
_END = 0xFFFF
"""Follows every document of a block; U+FFFF is no character, and a text that holds it all the same holds a space here."""
_ODD = 0x9E3779B97F4A7C15


def words(documents: Sequence[str]) -> tuple[Hashes, NDArray[np.int64]]:
    """The hashes of all words, and where those of each document begin ([documents + 1]).

    A word is what GPT-3's overlap analysis takes for one (Brown et al. 2020, appendix C): lower case, parted by white space,
    without punctuation; what was punctuation only is no word. Letters outside the Basic Multilingual Plane keep their case.
    """
    found, bounds = [], []
    for piece in _pieces(documents):
        units = _table(_word_unit)[_units(piece)]
        units = units[units != 0]
        is_space = (units == _SPACE) | (units == _END)
        edges = np.flatnonzero(np.diff(is_space, prepend=True, append=True))
        starts, ends = edges[::2], edges[1::2]
        found.append(_spans(units, starts, ends))
        bounds.append(np.searchsorted(starts, np.flatnonzero(units == _END)))
    before = accumulate((len(hashes) for hashes in found), initial=0)
    ends_of = [bound + offset for bound, offset in zip(bounds, before, strict=False)]
    return np.concatenate([np.zeros(0, np.uint64), *found]), np.concatenate([np.zeros(1, np.int64), *ends_of])


def characters(documents: Sequence[str]) -> Units:
    """The letters and digits of the documents as UTF-16 code units, one after the other; none of the units is in all of a window
    that reaches from one document into the next."""
    parts = []
    for piece in _pieces(documents):
        units = _table(_character_unit)[_units(piece)]
        parts.append(units[units != 0])
    return np.concatenate([np.zeros(0, np.uint16), *parts])


def ngrams(hashes: Hashes, longest: int) -> Iterator[tuple[int, Hashes]]:
    """(n, hashes of every n in a row) for n = 1 to `longest`; what begins at i is at i. Fewer than n give an empty array."""
    grams = hashes
    yield 1, grams
    for n in range(2, longest + 1):
        grams = grams[:-1] * np.uint64(_ODD) + hashes[n - 1 :] if len(hashes) >= n else hashes[:0]
        yield n, grams


def windows(units: Units, width: int) -> Hashes:
    """The hash of every `width` units in a row; width is 8, 16 or 32."""
    grown = units.astype(np.uint64)
    for step in (1, 2):  # four units of 16 bits fill a number
        grown = (grown[:-step] << np.uint64(16 * step)) | grown[step:] if grown.size > step else grown[:0]
    grown = _mixed(grown)
    step = 4
    while step < width:
        grown = grown[:-step] * np.uint64(_ODD) + grown[step:] if grown.size > step else grown[:0]
        step *= 2
    return grown


def of_numbers(numbers: NDArray[np.int64]) -> Hashes:
    """One hash a number, such as a token id."""
    return _mixed(numbers.astype(np.uint64) * np.uint64(_ODD) + np.uint64(1))


def joined(first: Hashes, second: Hashes) -> Hashes:
    """One hash of each pair."""
    return _mixed(first * np.uint64(_ODD) + second)


def _spans(units: Units, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Hashes:
    """The polynomial of each span, as a difference of running sums divided by the power at which the span begins."""
    powers, inverses = _powers(_ODD), _powers(pow(_ODD, -1, 1 << 64))
    sums = np.zeros(units.size + 1, np.uint64)
    np.cumsum(_random_units()[units] * powers[: units.size], out=sums[1:])
    return _mixed((sums[ends] - sums[starts]) * inverses[starts])


def _mixed(hashes: Hashes) -> Hashes:
    hashes = (hashes ^ (hashes >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return hashes ^ (hashes >> np.uint64(29))


def _pieces(documents: Sequence[str]) -> Iterator[str]:
    """All documents as one text, each followed by the end mark, in pieces that no word crosses (but one of a whole piece's length)."""
    text = "".join([f"{document.replace(chr(_END), ' ')} {chr(_END)}" for document in documents])
    at = 0
    while at < len(text):
        end = at + PIECE_CHARACTERS
        if end < len(text):
            space = max(text.rfind(" ", at, end), text.rfind(chr(_END), at, end))
            if space < 0:
                space = max(text.rfind(other, at, end) for other in _spaces())
            end = space + 1 if space >= 0 else end
        yield text[at:end]
        at = end


@cache
def _spaces() -> str:
    return "".join(letter for letter in map(chr, range(1 << 16)) if letter.isspace())


def _units(text: str) -> Units:
    return np.frombuffer(text.encode("utf-16-le", "surrogatepass"), np.uint16)


@cache
def _powers(base: int) -> Hashes:
    steps = np.full(2 * PIECE_CHARACTERS + 1, base, np.uint64)
    steps[0] = 1
    return np.multiply.accumulate(steps)


@cache
def _random_units() -> Hashes:
    return np.random.PCG64(0).random_raw(1 << 16)


@cache
def _table(kind: Callable[[int], int]) -> Units:
    return np.array([kind(unit) for unit in range(1 << 16)], np.uint16)


def _word_unit(unit: int) -> int:
    """What a unit is in a word: itself in lower case, a space, or nothing (0)."""
    letter = chr(unit)
    if unit == _END or 0xD800 <= unit < 0xE000:
        return unit
    if letter.isspace():
        return _SPACE
    lower = letter.lower()
    return 0 if unicodedata.category(letter)[0] in "PSC" else ord(lower) if len(lower) == 1 else unit


def _character_unit(unit: int) -> int:
    return unit if unit == _END or 0xD800 <= unit < 0xE000 or chr(unit).isalnum() else 0
