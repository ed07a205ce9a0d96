"""The closed world and the two clean corpora: same bytes everywhere, evenly covered, hardly ever repeated."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice, pairwise

from ablate.data import neutral, textbook, web, world
from ablate.study.spec import Noise

BYTES = {
    "textbook": "918ca5e85579d8072751d517eeb73833c73226071d18b761767f594e5bd2552a",
    "web": "5cbe2a7fdcf815ce17211fe58598f70c8f994ee21a585fc20100f80e669e6484",
    "neutral": "78f57201631c0691f3fbff2a50a580ecd4b2adcc8b38f3feef7171cf2bd665ac",
}
"""SHA-256 of 300 documents of stream -1. Where these change, raise WORLD_VERSION: old digests would name other text."""


CLEAN = Noise(**dict.fromkeys(Noise.model_fields, 0))


def corpora(seed: int, stream: int) -> dict[str, Iterator[str]]:
    return {
        "textbook": textbook.documents(seed, stream),
        "web": web.documents(seed, stream, Noise()),
        "neutral": neutral.documents(seed, stream),
    }


def first(documents: Iterator[str], characters: int) -> list[str]:
    out, total = [], 0
    while total < characters:
        out.append(next(documents))
        total += len(out[-1])
    return out


def test_the_bytes_are_the_ones_this_world_version_names() -> None:
    found = {name: hashlib.sha256("\0".join(islice(docs, 300)).encode()).hexdigest() for name, docs in corpora(0, -1).items()}
    assert (world.WORLD_VERSION, found) == (1, BYTES)


def test_streams_and_seeds_are_independent_and_repeatable() -> None:
    for name in ("textbook", "web", "neutral"):
        texts = {(seed, stream): tuple(islice(corpora(seed, stream)[name], 20)) for seed in (0, 1) for stream in (-2, -1, 0, 1, 2)}
        assert len(set(texts.values())) == len(texts), name
        assert texts[0, 1] == tuple(islice(corpora(0, 1)[name], 20)), name


def test_words_of_the_world_are_told_apart() -> None:
    assert len(set(world.KINDS)) == len(world.CLASSES) * world.KINDS_PER_CLASS
    properties = [word for of_class in world.PROPERTIES for word in of_class]
    endings = [end for _, end in world.SITUATIONS]
    for words in (properties, endings, [s for states, _ in world.SITUATIONS for s in states]):
        assert len(set(words)) == len(words)
    assert not set(properties) & ({*world.KINDS} | {world.plural(kind) for kind in world.KINDS})


def test_each_property_of_a_class_is_left_out_for_as_many_kinds() -> None:
    left_out = Counter((world.class_of(k), s) for k in range(len(world.KINDS)) for s in range(4) if not world.stated(k, s))
    assert set(left_out.values()) == {3}
    assert len(left_out) == len(world.CLASSES) * 4


def test_every_sum_can_be_learnt_from_other_pairs() -> None:
    assert [len(pairs) > 0 for pairs in world.SUMS_SEEN] == [True] * 29
    assert all(i + j == total and world.sum_seen(j, i) for total, pairs in enumerate(world.SUMS_SEEN, 2) for i, j in pairs)


def test_the_textbook_covers_every_kind_evenly() -> None:
    text = " ".join(first(textbook.documents(0, 0), 2_000_000))
    names = {form: kind for kind in world.KINDS for form in (kind, world.plural(kind))}
    counts = Counter(names[word] for word in re.findall(r"[a-z]+", text.lower()) if word in names)
    assert max(counts.values()) < 1.35 * min(counts[kind] for kind in world.KINDS)


def test_textbook_documents_hardly_ever_repeat() -> None:
    documents = first(textbook.documents(0, 0), 2_000_000)
    assert len(set(documents)) > 0.99 * len(documents)


def test_answers_of_sums_are_equally_frequent_in_the_textbook() -> None:
    text = " ".join(first(textbook.documents(0, 0), 2_000_000))
    answers = Counter(int(total) for total in re.findall(r"\d (?:\+|plus) \d+ (?:=|is) (\d+)", text))
    usual = sum(answers.values()) / 29
    assert all(0.75 * usual < answers[total] < 1.3 * usual for total in range(2, 31))


def test_neutral_shares_as_much_with_the_textbook_as_with_the_pages() -> None:
    """By pairs of words; pages without noise, so that it is their manner that is compared."""

    def pairs(documents: Iterator[str], characters: int) -> Counter[tuple[str, str]]:
        return Counter(pairwise(re.findall(r"\w+|[^\w\s]", "\n".join(first(documents, characters)))))

    mine = pairs(neutral.documents(0, -1), 100_000)
    others = [pairs(documents, 1_000_000) for documents in (textbook.documents(0, 0), web.documents(0, 0, CLEAN))]
    shares = [sum(n for pair, n in mine.items() if pair in other) / mine.total() for other in others]
    assert abs(shares[0] - shares[1]) < 0.04
    assert all(0.5 < share < 0.9 for share in shares)
