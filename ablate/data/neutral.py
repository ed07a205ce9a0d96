"""`builtin:neutral`: the same world in a third manner of writing (dialogue, diary, encyclopaedia), clean, that no arm trains on.

Its bits per byte are the primary loss, so its sentences are neither the textbook's nor the pages'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ablate.data import world
from ablate.data.world import Draw, pick

_ENTRY = (
    "{N}, {ac}; it {one} {v}.",
    "The {n}, like any {c}, {one} {v}.",
    "{N}: one of the {cs}. As with all of them, the {n} {one} {v}.",
    "As for {s}, they {many} {v}.",
    "Among {cs}, which {many} {v}, we count the {n}.",
)
_TALK = (
    '"Tell me, {qs}?" asked {w}. "They {many} {v}," said {u}.',
    '"I think the {n} {one} {v}," {w} told {u}.',
    '"Is the {n} {ac}?" "Yes," said {u}, "and so it {one} {v}."',
    '{w} wanted to know: "{Q1}?" And {u} said that it {one} {v}.',
)
_NAMED = (
    '"{p}, my {n}, {one} {v}," said {w}.',
    "Dear diary: {p} is the {n} of {w}. Of course {p} {one} {v}.",
    "{w} and {p}, the {n}. Being {ac}, {p} {one} {v}.",
)
_WHICH = (
    '"{X} or {y}?" asked {w}. "If it {one} {v}, then it must be the {n}."',
    "Both {x} and {y} were there, but it was the {n} that {one} {v}.",
    "Not the {other} but the {n} {one} {v}.",
)
_SUM = (
    '"{i} and then {j} more," said {w}. "That is {k} in all."',
    "Counted {i} {things}, later {j}; {k} together.",
    "{w} found {i} {things} in one place, {j} in another: {k}.",
)
_NUMBER = (
    '"{i} or {j}?" asked {w}. "{k} is {larger}," said {u}.',
    "Of the two, {i} and {j}, {w} chose the {larger}: {k}.",
    "{k} is {larger} than {o}.",
)
_STORY = (
    "Monday, at the {place}. {w} {state}, and {he} {end}.",
    'Dear diary: today {w} {state}. "What then?" Well, {he} {end}.',
    '"Why is it that {w} {end}?" asked {u}. "Because {he} {state}."',
    "A {weather} evening. {w} {state}. {w} {end}, as anyone would.",
)
_SCENE = (
    "Tuesday. By the {place}: {a}, and {w} with {his} dog.",
    "Saw {a} at the {place}, and later two {s}.",
    "Here, at the {place}, the {n} waits and the {s} rest.",
)
_CAUSE = ("{effect}, for {cause}.", "Diary: {cause}; hence {effect}.", '"{cause}," said one. "And so {effect}," said the other.')


class _Writer:
    def __init__(self, draw: Draw) -> None:
        self.draw = draw

    def _kind(self) -> int:
        return int(self.draw() * len(world.KINDS))

    def _pair(self) -> tuple[str, str]:
        first, second = int(self.draw() * len(world.PEOPLE)), int(self.draw() * (len(world.PEOPLE) - 1))
        return world.PEOPLE[first], world.PEOPLE[(first + 1 + second) % len(world.PEOPLE)]

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
        return [pick(draw, _WHICH).format_map(fields)]

    def sums(self) -> list[str]:
        draw, said = self.draw, []
        for _ in range(3):
            i, j = pick(draw, pick(draw, world.SUMS_SEEN))
            said.append(pick(draw, _SUM).format_map(world.sum_fields(i, j, i + j, self._pair()[0], pick(draw, world.THINGS))))
        return said

    def numbers(self) -> list[str]:
        draw, i, j = self.draw, 0, 0
        while i == j or not world.numbers_seen(i, j):
            i, j = 1 + int(draw() * world.LARGEST_NUMBER), 1 + int(draw() * world.LARGEST_NUMBER)
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
    """Unlimited notes of one to three topics, one a line."""
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
        notes = (pick(writer.draw, table)() for _ in range(1 + int(writer.draw() * 3)))
        yield "\n".join(" ".join(note) for note in notes)
