"""`builtin:neutral`: the same world in a third manner of writing (notes and talk), clean, that no arm trains on.

Its bits per byte are the primary loss: its sentences are neither the textbook's nor the pages', its words are in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ablate.data import world
from ablate.data.world import Draw, pick

_ENTRY = (
    "The {n} is {ac} and {one} {v}.",
    "The {n}, like any {c}, {one} {v}.",
    "Some {cs} are {s}, and {s} {many} {v}.",
    "{S}, like other {cs}, {many} {v}.",
    "{N}: {ac}. It {one} {v}.",
)
_TALK = (
    "{w}: {qs}? {u}: they {many} {v}.",
    "{w} said that the {n} {one} {v}, and {u} said so too.",
    "{w}: is the {n} {ac}? {u}: it is, and it {one} {v}.",
    "{w} and {u} know that the {n} {one} {v}.",
)
_NAMED = (
    "{p} is the {n} of {w}. {p} {one} {v}.",
    "{w} said that {p} {one} {v} because {p} is {a}.",
    "Look, {w} and the {n} {p} are here: {p} {one} {v}.",
)
_WHICH = (
    "It is not the {other} but the {n} that {one} {v}.",
    "There is {x} and there is {y}, and the {n} {one} {v}.",
    "{w}: {x} or {y}? {u}: if it {one} {v}, it is the {n}.",
)
SUMS = (
    "{i} and {j} are {k}.",
    "{w} had {i} {things}, then got {j}, so {he} had {k}.",
    "{w}: {i} and then {j}? {u}: you get {k}.",
)
_NUMBER = (
    "Of the numbers {i} and {j}, {w} took the {larger} one, {k}.",
    "{w}: {i} or {j}? {u}: the {larger} of the two is {k}.",
    "{k} is {larger} than {o}.",
)
_STORY = (
    "At the {place} {w} {state} and then {end}.",
    "{w} {end} because {he} {state}.",
    "{u} saw that {w} {state}. What then? {w} {end}.",
    "The day was {weather}. {w} {state} and {end}.",
)
_SCENE = (
    "At the {place} there is {a}, and {w} is there too.",
    "{w} was at the {place} and saw {a}.",
    "Look at the {place}: the {n} waits there.",
)
_CAUSE = ("{cause}, and so {effect}.", "{effect}: {cause}.", "{cause} and then {effect}.")


class _Writer:
    def __init__(self, draw: Draw) -> None:
        self.draw = draw

    def _kind(self) -> int:
        return int(self.draw() * len(world.KINDS))

    def _pair(self) -> tuple[str, str]:
        return world.two_people(self.draw)

    def entry(self, kind: int) -> str:
        draw = self.draw
        person, other = self._pair()
        fields = world.fact_fields(kind, pick(draw, world.STATED_SLOTS[kind]), world.class_of(kind)) | {"w": person, "u": other}
        return pick(draw, _ENTRY if draw() < 0.5 else _TALK).format_map(fields)

    def entries(self) -> list[str]:
        kind = self._kind()
        return [self.entry(kind) for _ in range(3)]

    def named(self) -> list[str]:
        draw, kind = self.draw, self._kind()
        name, person = pick(draw, world.PETS), self._pair()[0]
        slots = world.STATED_SLOTS[kind][:2]
        return [pick(draw, _NAMED).format_map(world.named_fields(kind, slot, world.class_of(kind), name, person)) for slot in slots]

    def which(self) -> list[str]:
        draw, right, wrong = self.draw, self._kind(), self._kind()
        while world.class_of(wrong) == world.class_of(right) or not world.pair_seen(right, wrong):
            wrong = self._kind()
        fields = world.which_fields(right, wrong, pick(draw, world.STATED_SLOTS[right]), draw() < 0.5, self._pair()[0])
        return [pick(draw, _WHICH).format_map(fields | {"u": self._pair()[1]})]

    def sums(self) -> list[str]:
        draw, said = self.draw, []
        for _ in range(3):
            i, j = pick(draw, pick(draw, world.SUMS_SEEN))
            person, other = self._pair()
            fields = world.sum_fields(i, j, i + j, person, pick(draw, world.THINGS)) | {"u": other}
            said.append(pick(draw, SUMS).format_map(fields))
        return said

    def numbers(self) -> list[str]:
        draw = self.draw
        i, j = world.two_numbers(draw)
        return [pick(draw, _NUMBER).format_map(world.number_fields(i, j, draw() < 0.5, *self._pair(), pick(draw, world.THINGS)))]

    def story(self) -> list[str]:
        draw, situation = self.draw, int(self.draw() * len(world.SITUATIONS))
        person, other = self._pair()
        while not world.situation_seen(person, situation):
            person, other = self._pair()
        place, variant, weather = pick(draw, world.PLACES), int(draw() * 2), pick(draw, world.WEATHER)
        return [pick(draw, _STORY).format_map(world.story_fields(person, other, place, situation, situation, variant, weather))]

    def scene(self) -> list[str]:
        draw, kind, place, person = self.draw, self._kind(), pick(self.draw, world.PLACES), self._pair()[0]
        while not (world.scene_seen(world.KINDS[kind], place) and world.scene_seen(person, place)):
            kind, place, person = self._kind(), pick(draw, world.PLACES), self._pair()[0]
        return [pick(draw, _SCENE).format_map(world.scene_fields(kind, place, person))]

    def cause(self) -> list[str]:
        cause, effect = pick(self.draw, world.CAUSES)
        sentence = pick(self.draw, _CAUSE).format(cause=cause, effect=effect)
        return [sentence[0].upper() + sentence[1:]]


def documents(seed: int, stream: int) -> Iterator[str]:
    """Unlimited notes of two to four topics, one a line."""
    writer = _Writer(world.generator(seed, stream, "neutral").random)
    topics: list[tuple[Callable[[], list[str]], int]] = [
        (writer.entries, 6),
        (writer.which, 4),
        (writer.named, 3),
        (writer.sums, 4),
        (writer.numbers, 3),
        (writer.story, 5),
        (writer.scene, 3),
        (writer.cause, 1),
    ]
    table = [topic for topic, weight in topics for _ in range(weight)]
    while True:
        notes = (pick(writer.draw, table)() for _ in range(2 + int(writer.draw() * 3)))
        yield "\n".join(" ".join(note) for note in notes)
