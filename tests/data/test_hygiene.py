"""Which documents are kept: every rule on documents made to break it, near-duplicates against the plain Jaccard similarity."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Literal

import pytest

from ablate.data import hygiene, sources
from ablate.data.hygiene import Tally, band_hashes, clean, distinct, normalised
from ablate.study.spec import Hygiene, Noise, Source

WORDS = [f"{a}{b}{c}" for a in "bdfgkl" for b in "aeiou" for c in "mnrst"]


def page(seed: int, words: int = 200) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def edited(text: str, changes: int, seed: int = 0) -> str:
    draw, words = random.Random(seed), text.split()
    for place in draw.sample(range(len(words)), changes):
        words[place] = "changed"
    return " ".join(words)


def similarity(a: str, b: str) -> float:
    """Jaccard similarity of the sets of 5-word shingles."""
    one, two = ({tuple(words[i : i + 5]) for i in range(len(words) - 4)} for words in (a.split(), b.split()))
    return len(one & two) / len(one | two)


def kept(texts: list[str], rules: Hygiene, is_held_out: Callable[[int], bool] = lambda key: False) -> tuple[list[hygiene.Document], Tally]:
    tally = Tally()
    return list(clean(texts, rules, is_held_out, tally)), tally


def test_normalised() -> None:
    assert normalised(" cafe\u0301\r\nau\rlait\n") == "caf\u00e9\nau\nlait"
    assert normalised("\ufb01t", "NFKC") == "fit"
    assert normalised(" a\r\n", "none") == " a\r\n"


def test_every_document_is_counted_under_one_reason_with_samples() -> None:
    texts = [" \n", "ab", "x" * 30, "fine text", "fine text ", "also fine", *["y" * 40] * 5]
    documents, tally = kept(texts, Hygiene(min_chars=3, max_chars=20))
    assert [d.text for d in documents] == ["fine text", "also fine"]
    assert tally.dropped == {"empty": 1, "short": 1, "long": 6, "duplicates": 1}
    assert tally.read == len(texts) == tally.kept + sum(tally.dropped.values())
    assert tally.samples == {"empty": [""], "short": ["ab"], "long": ["x" * 30, "y" * 40, "y" * 40], "duplicates": ["fine text"]}


def test_exact_duplicates_far_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hygiene.Seen, "PENDING", 10)
    texts = [f"document {n % 300}" for n in range(700)]
    tally = Tally()
    assert [text for text, _ in distinct(texts, Hygiene(), tally)] == texts[:300]
    assert tally.dropped == {"duplicates": 400}
    assert [text for text, _ in distinct(texts, Hygiene(dedup="none"), Tally())] == texts


def test_near_duplicates_are_found_as_often_as_the_similarity_says() -> None:
    pages = [page(n) for n in range(300)]
    for changes in (2, 6, 16):
        copies = [edited(text, changes, n) for n, text in enumerate(pages)]
        shares = [similarity(a, b) for a, b in zip(pages, copies, strict=True)]
        expected = sum(1 - (1 - s**hygiene.ROWS) ** hygiene.BANDS for s in shares) / len(shares)
        found = (band_hashes(pages) == band_hashes(copies)).any(axis=1).mean()
        assert abs(found - expected) < 0.1, f"{changes} words changed: found {found:.2f}, expected {expected:.2f} (tolerance 3.5 s.e.)"
    assert not (band_hashes(pages[1:]) == band_hashes(pages[:-1])).any(), "other pages are not alike"


def test_near_duplicates_are_dropped_across_blocks() -> None:
    pages = [page(n) for n in range(400)]
    documents, tally = kept([*pages, *(edited(text, 2) for text in pages)], Hygiene(dedup="near"))
    assert [d.text for d in documents[:400]] == pages
    assert 395 <= tally.dropped["near_duplicates"] <= 400
    short, _ = kept(["one two", "one two!", "two one", "!!", "??"], Hygiene(dedup="near"))
    assert [d.text for d in short] == ["one two", "two one", "!!", "??"]


def test_near_duplicates_stay_on_one_side_of_the_split() -> None:
    pages = [page(n) for n in range(400)]
    copies = [edited(text, 1, n) for n, text in enumerate(pages)]
    documents, tally = kept([*pages, *copies], Hygiene(), lambda key: key % 5 == 0)
    side = {d.text: d.held_out for d in documents}
    assert 50 < sum(side[text] for text in pages) < 110
    apart = [n for n, (a, b) in enumerate(zip(pages, copies, strict=True)) if b in side and side[a] != side[b]]
    assert len(apart) <= 1, "by its own hash every third pair would be apart"
    assert tally.kept == len(documents) >= 795


def test_a_document_alike_to_both_sides_is_dropped() -> None:
    between = [page(n) for n in range(80)]
    left = [" ".join([*edited(" ".join(text.split()[:100]), 5).split(), *text.split()[100:]]) for text in between]
    right = [" ".join([*text.split()[:100], *edited(" ".join(text.split()[100:]), 5).split()]) for text in between]
    aside = {hygiene.key_of(text) for text in left}
    documents, tally = kept([*left, *right, *between], Hygiene(), lambda key: key in aside)
    assert tally.dropped["straddles"] > 10
    bands = dict(zip([d.text for d in documents], band_hashes([d.text for d in documents]).tolist(), strict=True))
    held_out = {band for d in documents if d.held_out for band in bands[d.text]}
    assert [d.text for d in documents if not d.held_out and held_out & set(bands[d.text])] == []


def test_what_is_kept_does_not_depend_on_how_the_stream_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [edited(page(n % 50), n % 7, n) for n in range(200)]
    wanted = kept(texts, Hygiene(dedup="near"))
    monkeypatch.setattr(hygiene.hashes, "BLOCK_CHARACTERS", 1)
    assert kept(texts, Hygiene(dedup="near")) == wanted


def test_a_source_is_cleaned_as_it_says(tmp_path: Path) -> None:
    for n in range(60):
        (tmp_path / f"{n:02}.txt").write_text(page(n % 40) if n < 40 else edited(page(n % 40), 1, n))
    files = Source(files=str(tmp_path / "*.txt"))
    strict = files.model_copy(update={"hygiene": Hygiene(dedup="near")})
    both = [*sources.documents(files, 0), *sources.documents(files, sources.HELD_OUT)]
    assert len(both) == 60
    assert len([*sources.documents(strict, 0), *sources.documents(strict, sources.HELD_OUT)]) == 40
    assert len({sources.digest(s) for s in (files, strict)}) == 2
    assert sources.digest(files) == sources.digest(files.model_copy(update={"hygiene": Hygiene()})), "the default, written out"


def test_an_embedded_corpus_is_cleaned_only_if_asked() -> None:
    web, tally = Source(builtin="web", noise=Noise(duplicates=0.3, boilerplate=0)), Tally()
    cleaned = web.model_copy(update={"hygiene": Hygiene(dedup="near")})
    left = list(islice(sources.documents(cleaned, 0, tally), 600))
    assert tally.dropped["near_duplicates"] > 20, tally
    assert left != list(islice(sources.documents(web, 0), 600))
    assert sources.digest(cleaned) != sources.digest(web)


@pytest.mark.parametrize("dedup", ["exact", "near", "none"])
def test_counts_add_up_wherever_an_endless_source_is_left(dedup: Literal["exact", "near", "none"]) -> None:
    web, tally = Source(builtin="web", noise=Noise(duplicates=0.3), hygiene=Hygiene(dedup=dedup, min_chars=200)), Tally()
    for taken, _ in enumerate(islice(sources.documents(web, 0, tally), 300), 1):
        assert tally.kept == taken
        assert tally.read == tally.kept + sum(tally.dropped.values())
    assert tally.dropped["short"] > 3


@pytest.mark.shared_data
def test_near_copies_in_real_text(shared_data: Path) -> None:
    """317 stories, most paragraphs of which are also in the other file (the samples' README says so)."""
    head, other = (shared_data / "text" / name for name in ("tinystories_train_head.jsonl.gz", "tinystories_exllamav2.txt.gz"))
    texts = [text for path in (head, other) for text in sources.documents(Source(files=str(path), hygiene=Hygiene(dedup="none")), 0)]
    _, exact = kept(texts, Hygiene())
    _, near = kept(texts, Hygiene(dedup="near"))
    assert exact.dropped["duplicates"] < 10, "the files differ in white space"
    assert near.dropped["near_duplicates"] > 250
    assert near.kept + near.dropped["near_duplicates"] == exact.kept
