"""The embedded benchmarks: questions about the closed world whose answers no corpus states, in the textbook's words and in a page's.

An item's question (combination of facts, choices, their order) is the same in both registers; only the phrase differs. A fresh twin
takes other combinations of the same held-out pool, so no item is in both. The items of a block share their choices, and each choice
is right once: who knows only which words are frequent is at chance exactly, in every block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ablate.data import world
from ablate.data.phrases import PAGE, TEXTBOOK, Pair, Phrase, Phrases
from ablate.data.world import Draw, Fields, pick
from ablate.evals.items import Item

REGISTERS = {"textbook": TEXTBOOK, "page": PAGE}
ITEMS = 300
"""At least so many in each benchmark and register; more where templates times blocks do not make it up."""

Combination = tuple[int, ...]
Question = tuple[Fields, str]
"""What fills a template, and under which name the answer is in it."""


def _unstated() -> list[Combination]:
    return [(kind, slot) for kind in range(len(world.KINDS)) for slot in range(len(world.SLOTS)) if not world.stated(kind, slot)]


def _property(_: Draw, kind: int, slot: int) -> Fields:
    return world.fact_fields(kind, slot, world.class_of(kind))


def _deduction(draw: Draw, kind: int, slot: int) -> Fields:
    return world.named_fields(kind, slot, world.class_of(kind), pick(draw, world.PETS), pick(draw, world.PEOPLE))


def _unseen_kinds() -> list[Combination]:
    kinds = range(len(world.KINDS))
    return [(i, j) for i in kinds for j in kinds if world.class_of(i) != world.class_of(j) and not world.pair_seen(i, j)]


def _which(draw: Draw, kind: int, other: int) -> Fields:
    return world.which_fields(kind, other, pick(draw, world.STATED_SLOTS[kind]), draw() < 0.5, pick(draw, world.PEOPLE))


def _unseen_sums() -> list[Combination]:
    terms = range(1, world.LARGEST_TERM + 1)
    return [(i, j) for i in terms for j in terms if not world.sum_seen(i, j)]


def _sum(draw: Draw, i: int, j: int) -> Fields:
    return world.sum_fields(i, j, i + j, pick(draw, world.PEOPLE), pick(draw, world.THINGS))


def _unseen_numbers() -> list[Combination]:
    numbers = range(1, world.LARGEST_NUMBER + 1)
    return [(i, j, larger) for i in numbers for j in numbers for larger in (0, 1) if i != j and not world.numbers_seen(i, j)]


def _numbers(draw: Draw, i: int, j: int, larger: int) -> Fields:
    person, other = world.shuffled(draw, world.PEOPLE)[:2]
    return world.number_fields(i, j, bool(larger), person, other, pick(draw, world.THINGS))


def _unseen_stories() -> list[Combination]:
    people, situations = range(len(world.PEOPLE)), range(len(world.SITUATIONS))
    return [(p, s, v) for p in people for s in situations for v in (0, 1) if not world.situation_seen(world.PEOPLE[p], s)]


def _story(draw: Draw, person: int, situation: int, variant: int) -> Fields:
    other = pick(draw, world.PEOPLE[:person] + world.PEOPLE[person + 1 :])
    place, weather = pick(draw, world.PLACES), pick(draw, world.WEATHER)
    return world.story_fields(world.PEOPLE[person], other, place, situation, situation, variant, weather)


def _unseen_scenes() -> list[Combination]:
    kinds, places = range(len(world.KINDS)), range(len(world.PLACES))
    return [(k, p) for k in kinds for p in places if not world.scene_seen(world.KINDS[k], world.PLACES[p])]


def _scene(draw: Draw, kind: int, place: int) -> Fields:
    return world.scene_fields(kind, world.PLACES[place], pick(draw, world.PEOPLE))


def _unseen_habits() -> list[Combination]:
    people, places = range(len(world.PEOPLE)), range(len(world.PLACES))
    return [(w, p) for w in people for p in places if not world.scene_seen(world.PEOPLE[w], world.PLACES[p])]


def _habit(_: Draw, person: int, place: int) -> Fields:
    return world.habit_fields(world.PEOPLE[person], world.PLACES[place])


@dataclass(frozen=True)
class _Part:
    """The held-out combinations of one kind, and what makes items of them."""

    phrases: Callable[[Phrases], Sequence[Phrase | Pair]]
    pool: Callable[[], list[Combination]]
    fields: Callable[..., Fields]
    block: Callable[..., object] = lambda *_: None
    """Combinations may be in one block where this is the same for them ..."""
    answer: Callable[..., object] = lambda *combination: combination
    """... and this differs."""


@dataclass(frozen=True)
class _Embedded:
    group: str
    choices: int
    parts: tuple[_Part, ...]


_BENCHMARKS = {
    "inherited_property": _Embedded(
        "common_sense", 4, (_Part(lambda p: p.facts, _unstated, _property, lambda k, s: s, lambda k, s: world.class_of(k)),)
    ),
    "which_kind": _Embedded("common_sense", 2, (_Part(lambda p: p.which, _unseen_kinds, _which, lambda i, j: {i, j}),)),
    "grammar": _Embedded(
        "language", 2, (_Part(lambda p: p.scenes, _unseen_scenes, _scene), _Part(lambda p: p.habits, _unseen_habits, _habit))
    ),
    "deduction": _Embedded(
        "reasoning", 4, (_Part(lambda p: p.deductions, _unstated, _deduction, lambda k, s: s, lambda k, s: world.class_of(k)),)
    ),
    "unseen_sums": _Embedded(
        "arithmetic", 4, (_Part(lambda p: p.sums, _unseen_sums, _sum, lambda i, j: (i + j - 6) // 7, lambda i, j: i + j),)
    ),
    "comparing_numbers": _Embedded(
        "arithmetic", 2, (_Part(lambda p: p.numbers, _unseen_numbers, _numbers, lambda i, j, larger: (i, j)),)
    ),
    "story_completion": _Embedded(
        "story", 4, (_Part(lambda p: p.stories, _unseen_stories, _story, answer=lambda p, s, v: s),)
    ),
}

NAMES = {name: benchmark.group for name, benchmark in _BENCHMARKS.items()}
"""Each embedded benchmark and the group it is reported in."""


def chance(name: str) -> float:
    """The accuracy of blind guessing."""
    return 1 / _BENCHMARKS[name].choices


def items(name: str, register: str, fresh: bool) -> list[Item]:
    """The items of one benchmark in one register ("textbook" or "page"); always the same ones."""
    benchmark = _BENCHMARKS[name]
    size = benchmark.choices if name != "grammar" else 1
    templates = sum(len(part.phrases(TEXTBOOK)) for part in benchmark.parts)
    blocks = -(-ITEMS // (templates * size))
    out: list[Item] = []
    for number, part in enumerate(benchmark.parts):
        for index, phrase in enumerate(part.phrases(REGISTERS[register])):
            template = f"{name}.{number}.{index}"
            order = world.generator(0, 0, template).random
            taken = _blocks(part, size, world.shuffled(order, part.pool()))[blocks * fresh : blocks * (fresh + 1)]
            draw = world.generator(0, int(fresh), f"{template} words").random
            for block in taken:
                filled = [part.fields(draw, *combination) for combination in block]
                out += [_pair(phrase, f, n) for n, f in enumerate(filled)] if isinstance(phrase, Pair) else _block(draw, phrase, filled, template)
    return out
