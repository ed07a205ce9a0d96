"""Keeping benchmark items out of a corpus before it is tokenised: GPT-3's cleaning (Brown et al. 2020, appendix C).

Where n words of an item occur in a document, either the document is dropped, or these words and 200 characters on both sides are
cut out and what is left goes on as documents of its own: pieces under 200 characters are dropped, and a document that would fall
into more than 10 pieces altogether. GPT-3's exception for n-grams of more than 10 documents is not made: it needs the whole corpus first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from ablate.data import hashes
from ablate.data.blocks import blocks
from ablate.data.hygiene import Tally
from ablate.data.overlap import Ints, in_one_document, word_grams
from ablate.study.grid import digest

VERSION = 2
"""Raise it when the same rules would leave other text."""
WINDOW_CHARACTERS = 200
SHORTEST_PIECE = 200
MOST_PIECES = 10


@dataclass(frozen=True)
class Screen:
    """What is to be kept out, and how (spec.Decontaminate says it with the names of benchmarks)."""

    action: Literal["drop_document", "remove_span"]
    n: int
    items: tuple[str, ...]

    @cached_property
    def digest(self) -> str:
        """16 hex digits that depend on everything that decides what is left of a document."""
        return digest({"action": self.action, "n": self.n, "items": self.items, "version": VERSION})

    def apply(self, documents: Iterable[str], tally: Tally) -> Iterator[str]:
        """What is left of the documents. Those of which nothing is left are dropped as "contaminated"; of the others the tally says
        what was cut: "contaminated_span" counts documents, "contaminated_piece" short pieces of them."""
        n = self.n
        sought = word_grams([hashes.words(self.items)], n)
        for block in blocks(documents, len, hashes.BLOCK_CHARACTERS):
            words, starts = hashes.words(block)
            *_, (_, grams) = hashes.ngrams(words, n)
            places, _ = sought.hits(grams)
            places = places[in_one_document(places, n, starts)]
            owners = np.searchsorted(starts, places, side="right") - 1
            dirty = set(owners.tolist())
            for number, text in enumerate(block):
                if number not in dirty:
                    yield text
                else:
                    yield from self._left(text, places[owners == number] - starts[number], tally)

    def _left(self, text: str, hits: Ints, tally: Tally) -> Iterator[str]:
        pieces = [] if self.action == "drop_document" else _pieces(text, hits, self.n)
        long = [piece for piece in pieces if len(piece) >= SHORTEST_PIECE]
        if not long or len(pieces) > MOST_PIECES:
            tally.take_back("contaminated", text)
            return
        tally.cut_out("contaminated_span", text[_word_spans(text)[int(hits[0])][0] :])
        for piece in pieces:
            if len(piece) < SHORTEST_PIECE:
                tally.cut_out("contaminated_piece", piece)
        yield from long


def _pieces(text: str, hits: Ints, n: int) -> list[str]:
    """What is left of a text without the n-grams that begin at the words `hits`, and what is around them."""
    spans = _word_spans(text)
    pieces, end = [], 0
    for first in hits.tolist():
        begin, last = spans[first][0], spans[first + n - 1][1]
        if begin - WINDOW_CHARACTERS > end:
            pieces.append(text[end : begin - WINDOW_CHARACTERS].strip())
        end = max(end, last + WINDOW_CHARACTERS)
    return [piece for piece in (*pieces, text[end:].strip()) if piece]


def _word_spans(text: str) -> Sequence[tuple[int, int]]:
    """Where each word of hashes.words lies in the text; one of more than a piece is several words in the same place."""
    parts = [found.span() for found in re.finditer(r"[^\s\uffff]+", text)]
    _, starts = hashes.words([text[a:b] for a, b in parts])
    return [span for span, count in zip(parts, np.diff(starts).tolist(), strict=True) for _ in range(count)]
