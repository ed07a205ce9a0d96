"""The embedded benchmarks: questions about the closed world whose answers no corpus states, in the textbook's words and in a page's.

An item's question (combination of facts, wrong choices, order) is the same in both registers; only the phrase differs. A fresh twin
takes other combinations of the same held-out pool, so no item is in both. Wrong choices are right answers of other items,
drawn alike for every answer: who knows only how often a word is used is at chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ablate.data import world
from ablate.data.phrases import PAGE, TEXTBOOK, Pair, Phrase, Phrases
from ablate.data.world import Draw, Fields, pick
from ablate.evals.items import Item

REGISTERS = {"textbook": TEXTBOOK, "page": PAGE}
ITEMS = 320
"""At least so many in each benchmark and register; more where the templates do not divide it."""

Combination = tuple[int, ...]
Question = tuple[Fields, list[Fields]]
"""What fills a template rightly, and what fills it wrongly, once for each wrong choice."""


def _others(draw: Draw, right: int, count: int, options: int) -> list[int]:
    return world.shuffled(draw, [o for o in range(options) if o != right])[:count]


def _unstated() -> list[Combination]:
    return [(kind, slot) for kind in range(len(world.KINDS)) for slot in range(len(world.SLOTS)) if not world.stated(kind, slot)]


def _property(draw: Draw, kind: int, slot: int) -> Question:
    group = world.class_of(kind)
    return world.fact_fields(kind, slot, group), [
        world.fact_fields(kind, slot, other) for other in _others(draw, group, 3, len(world.CLASSES))
    ]


def _deduction(draw: Draw, kind: int, slot: int) -> Question:
    right, wrong = _property(draw, kind, slot)
    named = world.named_fields(kind, slot, world.class_of(kind), pick(draw, world.PETS), pick(draw, world.PEOPLE))
    return right | named, [named | {"v": fields["v"]} for fields in wrong]


def _unseen_kinds() -> list[Combination]:
    kinds = range(len(world.KINDS))
    return [(i, j) for i in kinds for j in kinds if world.class_of(i) != world.class_of(j) and not world.pair_seen(i, j)]


def _which(draw: Draw, kind: int, other: int) -> Question:
    right = world.which_fields(kind, other, pick(draw, world.STATED_SLOTS[kind]), draw() < 0.5, pick(draw, world.PEOPLE))
    return right, [right | {"n": right["other"]}]


def _unseen_sums() -> list[Combination]:
    terms = range(1, world.LARGEST_TERM + 1)
    return [(i, j) for i in terms for j in terms if not world.sum_seen(i, j)]


def _sum(draw: Draw, i: int, j: int) -> Question:
    """Three sums near the right one; the right one is as often the smallest, second, third or largest of the four."""
    below = int(draw() * 4)
    near = [-step for step in _others(draw, 0, below, 4)] if below else []
    near += _others(draw, 0, 3 - below, 4)
    right = world.sum_fields(i, j, i + j, pick(draw, world.PEOPLE), pick(draw, world.THINGS))
    return right, [right | {"k": str(i + j + step)} for step in near]


def _unseen_numbers() -> list[Combination]:
    numbers = range(1, world.LARGEST_NUMBER + 1)
    return [(i, j, larger) for i in numbers for j in numbers for larger in (0, 1) if i != j and not world.numbers_seen(i, j)]


def _numbers(draw: Draw, i: int, j: int, larger: int) -> Question:
    person, other = world.shuffled(draw, world.PEOPLE)[:2]
    right = world.number_fields(i, j, bool(larger), person, other, pick(draw, world.THINGS))
    return right, [right | {"k": right["o"]}]


def _unseen_stories() -> list[Combination]:
    people, situations = range(len(world.PEOPLE)), range(len(world.SITUATIONS))
    return [(p, s, v) for p in people for s in situations for v in (0, 1) if not world.situation_seen(world.PEOPLE[p], s)]


def _story(draw: Draw, person: int, situation: int, variant: int) -> Question:
    told = [situation, *_others(draw, situation, 3, len(world.SITUATIONS))]
    other = pick(draw, world.PEOPLE[:person] + world.PEOPLE[person + 1 :])
    place, weather = pick(draw, world.PLACES), pick(draw, world.WEATHER)
    right, *wrong = (world.story_fields(world.PEOPLE[person], other, place, situation, t, variant, weather) for t in told)
    return right, wrong


def _unseen_scenes() -> list[Combination]:
    kinds, places = range(len(world.KINDS)), range(len(world.PLACES))
    return [(k, p) for k in kinds for p in places if not world.scene_seen(world.KINDS[k], world.PLACES[p])]


def _scene(draw: Draw, kind: int, place: int) -> Question:
    return world.scene_fields(kind, world.PLACES[place], pick(draw, world.PEOPLE)), []


def _unseen_habits() -> list[Combination]:
    people, places = range(len(world.PEOPLE)), range(len(world.PLACES))
    return [(w, p) for w in people for p in places if not world.scene_seen(world.PEOPLE[w], world.PLACES[p])]


def _habit(_: Draw, person: int, place: int) -> Question:
    return world.habit_fields(world.PEOPLE[person], world.PLACES[place]), []


@dataclass(frozen=True)
class _Part:
    """The held-out combinations of one kind, the phrases that ask for them, and what fills the phrases."""

    phrases: Callable[[Phrases], Sequence[Phrase | Pair]]
    pool: Callable[[], list[Combination]]
    question: Callable[..., Question]


@dataclass(frozen=True)
class _Embedded:
    group: str
    choices: int
    parts: tuple[_Part, ...]


_BENCHMARKS = {
    "inherited_property": _Embedded("common_sense", 4, (_Part(lambda p: p.facts, _unstated, _property),)),
    "which_kind": _Embedded("common_sense", 2, (_Part(lambda p: p.which, _unseen_kinds, _which),)),
    "grammar": _Embedded(
        "language",
        2,
        (_Part(lambda p: p.scenes, _unseen_scenes, _scene), _Part(lambda p: p.habits, _unseen_habits, _habit)),
    ),
    "deduction": _Embedded("reasoning", 4, (_Part(lambda p: p.deductions, _unstated, _deduction),)),
    "unseen_sums": _Embedded("arithmetic", 4, (_Part(lambda p: p.sums, _unseen_sums, _sum),)),
    "comparing_numbers": _Embedded("arithmetic", 2, (_Part(lambda p: p.numbers, _unseen_numbers, _numbers),)),
    "story_completion": _Embedded("story", 4, (_Part(lambda p: p.stories, _unseen_stories, _story),)),
}

NAMES = {name: benchmark.group for name, benchmark in _BENCHMARKS.items()}
"""Each embedded benchmark and the group it is reported in."""


def chance(name: str) -> float:
    """The accuracy of blind guessing."""
    return 1 / _BENCHMARKS[name].choices


def items(name: str, register: str, fresh: bool) -> list[Item]:
    """The items of one benchmark in one register ("textbook" or "page"); always the same ones."""
    benchmark = _BENCHMARKS[name]
    draw = world.generator(0, int(fresh), name).random
    templates = sum(len(part.phrases(TEXTBOOK)) for part in benchmark.parts)
    per_template = -(-ITEMS // templates)
    return [
        item
        for number, part in enumerate(benchmark.parts)
        for item in _part_items(part, f"{name}{number}", register, slice(per_template * fresh, per_template * (fresh + 1)), draw)
    ]


def _part_items(part: _Part, label: str, register: str, taken: slice, draw: Draw) -> Iterator[Item]:
    """From every template's own shuffle of the pool, the items in `taken`."""
    order = world.generator(0, 0, f"{label} order").random
    pool = part.pool()
    for index, phrase in enumerate(part.phrases(REGISTERS[register])):
        for number, combination in enumerate(world.shuffled(order, pool)[taken]):
            yield _item(draw, phrase, part.question(draw, *combination), number, f"{label}.{index}")


def _item(draw: Draw, phrase: Phrase | Pair, question: Question, number: int, template: str) -> Item:
    right, wrong = question
    if isinstance(phrase, Pair):
        context, choices = "", [phrase.said.format_map(right), phrase.broken.format_map(right)]
    else:
        context, choices = phrase.context.format_map(right), [phrase.answer.format_map(fields) for fields in (right, *wrong)]
    answer = number % len(choices)
    others = world.shuffled(draw, choices[1:])
    return Item(context, (*others[:answer], choices[0], *others[answer:]), answer, template)
