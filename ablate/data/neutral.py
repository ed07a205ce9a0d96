"""`builtin:neutral`: the same world in a third manner of writing, terse notes that put several facts into a sentence, clean.

No arm trains on it, and its bits per byte are the primary loss. So its sentences are neither the textbook's nor the pages';
the words and short clauses they are put together from are in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ablate.data import world
from ablate.data.world import Draw, Fields, pick

_SAME_KIND = (
    "{S} {many} {v} and {many2} {v2}",
    "{A} {one} {v} and {one2} {v2}",
    "The {n} {one} {v}, and it {one2} {v2}",
    "{S} are {cs}: they {many} {v} and {many2} {v2}",
    "{A} {one} {v} because it is {ac}",
)
_NAMED = (
    "{p} the {n} {one} {v} and {one2} {v2}",
    "{w} and {p} the {n} are here, and {p} {one} {v}",
    "{p} {one} {v} because {p} is {a}",
)
_TWO_KINDS = (
    "{A} {one} {v}, but {b} {one2} {v2}",
    "{S} {many} {v} and {t} {many2} {v2}",
    "There is {a} and there is {b}: one {one} {v}, the other {one2} {v2}",
)
SUMS = (
    "{i} + {j} = {k} and {i2} + {j2} = {k2}",
    "{i} plus {j} is {k}, and {i2} plus {j2} is {k2}",
    "{w} had {i} {things} and got {j}: {he} has {k}",
)
_NUMBERS = (
    "{i} is less than {j} and {j} is less than {l}",
    "{l} is more than {i}, and so is {j}",
    "{w} has {i} {things}, {u} has {j}: {j} is more",
)
_STORIES = (
    "{w} {state} at the {place} and then {end}",
    "{w} {end} because {he} {state}",
    "{w} {state} and {end}, and {u} was there too",
    "The day was {weather}: {w} {state}, so {he} {end}",
)
_SCENES = (
    "{w} was at the {place}, and the {n} was there too",
    "There is {a} at the {place}, and {w} walks to the {place} every day",
    "The {n} waits near the {place} and {w} waits too",
)
_CAUSES = ("{cause}, and so {effect}", "{cause} and then {effect}")


class _Writer:
    def __init__(self, draw: Draw) -> None:
        self.draw = draw

    def _kind(self) -> int:
        return int(self.draw() * len(world.KINDS))

    def _two_facts(self, kind: int) -> Fields:
        """Two of the stated properties of one kind."""
        first, second = world.shuffled(self.draw, world.STATED_SLOTS[kind])[:2]
        group = world.class_of(kind)
        return world.fact_fields(kind, first, group) | _second(world.fact_fields(kind, second, group))

    def kind(self) -> str:
        return pick(self.draw, _SAME_KIND).format_map(self._two_facts(self._kind()))

    def named(self) -> str:
        kind = self._kind()
        words = {"p": pick(self.draw, world.PETS), "w": pick(self.draw, world.PEOPLE)}
        return pick(self.draw, _NAMED).format_map(self._two_facts(kind) | words)

    def two_kinds(self) -> str:
        draw, kind, other = self.draw, self._kind(), self._kind()
        while world.class_of(kind) == world.class_of(other) or not world.pair_seen(kind, other):
            other = self._kind()
        fields, others = (world.fact_fields(k, pick(draw, world.STATED_SLOTS[k]), world.class_of(k)) for k in (kind, other))
        return pick(draw, _TWO_KINDS).format_map(fields | _second(others) | {"b": others["a"], "t": others["s"]})

    def sums(self) -> str:
        draw = self.draw
        (i, j), (i2, j2) = (pick(draw, pick(draw, world.SUMS_SEEN)) for _ in range(2))
        fields = world.sum_fields(i, j, i + j, pick(draw, world.PEOPLE), pick(draw, world.THINGS))
        return pick(draw, SUMS).format_map(fields | {"i2": str(i2), "j2": str(j2), "k2": str(i2 + j2)})

    def numbers(self) -> str:
        """Three numbers in order, no two of which are left out of the corpora."""
        draw = self.draw
        while True:
            i, j, larger = sorted({*world.two_numbers(draw), 1 + int(draw() * world.LARGEST_NUMBER), 0})[-3:]
            if i and all(world.numbers_seen(*pair) for pair in ((i, j), (j, larger), (i, larger))):
                break
        person, other = world.two_people(draw)
        words = {"w": person, "u": other, "things": pick(draw, world.THINGS)}
        return pick(draw, _NUMBERS).format(i=i, j=j, l=larger, **words)

    def story(self) -> str:
        draw, situation = self.draw, int(self.draw() * len(world.SITUATIONS))
        person, other = world.two_people(draw)
        while not world.situation_seen(person, situation):
            person, other = world.two_people(draw)
        place, variant, weather = pick(draw, world.PLACES), int(draw() * 2), pick(draw, world.WEATHER)
        return pick(draw, _STORIES).format_map(world.story_fields(person, other, place, situation, situation, variant, weather))

    def scene(self) -> str:
        draw = self.draw
        while True:
            kind, place, person = self._kind(), pick(draw, world.PLACES), pick(draw, world.PEOPLE)
            if world.scene_seen(world.KINDS[kind], place) and world.scene_seen(person, place):
                return pick(draw, _SCENES).format_map(world.scene_fields(kind, place, person))

    def cause(self) -> str:
        cause, effect = pick(self.draw, world.CAUSES)
        sentence = pick(self.draw, _CAUSES).format(cause=cause, effect=effect)
        return sentence[0].upper() + sentence[1:]


def _second(fields: Fields) -> Fields:
    return {"one2": fields["one"], "many2": fields["many"], "v2": fields["v"]}


def documents(seed: int, stream: int) -> Iterator[str]:
    """Unlimited sets of three to six notes, one a line."""
    writer = _Writer(world.generator(seed, stream, "neutral").random)
    topics: list[tuple[Callable[[], str], int]] = [
        (writer.kind, 8),
        (writer.two_kinds, 5),
        (writer.named, 4),
        (writer.sums, 4),
        (writer.numbers, 3),
        (writer.story, 6),
        (writer.scene, 3),
        (writer.cause, 1),
    ]
    table = [topic for topic, weight in topics for _ in range(weight)]
    while True:
        yield "\n".join(pick(writer.draw, table)() for _ in range(3 + int(writer.draw() * 4)))
