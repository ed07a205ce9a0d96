"""The embedded benchmarks: questions about the closed world whose answers no corpus states, in the textbook's words and in a page's.

An item's question (combination of facts, choices, their order) is the same in both registers; only the phrase differs. A fresh twin
takes other combinations of the same held-out pool, so no item is in both. The items of a block share their choices, and each choice
is right once: who knows only which words are frequent is at chance exactly, in every block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice

from ablate.data import world
from ablate.data.phrases import PAGE, TEXTBOOK, Pair, Phrase, Phrases
from ablate.data.world import Draw, Fields, pick
from ablate.evals.items import Item

REGISTERS = {"textbook": TEXTBOOK, "page": PAGE}
ITEMS = 300
"""At least so many in each benchmark and register; more where templates times blocks do not make it up."""

_NEAR = 10
"""The four sums of a block lie within a range of so many."""

Combination = tuple[int, ...]


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
    return world.number_fields(i, j, bool(larger), *world.two_people(draw), pick(draw, world.THINGS))


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
    choices: int
    pool: Callable[[], list[Combination]]
    fields: Callable[..., Fields]
    block: Callable[..., object] = lambda *_: None
    """Combinations may be in one block where this is the same for them ..."""
    answer: Callable[..., object] = lambda *combination: combination
    """... and this is not."""


@dataclass(frozen=True)
class _Embedded:
    group: str
    parts: tuple[_Part, ...]


def _class_and_slot(phrases: Callable[[Phrases], Sequence[Phrase]], fields: Callable[..., Fields]) -> _Part:
    return _Part(phrases, 4, _unstated, fields, lambda kind, slot: slot, lambda kind, slot: world.class_of(kind))


_BENCHMARKS = {
    "inherited_property": _Embedded("common_sense", (_class_and_slot(lambda p: p.facts, _property),)),
    "which_kind": _Embedded("common_sense", (_Part(lambda p: p.which, 2, _unseen_kinds, _which, lambda i, j: frozenset((i, j))),)),
    "grammar": _Embedded(
        "language", (_Part(lambda p: p.scenes, 2, _unseen_scenes, _scene), _Part(lambda p: p.habits, 2, _unseen_habits, _habit))
    ),
    "deduction": _Embedded("reasoning", (_class_and_slot(lambda p: p.deductions, _deduction),)),
    "unseen_sums": _Embedded(
        "arithmetic", (_Part(lambda p: p.sums, 4, _unseen_sums, _sum, lambda i, j: (i + j) // _NEAR, lambda i, j: i + j),)
    ),
    "comparing_numbers": _Embedded("arithmetic", (_Part(lambda p: p.numbers, 2, _unseen_numbers, _numbers, lambda i, j, larger: (i, j)),)),
    "story_completion": _Embedded("story", (_Part(lambda p: p.stories, 4, _unseen_stories, _story, answer=lambda p, s, v: s),)),
}

NAMES = {name: benchmark.group for name, benchmark in _BENCHMARKS.items()}
"""Each embedded benchmark and the group it is reported in."""


def chance(name: str) -> float:
    """The accuracy of blind guessing."""
    return 1 / _BENCHMARKS[name].parts[0].choices


def items(name: str, register: str, fresh: bool) -> list[Item]:
    """The items of one benchmark in one register ("textbook" or "page"); always the same ones."""
    parts = _BENCHMARKS[name].parts
    per_template = -(-ITEMS // sum(len(part.phrases(TEXTBOOK)) for part in parts))
    return [
        item
        for number, part in enumerate(parts)
        for index, phrase in enumerate(part.phrases(REGISTERS[register]))
        for item in _of_template(part, phrase, f"{name}.{number}.{index}", per_template, fresh)
    ]


def _of_template(part: _Part, phrase: Phrase | Pair, template: str, count: int, fresh: bool) -> Iterator[Item]:
    """At least `count` items; the fresh ones come from the blocks behind those of the first set."""
    pool = world.shuffled(world.generator(0, 0, template).random, _pool(part))
    draw = world.generator(0, int(fresh), f"{template} words").random
    if isinstance(phrase, Pair):
        for number, combination in enumerate(pool[count * fresh : count * (fresh + 1)]):
            yield _minimal_pair(phrase, part.fields(draw, *combination), number % 2, template)
        return
    blocks = -(-count // part.choices)
    for block in islice(_blocks(part, pool), blocks * fresh, blocks * (fresh + 1)):
        yield from _block_items(draw, phrase, [part.fields(draw, *combination) for combination in block], template)


@cache
def _pool(part: _Part) -> list[Combination]:
    return part.pool()


def _blocks(part: _Part, pool: list[Combination]) -> Iterator[list[Combination]]:
    """Combinations of one block have the same `block` and different answers; each combination is used at most once."""
    waiting: dict[object, list[dict[object, Combination]]] = {}
    for combination in pool:
        open_blocks = waiting.setdefault(part.block(*combination), [])
        answer = part.answer(*combination)
        block = next((b for b in open_blocks if answer not in b), None)
        if block is None:
            block = {}
            open_blocks.append(block)
        block[answer] = combination
        if len(block) == part.choices:
            open_blocks.remove(block)
            yield list(block.values())


def _block_items(draw: Draw, phrase: Phrase, block: list[Fields], template: str) -> Iterator[Item]:
    """One item for each of `block`, all with the same choices."""
    order = world.shuffled(draw, block)
    choices = tuple(phrase.answer.format_map(fields) for fields in order)
    for answer, fields in enumerate(order):
        yield Item(phrase.context.format_map(fields), choices, answer, template)


def _minimal_pair(pair: Pair, fields: Fields, answer: int, template: str) -> Item:
    sentences = (pair.said.format_map(fields), pair.broken.format_map(fields))
    return Item("", sentences[::-1] if answer else sentences, answer, template)
