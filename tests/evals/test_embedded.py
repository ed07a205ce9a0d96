"""The embedded benchmarks: nothing to be copied from a corpus, nothing to be had from frequencies, the same questions in both registers."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice

import pytest

from ablate.data import neutral, textbook, web, world
from ablate.data.phrases import PAGE, TEXTBOOK, Phrase
from ablate.evals import embedded
from ablate.evals.items import Item
from ablate.study.spec import Noise

SETS = [(name, register, fresh) for name in embedded.NAMES for register in embedded.REGISTERS for fresh in (False, True)]
CHARACTERS = 2_000_000


def read(documents: Iterator[str]) -> list[str]:
    out, total = [], 0
    while total < CHARACTERS:
        out.append(next(documents))
        total += len(out[-1])
    return out


@pytest.fixture(scope="module")
def corpora() -> dict[str, list[str]]:
    return {
        "textbook": read(textbook.documents(0, 0)),
        "web": read(web.documents(0, 0, Noise())),
        "clean web": read(web.documents(1, 3, Noise(**dict.fromkeys(Noise.model_fields, 0)))),
        "neutral": read(neutral.documents(0, -1)),
    }


def words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z0-9]+|[+=|>]", text.lower()))


def said(item: Item) -> str:
    return item.context + item.choices[item.answer]


def test_there_are_enough_items_and_chance_is_what_it_says() -> None:
    assert len(set(embedded.NAMES.values())) >= 5
    for name, register, fresh in SETS:
        items = embedded.items(name, register, fresh)
        assert len(items) >= 300
        assert len({item.template for item in items}) >= 8
        assert {1 / len(item.choices) for item in items} == {embedded.chance(name)}
        assert all(len(set(item.choices)) == len(item.choices) for item in items)
        assert all(item.context or name == "grammar" for item in items)


def test_no_position_is_right_more_often_than_another() -> None:
    for name, register, fresh in SETS:
        items = embedded.items(name, register, fresh)
        places = Counter(item.answer for item in items)
        assert max(places.values()) == min(places.values()), name


def test_fresh_twins_ask_other_questions_with_the_same_templates() -> None:
    for name in embedded.NAMES:
        for register in embedded.REGISTERS:
            first, fresh = (embedded.items(name, register, f) for f in (False, True))
            assert not {said(item) for item in first} & {said(item) for item in fresh}
            assert {item.template for item in first} == {item.template for item in fresh}


def test_both_registers_ask_the_same_and_say_it_differently() -> None:
    for name in embedded.NAMES:
        plain, page = (embedded.items(name, register, False) for register in ("textbook", "page"))
        assert [(i.template, i.answer) for i in plain] == [(i.template, i.answer) for i in page]
        if name != "grammar":
            assert [i.choices for i in plain] == [i.choices for i in page]
        assert sum(a.context + a.choices[0] == b.context + b.choices[0] for a, b in zip(plain, page, strict=True)) == 0


def test_no_item_with_its_answer_is_written_in_any_corpus(corpora: dict[str, list[str]]) -> None:
    """Normalised: case, punctuation and spacing do not hide a copy."""
    answers: defaultdict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
    for name, register, fresh in SETS:
        for item in embedded.items(name, register, fresh):
            sentence = words(said(item))
            answers[sentence[:4]].append(sentence)
    openings = 0
    for name, documents in corpora.items():
        for document in documents:
            text = words(document)
            for at in range(len(text) - 3):
                for sentence in answers.get(text[at : at + 4], ()):
                    openings += 1
                    assert text[at : at + len(sentence)] != sentence, (name, sentence)
    assert openings > 1000  # the templates do occur: the check is not blind


def test_no_held_out_fact_is_stated_in_any_words(corpora: dict[str, list[str]]) -> None:
    """No sentence names a kind together with the property that is left out for it."""
    names = {form: kind for kind, name in enumerate(world.KINDS) for form in (name, world.plural(name))}
    unstated = [(kind, slot) for kind in range(len(world.KINDS)) for slot in range(4) if not world.stated(kind, slot)]
    left_out = {kind: world.PROPERTIES[world.class_of(kind)][slot] for kind, slot in unstated}
    together = 0
    for name, documents in corpora.items():
        for sentence in re.split(r"[.?!\n]", "\n".join(documents).lower()):
            found = set(re.findall(r"[a-z]+", sentence))
            for kind in {names[word] for word in found & names.keys()}:
                together += 1
                assert left_out[kind] not in found, (name, sentence)
    assert together > 50_000


def test_no_held_out_sum_is_added_in_any_words(corpora: dict[str, list[str]]) -> None:
    text = "\n".join(document for documents in corpora.values() for document in documents if re.search(r"\d \D*\d", document))
    forms = [phrase.said for phrase in (*TEXTBOOK.sums, *PAGE.sums)] + list(neutral.SUMS)
    forms += [r"{i} + {j}", r"{i} plus {j}", r"{j} more from {i}:"]
    for form in forms:
        pattern = re.escape(form).replace(r"\{i\}", r"\b(?P<i>\d+)").replace(r"\{j\}", r"(?P<j>\d+)\b", 1)
        pattern = re.sub(r"\\\{\w\w*\\\}", r"\\w+", pattern)
        found = [(int(m["i"]), int(m["j"])) for m in re.finditer(pattern, text)]
        assert len(found) > 20, form
        assert all(world.sum_seen(i, j) for i, j in found if max(i, j) <= world.LARGEST_TERM), form


def test_held_out_pairs_and_stories_never_meet(corpora: dict[str, list[str]]) -> None:
    text = "\n".join(document for name, documents in corpora.items() for document in documents if name != "web")
    happened = {state: situation for situation, (states, _) in enumerate(world.SITUATIONS) for state in states}
    told = re.findall(rf"\b({'|'.join(world.PEOPLE)}) ({'|'.join(happened)})\b", text)
    assert len(told) > 1000
    assert all(world.situation_seen(person, happened[state]) for person, state in told)
    vs = re.findall(r"\ban? (\w+) (?:and|or|vs) an? (\w+)\b", text)
    kinds = {name: kind for kind, name in enumerate(world.KINDS)}
    pairs = [(kinds[x], kinds[y]) for x, y in vs if x in kinds and y in kinds]
    assert len(pairs) > 1000
    assert all(world.pair_seen(x, y) for x, y in pairs)


def test_who_knows_only_frequencies_is_at_chance(corpora: dict[str, list[str]]) -> None:
    """Choosing the choice that a corpus writes most often, alone or behind the template's last word, gains nothing."""
    for corpus in ("textbook", "web"):
        text = " " + " ".join(corpora[corpus])
        counts: dict[str, int] = {}
        for name, register, fresh in SETS:
            if name == "grammar":
                continue
            items = embedded.items(name, register, fresh)
            hits = 0
            for item in items:
                for choice in item.choices:
                    if choice not in counts:
                        counts[choice] = text.count(choice)
                hits += max(range(len(item.choices)), key=lambda c: (counts[item.choices[c]], -c)) == item.answer
            assert hits / len(items) == pytest.approx(embedded.chance(name), abs=0.02), (corpus, name)


def test_the_middle_of_four_sums_is_not_the_safe_guess() -> None:
    for rank in range(4):
        items = embedded.items("unseen_sums", "textbook", False)
        hits = sum(sorted(map(int, item.choices))[rank] == int(item.choices[item.answer]) for item in items)
        assert hits == len(items) / 4


def test_answers_are_true() -> None:
    for item in islice(embedded.items("unseen_sums", "textbook", False), 400):
        numbers = [int(n) for n in re.findall(r"\d+", item.context)]
        assert sum(numbers) == int(item.choices[item.answer])
    for item in embedded.items("inherited_property", "textbook", True):
        kind = next(k for k, name in enumerate(world.KINDS) if {name, world.plural(name)} & set(words(item.context)))
        assert item.choices[item.answer].strip() in world.PROPERTIES[world.class_of(kind)]


def test_the_forms_of_both_registers_occur_in_their_corpus(corpora: dict[str, list[str]]) -> None:
    for corpus, register in (("textbook", TEXTBOOK), ("web", PAGE)):
        text = "\n".join(corpora[corpus])
        phrases = [p for group in (register.facts, register.which, register.deductions, register.numbers, register.stories) for p in group]
        for phrase in phrases:
            assert isinstance(phrase, Phrase)
            fixed = max(re.split(r"\{\w+\}", phrase.said), key=len)
            assert text.count(fixed) > 20, (corpus, phrase.said)
