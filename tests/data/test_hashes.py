"""Hashes of text against the plain computation: the same words, the same n-grams, the same windows have the same hash, others another."""

from __future__ import annotations

import string
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.data import hashes

MIXED = st.text(st.characters(codec="utf-8") | st.sampled_from(string.whitespace + string.punctuation + "aAbB12é’“\uffff"), max_size=60)


def plain_words(text: str) -> list[str]:
    """GPT-3's words, one character at a time."""
    kept = [
        letter if ord(letter) > 0xFFFF else " " if letter.isspace() or letter == "\uffff" else _lower(letter)
        for letter in text
        if ord(letter) > 0xFFFF or letter.isspace() or letter == "\uffff" or unicodedata.category(letter)[0] not in "PSC"
    ]
    return "".join(kept).split()


def _lower(letter: str) -> str:
    return letter.lower() if len(letter.lower()) == 1 else letter


@given(st.lists(MIXED, min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_words_are_those_of_the_definition(documents: list[str]) -> None:
    found, starts = hashes.words(documents)
    wanted = [plain_words(text) for text in documents]
    assert np.diff(starts).tolist() == [len(words) for words in wanted]
    flat = [word for words in wanted for word in words]
    known = dict(zip(flat, found.tolist(), strict=True))
    assert [known[word] for word in flat] == found.tolist(), "one word, one hash"
    assert len(set(known.values())) == len(known), "two words, two hashes"


def test_a_word_has_its_hash_wherever_it_stands_and_however_long_the_document_is() -> None:
    long = "Some words, again and again. " * 20_000
    found, starts = hashes.words(["again", long, long[5:]])
    assert len(long) > 4 * hashes.PIECE_CHARACTERS
    assert starts.tolist() == [0, 1, 100_001, 200_000]
    assert found[1:100_001].reshape(-1, 5).tolist() == [found[1:6].tolist()] * 20_000
    assert found[100_001:].tolist() == found[2:100_001].tolist()
    assert found[0] == found[3] == found[5] != found[4]


def test_ngrams() -> None:
    found, _ = hashes.words(["a b c d", "b c d e"])
    grams = dict(hashes.ngrams(found, 3))
    assert [grams[n].size for n in (1, 2, 3)] == [8, 7, 6]
    assert grams[3][1] == grams[3][4], "b c d"
    assert np.unique(grams[3]).size == 5
    assert [g.size for _, g in hashes.ngrams(found[:2], 4)] == [2, 1, 0, 0]


@pytest.mark.parametrize("width", [8, 16, 32])
def test_windows(width: int) -> None:
    needle = string.ascii_letters[:width]
    units = hashes.characters(["!" + needle + "?", "A b" + " - ".join(needle) + "é", needle[:-1], needle[-1]])
    found = hashes.windows(units, width)
    (own,) = hashes.windows(hashes.characters([needle])[:width], width)
    assert np.flatnonzero(found == own).tolist() == [0, width + 1 + 2]
    assert np.unique(found).size == found.size - 1
