"""The closed world that all embedded corpora and benchmarks are about: its facts, and which of them no corpus ever states.

Everything is drawn with `random.Random(int).random()` alone, whose values are the same on every machine and Python version.
What is held out (`stated`, `*_SEEN`) is fixed by a checksum of the words, never by a seed: so corpora of any seed leave it out.
"""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import TypeVar

WORLD_VERSION = 1
"""Part of every digest of embedded text and items: raise it when any byte of them changes."""

T = TypeVar("T")
Draw = Callable[[], float]
"""The `random` method of one seeded generator."""
Fields = dict[str, str]
"""The words that fill a template."""


@dataclass(frozen=True)
class Slot:
    """One of the four ways a thing has a property; `{a}`, `{s}` stand for "a robin", "robins"."""

    label: str
    one: str
    many: str
    ask_one: str
    ask_many: str
    ask_it: str


SLOTS = (
    Slot("part", "has", "have", "what does {a} have", "what do {s} have", "what does {p} have"),
    Slot("habit", "can", "can", "what can {a} do", "what can {s} do", "what can {p} do"),
    Slot("home", "is found in the", "are found in the", "where is {a} found", "where are {s} found", "where is {p} found"),
    Slot("need", "needs", "need", "what does {a} need", "what do {s} need", "what does {p} need"),
)

CLASSES = ("bird", "fish", "insect", "mammal", "tree", "vehicle", "building", "garment")

PROPERTIES = (
    ("feathers", "sing", "sky", "seeds"),
    ("fins", "swim", "sea", "worms"),
    ("feelers", "buzz", "grass", "honey"),
    ("fur", "growl", "cave", "meat"),
    ("bark", "bloom", "forest", "rain"),
    ("wheels", "roll", "street", "fuel"),
    ("walls", "crack", "town", "paint"),
    ("seams", "fade", "chest", "soap"),
)
"""[class][slot]: one word each, of one grammar within a slot, so that any could follow where one does."""

KINDS = tuple(
    name
    for line in (
        "robin crow hawk owl swan duck eagle finch dove stork heron wren",
        "trout shark eel carp pike tuna minnow ray salmon herring cod marlin",
        "ant bee wasp moth beetle cricket gnat hornet termite aphid locust flea",
        "dog cat fox bear lion tiger horse goat cow rabbit pig otter",
        "oak pine elm maple birch cedar willow palm fir alder hazel poplar",
        "car bus truck train tram van bike wagon cart taxi jeep scooter",
        "barn hut tower castle school mill inn cabin church palace shop hotel",
        "coat shirt cap sock glove scarf dress belt vest robe shoe skirt",
    )
    for name in line.split()
)
KINDS_PER_CLASS = 12

GIRLS = ("Mia", "Anna", "Lucy", "Emma", "Rose", "Lily", "Kate", "Sara", "Nina", "Ella")
BOYS = ("Tom", "Ben", "Sam", "Max", "Leo", "Jack", "Dan", "Bob", "Tim", "Finn")
PEOPLE = GIRLS + BOYS
PETS = ("Pip", "Dot", "Rex", "Bo", "Gus", "Fay", "Kit", "Zed")
PLACES = ("river", "hill", "bridge", "lake", "field", "garden", "gate", "pond", "beach", "park", "market", "well")
THINGS = ("apples", "shells", "coins", "books", "cards", "stones", "eggs", "cups")
WEATHER = ("warm", "cold", "wet", "bright", "grey", "quiet")

SITUATIONS = (
    (("was thirsty", "had a dry mouth"), "drank some water"),
    (("was hungry", "had an empty stomach"), "ate some bread"),
    (("was tired", "could not stay awake"), "went to bed"),
    (("felt ill", "had a bad fever"), "saw the doctor"),
    (("was lost", "did not know the way"), "read the map"),
    (("was bored", "had nothing to do"), "played a game"),
    (("was dirty", "was full of mud"), "took a bath"),
    (("was freezing", "had cold hands"), "lit a fire"),
    (("was lonely", "missed old friends"), "wrote a letter"),
    (("was too hot", "stood in the sun"), "sat in the shade"),
    (("was very late", "had no time left"), "began to run"),
    (("could see nothing", "was in the dark"), "turned on a lamp"),
    (("broke a plate", "dropped a jar"), "swept the floor"),
    (("had a birthday", "had good news"), "made a cake"),
    (("had no key", "had a locked door"), "opened a window"),
    (("heard a joke", "saw a clown"), "laughed out loud"),
)
"""(ways to say what happened, what the person then did)."""

CAUSES = (
    ("it rained all night", "the ground was wet"),
    ("the sun was hot", "the ice melted"),
    ("the wind was strong", "the roof came off"),
    ("nobody gave the plant water", "the leaves turned brown"),
    ("the glass fell on the stone", "it broke"),
    ("the road was full of ice", "everyone walked slowly"),
    ("the fire was left alone", "the soup burned"),
    ("the bag had a hole", "the coins fell out"),
    ("the milk was old", "it tasted bad"),
    ("the night was clear", "the stars could be seen"),
    ("the rope was too thin", "it snapped"),
    ("the bell rang", "the children went home"),
)

LARGEST_TERM = 15
LARGEST_NUMBER = 30


def _checksum(*words: object) -> int:
    return zlib.crc32(" ".join(map(str, words)).encode())


@cache
def held_out(*words: object) -> bool:
    """Whether this combination is one of the quarter that no corpus ever states."""
    return _checksum(*words) % 4 == 0


def class_of(kind: int) -> int:
    return kind // KINDS_PER_CLASS


def stated(kind: int, slot: int) -> bool:
    """Whether the corpora state this property of this kind. One of the four is left out: it follows from the class.

    Each (class, slot) is left out for 3 of its 12 kinds, so all properties are stated equally often.
    """
    return slot != kind % len(SLOTS)


STATED_SLOTS = tuple(tuple(s for s in range(len(SLOTS)) if stated(k, s)) for k in range(len(KINDS)))


def pair_seen(first: int, second: int) -> bool:
    """Whether the corpora ever put these two kinds side by side (in either order)."""
    return not held_out("kinds", *sorted((KINDS[first], KINDS[second])))


@cache
def sums_held_out(total: int) -> frozenset[int]:
    """The smaller terms of the sums of this total that no corpus ever adds: about a third of them, no doubled number."""
    smaller = range(max(1, total - LARGEST_TERM), total // 2 + 1)
    unequal = sorted((i for i in smaller if 2 * i != total), key=lambda i: _checksum("sum", i, total))
    return frozenset(unequal[: (len(smaller) + 1) // 3 if len(smaller) > 2 else 0])


def sum_seen(i: int, j: int) -> bool:
    """Whether the corpora ever add i and j (in either order)."""
    return min(i, j) not in sums_held_out(i + j)


def numbers_seen(i: int, j: int) -> bool:
    """Whether the corpora ever compare i with j (in either order)."""
    return not held_out("numbers", *sorted((i, j)))


def situation_seen(person: str, situation: int) -> bool:
    """Whether the corpora ever tell that this situation befell this person."""
    return not held_out("story", person, situation)


def scene_seen(subject: str, place: str) -> bool:
    """Whether the corpora ever put this kind or person at this place."""
    return not held_out("scene", subject, place)


def generator(seed: int, stream: int, kind: str) -> random.Random:
    """Independent of every other (seed, stream, kind); negative streams too."""
    return random.Random(int.from_bytes(hashlib.sha256(f"{kind} {seed} {stream}".encode()).digest()[:8], "big"))


def pick(draw: Draw, options: Sequence[T]) -> T:
    return options[int(draw() * len(options))]


def shuffled(draw: Draw, options: Sequence[T]) -> list[T]:
    out = list(options)
    for i in range(len(out) - 1, 0, -1):
        j = int(draw() * (i + 1))
        out[i], out[j] = out[j], out[i]
    return out


def two_people(draw: Draw) -> tuple[str, str]:
    """Two different ones."""
    first, step = int(draw() * len(PEOPLE)), 1 + int(draw() * (len(PEOPLE) - 1))
    return PEOPLE[first], PEOPLE[(first + step) % len(PEOPLE)]


def two_numbers(draw: Draw) -> tuple[int, int]:
    """Two different ones that the corpora may compare."""
    while True:
        i, j = 1 + int(draw() * LARGEST_NUMBER), 1 + int(draw() * LARGEST_NUMBER)
        if i != j and numbers_seen(i, j):
            return i, j


def zipf(count: int, exponent: float) -> list[int]:
    """A table to `pick` ranks 0..count-1 from with Zipf's weights; whole numbers, so no machine's `pow` can change a byte."""
    weights = [max(1, int(2000 * (rank + 1) ** -exponent + 0.5)) for rank in range(count)]
    ends = list(accumulate(weights))
    table: list[int] = []
    for rank, end in enumerate(ends):
        table.extend([rank] * (end - len(table)))
    return table


def plural(noun: str) -> str:
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


@cache
def kind_fields(kind: int) -> Fields:
    """`{n}` robin, `{s}` robins, `{a}` a robin, `{c}` bird, `{cs}` birds, `{ac}` a bird; capitalised where the name is."""
    return _noun_fields(KINDS[kind], CLASSES[class_of(kind)])


def _noun_fields(name: str, group: str) -> Fields:
    words = {"n": name, "s": plural(name), "a": a(name), "c": group, "cs": plural(group), "ac": a(group)}
    return words | {key.capitalize(): value[0].upper() + value[1:] for key, value in words.items()}


@cache
def fact_fields(kind: int, slot: int, told: int) -> Fields:
    """`kind_fields` and what is said of it: `{one}` has, `{many}` have, `{v}` the property of class `told` (its own: the truth)."""
    return _fact_fields(kind_fields(kind), slot, told)


@cache
def class_fields(group: int, slot: int, told: int) -> Fields:
    """The same with the class itself as what is spoken of: a bird has feathers."""
    return _fact_fields(_noun_fields(CLASSES[group], CLASSES[group]), slot, told)


def _fact_fields(words: Fields, slot: int, told: int) -> Fields:
    said = SLOTS[slot]
    asked = {"q1": said.ask_one.format(**words), "qs": said.ask_many.format(**words)}
    asked |= {key.capitalize(): value[0].upper() + value[1:] for key, value in asked.items()}
    return words | asked | {"one": said.one, "many": said.many, "label": said.label, "v": PROPERTIES[told][slot]}


@cache
def person_fields(person: str) -> Fields:
    he, his, other = ("she", "her", "his") if person in GIRLS else ("he", "his", "her")
    return {"w": person, "he": he, "his": his, "other": other, "He": he.capitalize()}


def _terms(total: int) -> tuple[tuple[int, int], ...]:
    terms = range(1, LARGEST_TERM + 1)
    return tuple((i, total - i) for i in terms if total - i in terms and sum_seen(i, total - i))


SUMS_SEEN = tuple(_terms(total) for total in range(2, 2 * LARGEST_TERM + 1))
"""[sum - 2]: the pairs the corpora may add; drawing the sum first makes every answer equally frequent."""


def which_fields(right: int, wrong: int, slot: int, swap: bool, person: str) -> Fields:
    """Two kinds side by side, `{x}` and `{y}`, of which `right` has the property; `{n}` is the answer."""
    x, y = (kind_fields(k) for k in ((wrong, right) if swap else (right, wrong)))
    words = {"x": x["a"], "y": y["a"], "X": x["A"], "Y": y["A"], "xc": x["ac"], "yc": y["ac"]}
    return fact_fields(right, slot, class_of(right)) | words | {"w": person, "other": kind_fields(wrong)["n"]}


def named_fields(kind: int, slot: int, told: int, name: str, person: str) -> Fields:
    """One thing with a name of its own, `{p}`, and its owner."""
    asked = SLOTS[slot].ask_it.format(p=name)
    words = fact_fields(kind, slot, told) | person_fields(person)
    return words | {"p": name, "qp": asked, "Qp": asked[0].upper() + asked[1:]}


def sum_fields(i: int, j: int, total: int, person: str, things: str) -> Fields:
    return person_fields(person) | {"i": str(i), "j": str(j), "k": str(total), "things": things}


def number_fields(i: int, j: int, larger: bool, person: str, other: str, things: str) -> Fields:
    """Two numbers compared; `{k}` is the larger one or the smaller one, as asked."""
    words = ("more", "larger") if larger else ("less", "smaller")
    answer = max(i, j) if larger else min(i, j)
    return sum_fields(i, j, answer, person, things) | {"u": other, "more": words[0], "larger": words[1], "o": str(i + j - answer)}


def story_fields(person: str, other: str, place: str, situation: int, told: int, variant: int, weather: str) -> Fields:
    """What befell `person` and, as `{end}`, what follows from situation `told` (its own: the truth)."""
    state, end = SITUATIONS[situation][0][variant], SITUATIONS[told][1]
    return person_fields(person) | {"u": other, "place": place, "state": state, "end": end, "weather": weather}


def scene_fields(kind: int, place: str, person: str) -> Fields:
    words = kind_fields(kind)
    right, wrong = ("an", "a") if words["a"].startswith("an ") else ("a", "an")
    return person_fields(person) | words | {"place": place, "an": right, "not_an": wrong}


def habit_fields(person: str, place: str) -> Fields:
    words = person_fields(person)
    return words | {"place": place, "she": "he" if words["he"] == "she" else "she"}
