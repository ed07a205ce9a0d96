"""What is cut out of documents that hold benchmark items, and that nothing else is."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.data import decontaminate, overlap
from ablate.data.decontaminate import Screen
from ablate.data.hygiene import Tally
from benchmarks import overlap as planting

ITEM = "Anna has 14 red apples, buys 27 more at the market and gives 9 of them to her sister Maria before noon."
AROUND = [" ".join(random.Random(n).choices(["bird", "song", "over", "the", "hill", "and", "away"], k=150)) for n in range(12)]


def screen(*items: str, action: Any = "remove_span", n: int = 13) -> Screen:
    return Screen(action, n, items)


def left(documents: list[str], tally: Tally | None = None, **rules: Any) -> list[str]:
    return list(screen(ITEM, "too short", **rules).apply(documents, tally or Tally(kept=len(documents))))


def test_clean_documents_pass_as_they_are() -> None:
    near = ITEM.replace("red", "green").replace("27", "28").replace("sister", "cousin")
    assert left([*AROUND, near, "", "ITEM"]) == [*AROUND, near, "", "ITEM"]


def test_a_document_is_dropped() -> None:
    tally = Tally(kept=3)
    assert left([AROUND[0], f"{AROUND[1]} ANNA has\n14 red apples; {ITEM[23:]}", AROUND[2]], tally, action="drop_document") == [
        AROUND[0],
        AROUND[2],
    ]
    assert (tally.kept, tally.dropped) == (2, {"contaminated": 1})


def test_a_span_is_cut_out_with_what_is_around_it() -> None:
    tally = Tally(kept=1)
    before, after = left([f"{AROUND[0]} {ITEM} {AROUND[1]}"], tally)
    assert AROUND[0].startswith(before) and AROUND[1].endswith(after)
    for kept, whole in ((before, AROUND[0]), (after, AROUND[1])):
        assert len(whole) - len(kept) == pytest.approx(200, abs=3)
    assert (tally.kept, tally.dropped, tally.cut) == (1, {}, {"contaminated_span": 1})


def test_short_pieces_and_documents_in_many_pieces_are_dropped() -> None:
    tally = Tally(kept=3)
    many = f" {ITEM} ".join(AROUND)
    assert left([f"{AROUND[0][:300]} {ITEM} {AROUND[1]}", ITEM, many], tally)[0] in AROUND[1]
    assert tally.cut == {"contaminated_span": 1, "contaminated_piece": 1}
    assert (tally.kept, tally.dropped) == (1, {"contaminated": 2}), "read = kept + dropped"
    assert len(left([f" {ITEM} ".join(AROUND[:9])])) == 9


@pytest.mark.parametrize("before", ["one word a line\n" * 20_000, "\u4e00" * 300_000 + "\n", "\u3000".join(["abc"] * 90_000) + "\n"])
def test_the_right_place_is_cut_where_no_plain_space_is_near(before: str) -> None:
    item = ITEM.replace(" ", "\n")
    (kept, after) = left([before.replace(" ", "\n") + item + "\n" + "end\n" * 200])
    assert before.replace(" ", "\n").startswith(kept)
    assert len(before) - len(kept) == pytest.approx(200, abs=3)
    assert set(after.split()) == {"end"}


@given(st.text("ab \n.,é\uffff\U0001f600", max_size=80))
@settings(max_examples=200, deadline=None)
def test_words_lie_where_they_are_said_to(text: str) -> None:
    spans = decontaminate._word_spans(text)
    words, _ = decontaminate.hashes.words([text])
    assert len(spans) == len(words)
    assert [int(decontaminate.hashes.words([text[a:b]])[0][0]) for a, b in spans] == words.tolist()


def test_no_planted_item_is_found_afterwards() -> None:
    background = planting.pages(300)
    made = planting.items(background, 30)
    texts = tuple(item.item for item in made)
    tally = Tally()
    for action in ("drop_document", "remove_span"):
        cleaned = list(screen(*texts, action=action).apply(planting.planted(background, made), tally))
        found = overlap.Overlap([texts])
        found.read(cleaned)
        (values,) = found.values()
        assert found._n == [13]
        assert np.nansum(values["gpt3"]) == 0, action
        assert len(cleaned) > 200
