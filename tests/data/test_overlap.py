"""Each method against its definition written out plainly, and what each finds of items planted in a corpus."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.data import hashes, overlap, skipgrams
from ablate.data.overlap import Overlap, is_dirty
from ablate.data.skipgrams import Skipgrams
from benchmarks import overlap as planting

FEW_WORDS = st.lists(st.sampled_from(["red", "Blue,", "-", "3", "é"]), min_size=0, max_size=40).map(" ".join)
FEW_TOKENS = st.lists(st.integers(0, 1), min_size=0, max_size=60)


def plain_words(text: str) -> list[str]:
    return [word.lower().strip(",") for word in text.split() if word != "-"]


def grams(words: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def share(own: list[tuple[str, ...]], corpus: set[tuple[str, ...]]) -> float:
    return sum(gram in corpus for gram in own) / len(own) if own else float("nan")


@given(st.lists(FEW_WORDS, min_size=2, max_size=6), st.lists(FEW_WORDS, max_size=6))
@settings(max_examples=100, deadline=None)
def test_word_methods_are_their_definitions(items: list[str], corpus: list[str]) -> None:
    found = Overlap([items])
    found.read(corpus)
    (values,) = found.values()
    own = [plain_words(text) for text in items]
    n = overlap.gram_size([len(words) for words in own])
    there = {k: {gram for text in corpus for gram in grams(plain_words(text), k)} for k in (n, 8)}
    np.testing.assert_array_equal(values["gpt3"], [share(grams(words, n), there[n]) for words in own])
    np.testing.assert_array_equal(values["palm"], [share(grams(words, 8), there[8]) for words in own])


def test_a_blank_one_looks_for_the_same_and_has_found_nothing() -> None:
    texts = [[f"item {i} has a number of words that is larger than {i + 8} or so, and no more" for i in range(3)]]
    tokens = [list(range(place, place + 15)) for place in (0, 40, 80)]
    words, grams = Overlap(texts), Skipgrams(tokens)
    for first, then in ((0, 1), (1, 2)):
        words, grams = words.blank(), grams.blank()
        words.read([texts[0][first]])
        grams.read(np.array(tokens[first]), np.array([0, 15]))
        others = words.blank(), grams.blank()
        others[0].read([texts[0][then]])
        others[1].read(np.array(tokens[then]), np.array([0, 15]))
        for found, place in (((words, grams), first), (others, then)):
            values = {**found[0].values()[0], **found[1].values()}
            for method in ("gpt4", "llama2_10"):
                assert np.flatnonzero(is_dirty(method, values[method])).tolist() == [place], method


@given(st.lists(st.text("ab1 -\n", max_size=90), min_size=1, max_size=6), st.lists(st.text("ab1 .", max_size=200), max_size=3), st.data())
@settings(max_examples=100, deadline=None)
def test_substrings_are_their_definition(items: list[str], others: list[str], data: st.DataObject) -> None:
    copied = data.draw(st.lists(st.sampled_from(items), max_size=3))
    corpus = [*others, *(f"x{text[1:]}y" if data.draw(st.booleans()) else f"a {text}" for text in copied)]
    found = Overlap([items])
    found.read(corpus)
    only = ["".join(filter(str.isalnum, text)) for text in corpus]
    for text, value in zip(items, found.values()[0]["gpt4"], strict=True):
        letters = "".join(filter(str.isalnum, text))
        if len(letters) < 8:
            assert np.isnan(value)
        elif len(letters) <= 50:
            assert value == any(letters in other for other in only)
        else:
            drawn = ["".join(map(chr, units.tolist())) for units in overlap._drawn(text)]
            assert [len(needle) for needle in drawn] == [50] * 3 and all(needle in letters for needle in drawn)
            assert value == pytest.approx(sum(any(needle in other for other in only) for needle in drawn) / 3)


def plain_skipgrams(item: list[int], corpus: list[list[int]], length: int) -> float:
    """Every pair of equally long spans, tried."""
    marked: set[int] = set()
    for document in corpus:
        for q in range(len(item)):
            for p in range(len(document)):
                for size in range(length + 1, min(len(item) - q, len(document) - p) + 1):
                    differ = [i for i in range(size) if item[q + i] != document[p + i]]
                    if len(differ) <= 4 and all(10 <= i < size - 1 for i in differ):
                        marked.update(range(q, q + size))
    return len(marked) / len(item) if len(item) > length else float("nan")


@given(st.lists(FEW_TOKENS.map(lambda t: t[:30]), min_size=1, max_size=3), st.lists(FEW_TOKENS.map(lambda t: t[:30]), max_size=3))
@settings(max_examples=60, deadline=None)
def test_skipgrams_are_their_definition(items: list[list[int]], corpus: list[list[int]]) -> None:
    found = Skipgrams(items)
    found.read(np.array([t for document in corpus for t in document], np.uint16), np.cumsum([0, *map(len, corpus)]))
    values = found.values()
    for length in (10, 20):
        expected = [plain_skipgrams(item, corpus, length) for item in items]
        np.testing.assert_allclose(values[f"llama2_{length}"], expected, err_msg=str(length))


def test_skipgrams_do_not_depend_on_how_a_corpus_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(0)
    corpus = np.array(draw.choices(range(3), k=5000), np.uint16)
    items = [corpus[i : i + 60].tolist() for i in range(0, 4000, 130)] + [draw.choices(range(3), k=60) for _ in range(20)]
    whole = Skipgrams(items)
    whole.read(corpus, np.array([0, 1500, 5000]))
    monkeypatch.setattr(skipgrams, "_CHUNK", 37)
    parts = Skipgrams(items)
    parts.read(corpus, np.array([0, 1500, 5000]))
    for method, values in whole.values().items():
        np.testing.assert_array_equal(values, parts.values()[method])
    assert 0 < np.nansum(whole.values()["llama2_40"]) < 51


def test_nothing_is_found_across_two_documents_and_everything_in_a_long_one() -> None:
    item = "Anna has 14 red apples and buys 27 more at the market before noon today."
    apart, long = Overlap([[item, item[5:]]]), Overlap([[item, item[5:]]])
    apart.read([item[:40], item[40:]] * 3)
    long.read(["filler words " * 30_000 + item + " more of them" * 30_000])
    assert len(item) * 3 < hashes.PIECE_CHARACTERS < 12 * 30_000
    for method in Overlap.METHODS:
        assert not is_dirty(method, apart.values()[0][method]).any(), method
        assert is_dirty(method, long.values()[0][method]).all(), method


def test_benchmarks_do_not_get_in_each_others_way() -> None:
    background = planting.pages(60)
    texts = [[item.item for item in planting.items(background, 4, seed)] for seed in range(3)]
    corpus = [*background, *texts[1][::2]]
    together = Overlap([["a b c", "too short"], *texts])
    together.read(corpus)
    for own, values in zip(texts, together.values()[1:], strict=True):
        alone = Overlap([own])
        alone.read(corpus)
        for method, expected in alone.values()[0].items():
            np.testing.assert_array_equal(values[method], expected)
    assert np.isnan(together.values()[0]["gpt3"]).all()


def test_what_is_found_of_planted_items() -> None:
    """The table of docs/contamination.md, smaller."""
    background = planting.pages(400)
    made = planting.items(background, 40)
    found = planting.found(planting.planted(background, made), made)
    assert set(found["verbatim"].values()) == {1.0}
    assert found["reformatted"]["gpt3"] == found["reformatted"]["palm"] == 1.0
    assert found["reformatted"]["llama2_10"] < 1.0, "capitals are other tokens"
    assert found["numbers changed"]["llama2_30"] == 1.0, "four places may differ"
    assert found["numbers changed"]["palm"] == 0.0 < found["numbers changed"]["gpt4"]
    clean = found["not planted"]
    assert clean["palm"] == clean["llama2_20"] == 0.0
    assert clean["gpt4"] <= 0.1, "a substring may lie in the question"
    assert clean["gpt3"] > 0.1, "an item whose question is asked of a planted item too: any hit is enough for GPT-3's rule"


@pytest.mark.shared_data
def test_real_items_in_real_text(shared_data: Path) -> None:
    """ARC questions pasted into C4 pages are found, and almost none of them without."""
    pages, questions = (
        [row[field] for row in map(json.loads, gzip.decompress((shared_data / name).read_bytes()).splitlines())]
        for name, field in (("text/c4_noisy_web_a.jsonl.gz", "text"), ("benchmarks/arc_challenge_test_mosaic.jsonl.gz", "query"))
    )
    questions = [text for text in questions if len(text.split()) > 15][:300]
    for planted in (False, True):
        found = Overlap([questions])
        found.read([*pages, *(f"{page} {question}" for page, question in zip(pages, questions, strict=False) if planted)])
        for method, values in found.values()[0].items():
            rate = is_dirty(method, values).mean()
            assert rate == 1.0 if planted else rate < 0.02, f"{method}: {rate}"
