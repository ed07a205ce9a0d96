"""`builtin:web`: each kind of noise comes in the share that was asked for, alone, and leaves no trace at 0."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice

import pytest

from ablate.data import noise as junk
from ablate.data import textbook, web, world
from ablate.study.spec import Noise

CLEAN = Noise(**dict.fromkeys(Noise.model_fields, 0))
PAGES = 4000


def pages(count: int = PAGES, **noise: float) -> list[str]:
    return list(islice(web.documents(0, 0, Noise(**(CLEAN.model_dump() | noise))), count))


def lines_of(texts: list[str]) -> list[str]:
    return [line for text in texts for line in text.split("\n")]


def shape(template: str) -> re.Pattern[str]:
    return re.compile("\\w+".join(re.escape(part) for part in re.split(r"\{\w+\}", template)))


FURNITURE = [shape(t) for t in junk.FURNITURE]
ADVERTS = [shape(t) for t in junk.ADVERTS]
CHATTER = [shape(t) for t in junk.CHATTER]
OFF_TOPIC = [shape(t) for subject in junk.SUBJECTS for t in subject]


def any_full(patterns: list[re.Pattern[str]], line: str) -> bool:
    return any(p.fullmatch(line) for p in patterns)


def is_off_topic(page: str) -> bool:
    return any(p.search(page) for p in OFF_TOPIC)


@pytest.fixture(scope="module")
def clean() -> list[str]:
    return pages()


def test_at_zero_there_is_no_noise_at_all(clean: list[str]) -> None:
    assert not any(is_off_topic(page) for page in clean)
    assert not any(any_full(FURNITURE + ADVERTS + CHATTER, line) for line in lines_of(clean))
    known = set(re.findall(r"[a-z]+", " ".join(islice(web.documents(1, 1, CLEAN), 4 * PAGES)).lower()))
    assert set(re.findall(r"[a-z]+", " ".join(clean).lower())) <= known
    assert not any(line.endswith(("...", "[...]")) for line in lines_of(clean))


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_off_topic_is_the_share_of_pages(share: float) -> None:
    found = sum(is_off_topic(page) for page in pages(off_topic=share)) / PAGES
    assert found == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("share", [0.1, 0.47, 0.8])
def test_boilerplate_is_the_share_of_characters(share: float, clean: list[str]) -> None:
    noisy = pages(boilerplate=share)
    content = sum(map(len, lines_of(clean)))
    assert 1 - content / sum(map(len, lines_of(noisy))) == pytest.approx(share, abs=0.02)
    rest = [[line for line in page.split("\n") if not any_full(FURNITURE, line)] for page in noisy[:200]]
    assert ["\n".join(page) for page in rest] == clean[:200]


def test_adverts_follow_that_share_of_paragraphs(clean: list[str]) -> None:
    extra = len(lines_of(pages(adverts=0.3))) - len(lines_of(clean))
    assert extra / len(lines_of(clean)) == pytest.approx(0.3, abs=0.02)


def test_comments_end_that_share_of_pages(clean: list[str]) -> None:
    longer = [noisy != page and noisy.startswith(page) for noisy, page in zip(pages(comments=0.3), clean, strict=True)]
    assert sum(longer) / PAGES == pytest.approx(0.3, abs=0.03)


def test_duplicates_are_that_share_of_pages_and_nearly_the_same() -> None:
    seen: list[set[str]] = []
    copies = 0
    for page in pages(duplicates=0.3):
        lines = set(page.split("\n"))
        copies += any(len(lines & earlier) >= max(len(earlier) - 1, 1) for earlier in seen[-90:])
        seen.append(lines)
    assert copies / PAGES == pytest.approx(0.3, abs=0.05)
    assert len(set(pages(duplicates=0.0))) > 0.97 * PAGES


def test_typos_strike_that_share_of_words(clean: list[str]) -> None:
    pairs = [
        (good, bad)
        for page, noisy in zip(clean, pages(typos=0.2), strict=True)
        for good, bad in zip(page.split(), noisy.split(), strict=True)
        if len(good) >= 4 and good.isalpha()
    ]
    struck = [(good, bad) for good, bad in pairs if good != bad]
    assert len(struck) / len(pairs) == pytest.approx(0.2, abs=0.03)
    assert all(abs(len(good) - len(bad)) <= 1 and good[0] == bad[0] for good, bad in struck)


def test_cut_off_breaks_that_share_of_paragraphs(clean: list[str]) -> None:
    cut = [good != bad for good, bad in zip(lines_of(clean), lines_of(pages(cut_off=0.2)), strict=True)]
    assert sum(cut) / len(cut) == pytest.approx(0.2, abs=0.03)


def test_mistakes_are_that_share_of_the_sums_and_none_at_zero(clean: list[str]) -> None:
    def wrong(texts: list[str]) -> list[bool]:
        return [int(i) + int(j) != int(k) for i, j, k in re.findall(r"(\d+) \+ (\d+) (?:=|is) (\d+)", "\n".join(texts))]

    assert len(wrong(clean)) > 300
    assert not any(wrong(clean))
    found = wrong(pages(mistakes=0.3))
    assert sum(found) / len(found) == pytest.approx(0.3, abs=0.05)


def test_the_long_tail_has_its_exponent_and_is_even_at_zero(clean: list[str]) -> None:
    def counts(texts: list[str]) -> list[int]:
        titles = Counter(m for text in texts for m in re.findall(r"^All about the (\w+)", text))
        return [n for _, n in titles.most_common()]

    even, skewed = counts(pages(30000)), counts(pages(30000, long_tail=1.0))
    assert len(even) > 0.9 * len(world.KINDS)
    assert even[0] < 0.03 * sum(even)
    assert skewed[0] / sum(skewed) == pytest.approx(1 / sum(1 / r for r in range(1, 97)), abs=0.04)


def test_one_kind_of_noise_leaves_the_pages_of_the_others_alone() -> None:
    """The same subjects come in the same order whatever the noise: arms that differ in one kind differ in nothing else."""
    plain, noisy = pages(300, comments=0.3), pages(300, comments=0.3, adverts=0.2, boilerplate=0.3)
    kept = [[line for line in page.split("\n") if not any_full(FURNITURE + ADVERTS, line)] for page in noisy]
    assert ["\n".join(page) for page in kept] == plain


def test_all_noise_at_its_limit_still_gives_documents() -> None:
    full = Noise(**(dict.fromkeys(Noise.model_fields, 1) | {"long_tail": 3}))
    assert all(islice(web.documents(0, 0, full), 200))


def test_clean_pages_are_still_pages() -> None:
    """Without noise the register stays: a study can tell cleanliness from style."""
    sentences = {s for d in islice(textbook.documents(0, 0), 3000) for s in re.split(r"(?<=[.?]) ", d)}
    lines = lines_of(pages(500))
    assert sum(line in sentences for line in lines) < 0.1 * len(lines)
