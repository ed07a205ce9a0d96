"""`builtin:textbook`: the world said plainly, in varied words, with worked steps, every part of it equally often."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ablate.data import world
from ablate.data.phrases import TEXTBOOK
from ablate.data.world import Draw, pick

_SIBLINGS = (
    "{S} and {t} are {cs}, and both {many} {v}.",
    "Like {t}, {s} {many} {v}.",
)
_MEMBERSHIP = (
    "{A} is {ac}.",
    "{S} are {cs}.",
    "Every {n} is {ac}.",
    "We say that {a} is {ac}.",
    "One kind of {c} is the {n}.",
    "There are many {cs}. The {n} is one of them.",
    "Some {cs} are called {s}.",
)
_WORKED = (
    "{A} is {ac}, and {cs} {many} {v}, so {a} {one} {v}.",
    "{Cs} {many} {v}. {A} is {ac}. So {a} {one} {v}.",
    "Why do we say that {a} {one} {v}? Because it is {ac}, and every {c} {one} {v}.",
    "{S} are {cs}. Since {cs} {many} {v}, {s} {many} {v} too.",
    "{S} and other {cs} {many} {v}.",
)
_WORKED_NAMED = (
    "{p} is {a}. {A} is {ac}. {Cs} {many} {v}. So {p} {one} {v}.",
    "What do we know about {p}? First, {p} is {a}. Next, {a} is {ac}. Last, every {c} {one} {v}. So {p} {one} {v}.",
)
_WORKED_WHICH = (
    "{X} is {xc} and {y} is {yc}. {Cs} {many} {v}, so the answer is the {n}.",
    "{Cs} {many} {v}, and {a} is {ac}. The {other} does not fit. So it is the {n}.",
)
_COUNTED = "Count {j} more from {i}: {steps}."
_ORDERED = (
    "{j} comes after {i}, so {j} is larger than {i}.",
    "{i} is less than {j}.",
    "{j} is more than {i}.",
    "If you count, {i} comes before {j}, so {i} is smaller than {j}.",
)
_CAUSES = (
    "{cause}, so {effect}.",
    "{cause}. Because of this, {effect}.",
    "Why was it that {effect}? It was because {cause}.",
    "{effect} because {cause}.",
    "First {cause}. Then {effect}.",
    "When {cause}, {effect}.",
)


class _Book:
    """One stream's lessons. Kinds, classes and situations are dealt like cards: each comes once before any comes again."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self._kinds = self._dealt(len(world.KINDS))
        self._named = self._dealt(len(world.KINDS))
        self._classes = self._dealt(len(world.CLASSES))
        self._asked = self._dealt(len(world.KINDS))
        self._situations = self._dealt(len(world.SITUATIONS))
        self._causes = self._dealt(len(world.CAUSES))
        self._totals = self._dealt(len(world.SUMS_SEEN))

    def _dealt(self, count: int) -> Iterator[int]:
        while True:
            yield from world.shuffled(self.draw, range(count))

    def _slot(self, kind: int) -> int:
        return pick(self.draw, world.STATED_SLOTS[kind])

    def _person(self) -> str:
        return pick(self.draw, world.PEOPLE)

    def kind_lesson(self) -> str:
        """Everything stated about one kind, one property worked out from its class."""
        draw, kind = self.draw, next(self._kinds)
        group = world.class_of(kind)
        said = [pick(draw, _MEMBERSHIP).format_map(world.kind_fields(kind))]
        for slot in world.shuffled(draw, world.STATED_SLOTS[kind]):
            fields = world.fact_fields(kind, slot, group)
            said.append(pick(draw, TEXTBOOK.facts).said.format_map(fields))
            if draw() < 0.4:
                said.append(pick(draw, _WORKED).format_map(fields))
        if draw() < 0.5:
            said.append(self._scene(kind))
        return " ".join(said)

    def class_lesson(self) -> str:
        """The four properties of a class, some of its kinds, and something that two of them share."""
        draw, group = self.draw, next(self._classes)
        first = group * world.KINDS_PER_CLASS
        members = world.shuffled(draw, range(first, first + world.KINDS_PER_CLASS))[:4]
        said = [pick(draw, TEXTBOOK.facts).said.format_map(world.class_fields(group, slot, group)) for slot in range(4)]
        said += [pick(draw, _MEMBERSHIP).format_map(world.kind_fields(kind)) for kind in members[:3]]
        shared = set(world.STATED_SLOTS[members[0]]) & set(world.STATED_SLOTS[members[3]])
        fields = world.fact_fields(members[0], pick(draw, sorted(shared)), group)
        said.append(pick(draw, _SIBLINGS).format_map(fields | {"t": world.kind_fields(members[3])["s"]}))
        return " ".join(world.shuffled(draw, said))

    def which_lesson(self) -> str:
        draw, said = self.draw, []
        for _ in range(3):
            right, wrong = next(self._asked), int(draw() * len(world.KINDS))
            while world.class_of(wrong) == world.class_of(right) or not world.pair_seen(right, wrong):
                wrong = int(draw() * len(world.KINDS))
            fields = world.which_fields(right, wrong, self._slot(right), draw() < 0.5, self._person())
            said.append(pick(draw, TEXTBOOK.which).said.format_map(fields))
        return " ".join(said)

    def deduction_lesson(self) -> str:
        draw, said = self.draw, []
        for name in world.shuffled(draw, world.PETS)[:3]:
            kind = next(self._named)
            fields = world.named_fields(kind, self._slot(kind), world.class_of(kind), name, self._person())
            worked = draw() < 0.3
            said.append((pick(draw, _WORKED_NAMED) if worked else pick(draw, TEXTBOOK.deductions).said).format_map(fields))
        return " ".join(said)

    def sum_lesson(self) -> str:
        draw, said = self.draw, []
        for _ in range(4):
            i, j = pick(draw, world.SUMS_SEEN[next(self._totals)])
            fields = world.sum_fields(i, j, i + j, self._person(), pick(draw, world.THINGS))
            said.append(pick(draw, TEXTBOOK.sums).said.format_map(fields))
            if j <= 5 and draw() < 0.4:
                said.append(_COUNTED.format(i=i, j=j, steps=", ".join(map(str, range(i + 1, i + j + 1)))))
        return " ".join(said)

    def number_lesson(self) -> str:
        draw, said = self.draw, []
        for _ in range(3):
            i, j = world.two_numbers(draw)
            fields = world.number_fields(i, j, draw() < 0.5, *world.two_people(draw), pick(draw, world.THINGS))
            said.append(pick(draw, TEXTBOOK.numbers).said.format_map(fields))
            if draw() < 0.4:
                said.append(pick(draw, _ORDERED).format(i=min(i, j), j=max(i, j)))
        return " ".join(said)

    def story(self) -> str:
        draw, said = self.draw, []
        for _ in range(2):
            situation, (person, other) = next(self._situations), world.two_people(draw)
            while not world.situation_seen(person, situation):
                person, other = world.two_people(draw)
            place, variant, weather = pick(draw, world.PLACES), int(draw() * 2), pick(draw, world.WEATHER)
            fields = world.story_fields(person, other, place, situation, situation, variant, weather)
            said.append(pick(draw, TEXTBOOK.stories).said.format_map(fields))
        return " ".join(said)

    def _scene(self, kind: int) -> str:
        draw, place, person = self.draw, pick(self.draw, world.PLACES), self._person()
        while not world.scene_seen(world.KINDS[kind], place):
            place = pick(draw, world.PLACES)
        return pick(draw, TEXTBOOK.scenes).said.format_map(world.scene_fields(kind, place, person))

    def scene_lesson(self) -> str:
        draw, said = self.draw, []
        for _ in range(3):
            said.append(self._scene(int(draw() * len(world.KINDS))))
            person, place = self._person(), pick(draw, world.PLACES)
            if world.scene_seen(person, place):
                said.append(pick(draw, TEXTBOOK.habits).said.format_map(world.habit_fields(person, place)))
        return " ".join(said)

    def cause_lesson(self) -> str:
        said = []
        for _ in range(3):
            cause, effect = world.CAUSES[next(self._causes)]
            sentence = pick(self.draw, _CAUSES).format(cause=cause, effect=effect)
            said.append(sentence[0].upper() + sentence[1:])
        return " ".join(said)


def documents(seed: int, stream: int) -> Iterator[str]:
    """Unlimited lessons, each of one topic."""
    book = _Book(world.generator(seed, stream, "textbook").random)
    lessons: list[tuple[Callable[[], str], int]] = [
        (book.kind_lesson, 8),
        (book.class_lesson, 3),
        (book.which_lesson, 4),
        (book.deduction_lesson, 3),
        (book.sum_lesson, 6),
        (book.number_lesson, 3),
        (book.story, 5),
        (book.scene_lesson, 2),
        (book.cause_lesson, 1),
    ]
    table = [lesson for lesson, weight in lessons for _ in range(weight)]
    while True:
        for lesson in world.shuffled(book.draw, table):
            yield lesson()
