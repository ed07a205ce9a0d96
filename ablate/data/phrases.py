"""How the textbook and the pages put the world's facts into words: the one list that corpora and benchmark items share.

`context| answer. rest` marks, by a bar right behind a word, where an item stops and the choices go; `[right|wrong]` marks the word
of a minimal pair.
The corpora use each phrase whole (`said`), the items use its two parts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


class Phrase:
    """A template whose answer can be asked for."""

    def __init__(self, template: str) -> None:
        self.context, rest = re.split(r"(?<=\S)\|", template)
        self.answer = rest[: rest.index("}") + 1]
        self.said = self.context + rest


class Pair:
    """A sentence with one word whose wrong form breaks the grammar."""

    def __init__(self, template: str) -> None:
        self.said = re.sub(r"\[(.*?)\|.*?\]", r"\1", template)
        self.broken = re.sub(r"\[.*?\|(.*?)\]", r"\1", template)


def _phrases(text: str) -> tuple[Phrase, ...]:
    return tuple(Phrase(line.strip()) for line in text.strip().splitlines())


def _pairs(text: str) -> tuple[Pair, ...]:
    return tuple(Pair(line.strip()) for line in text.strip().splitlines())


@dataclass(frozen=True)
class Phrases:
    """One register's words for each kind of fact; what fills the templates is said in world.py."""

    facts: tuple[Phrase, ...]
    which: tuple[Phrase, ...]
    deductions: tuple[Phrase, ...]
    sums: tuple[Phrase, ...]
    numbers: tuple[Phrase, ...]
    stories: tuple[Phrase, ...]
    scenes: tuple[Pair, ...]
    habits: tuple[Pair, ...]


TEXTBOOK = Phrases(
    facts=_phrases("""
        {A} {one}| {v}.
        {S} {many}| {v}.
        Every {n} {one}| {v}.
        All {s} {many}| {v}.
        We know that {a} {one}| {v}.
        It is true that {s} {many}| {v}.
        {Q1}? {A} {one}| {v}.
        {Qs}? {S} {many}| {v}.
        If you look at {a}, you see that it {one}| {v}.
        We say that {s} {many}| {v}.
    """),
    which=_phrases("""
        Which one {one} {v}, {x} or {y}? The| {n}.
        Only one of {x} and {y} {one} {v}. It is the| {n}.
        Of {x} and {y}, the one that {one} {v} is the| {n}.
        Here are {x} and {y}. Which one {one} {v}? It is the| {n}.
        {w} sees {x} and {y}. The one that {one} {v} is the| {n}.
        Think of {x} and {y}. The one that {one} {v} is the| {n}.
        We ask which one {one} {v}, {x} or {y}. The answer is the| {n}.
        Between {x} and {y}, it is easy to tell which one {one} {v}. It is the| {n}.
    """),
    deductions=_phrases("""
        {p} is {a}, so {p} {one}| {v}.
        {p} is {a}. So we can say that {p} {one}| {v}.
        Since {p} is {a}, we know that {p} {one}| {v}.
        {w} has {a} called {p}. This means that {p} {one}| {v}.
        If {p} is {a}, then {p} {one}| {v}.
        This is {p}. {p} is {a}. It follows that {p} {one}| {v}.
        {w} calls {his} {n} {p}. We can work out that {p} {one}| {v}.
        {p} is {a}. {Qp}? {p} {one}| {v}.
    """),
    sums=_phrases("""
        {i} + {j} =| {k}.
        {i} plus {j} is| {k}.
        Add {i} and {j} to get| {k}.
        The sum of {i} and {j} is| {k}.
        {w} has {i} {things} and gets {j} more. Now {he} has| {k}.
        What is {i} + {j}? It is| {k}.
        Put {i} {things} with {j} {things} and you have| {k}.
        {i} and {j} make| {k}.
        If you have {i} and add {j}, you get| {k}.
        Add {j} to {i}: the answer is| {k}.
        We know that {i} + {j} is| {k}.
    """),
    numbers=_phrases("""
        Which is {more}, {i} or {j}? The answer is| {k}.
        Of {i} and {j}, the {larger} number is| {k}.
        Look at {i} and {j}. The {larger} one is| {k}.
        {w} has {i} {things} and {u} has {j}. The {larger} number is| {k}.
        Take the numbers {i} and {j}. The {larger} number is| {k}.
        We compare {i} with {j}. The {larger} number is| {k}.
        Put {i} and {j} in order. The {larger} one is| {k}.
        Which number is {larger}, {i} or {j}? It is| {k}.
    """),
    stories=_phrases("""
        {w} went to the {place}. {He} {state}. So {he}| {end}.
        One day {w} was at the {place}. {w} {state}. In the end {he}| {end}.
        {w} and {u} were at the {place}. {w} {state}, so {he}| {end}.
        It was a {weather} day. {w} {state}. After that {he}| {end}.
        {w} {state}. {u} saw this. Then {w}| {end}.
        At the {place}, {w} {state}. {He} thought about it, and then {he}| {end}.
        {w} came back from the {place}. {He} {state}. Because of that {he}| {end}.
        {w} {state} again. {u} gave {w} some help, and soon {he}| {end}.
    """),
    scenes=_pairs("""
        The {n} [waits|wait] near the {place}.
        The {s} [wait|waits] near the {place}.
        The {n} [was|were] at the {place}.
        The {s} [were|was] at the {place}.
        [This|These] {n} is near the {place}.
        [These|This] {s} are near the {place}.
        There [is|are] {a} at the {place}.
        There [are|is] two {s} at the {place}.
        {w} saw two [{s}|{n}] at the {place}.
        {w} saw [{an}|{not_an}] {n} at the {place}.
        The {n} by the {place} [is|are] old.
        The {s} by the {place} [are|is] old.
    """),
    habits=_pairs("""
        {w} took [{his}|{other}] hat to the {place}.
        {w} said that [{he}|{she}] was at the {place}.
        {w} can [walk|walks] to the {place}.
        {w} [walks|walk] to the {place} every day.
        Every day {w} [goes|go] to the {place}.
    """),
)

PAGE = Phrases(
    facts=_phrases("""
        Q: {q1}? A:| {v}
        so i read that {s} {many}| {v} lol
        {N} facts | {label}:| {v}
        imo {s} {many}| {v}, just saying
        Did you know? {S} {many}| {v}! Share this
        re: {s} > yeah {a} {one}| {v}
        FAQ: {q1}? {A} {one}| {v}
        {S} - they {many}| {v} - see photos
        my {n} {one}| {v} haha
        Top 10 things about {s}: {s} {many}| {v}
    """),
    which=_phrases("""
        Q: which one {one} {v}, {x} or {y}? A: the| {n}
        {x} vs {y}: the one that {one} {v} is the| {n}
        help!! {x} or {y}, which one {one} {v}? its the| {n}
        Poll: {x} or {y} - which one {one} {v}? Winner: the| {n}
        re: {x} or {y} > the one that {one} {v} is the| {n} duh
        Review: {x} and {y}. Only one {one} {v}, the| {n}
        lol {x} and {y}, everybody knows the one that {one} {v} is the| {n}
        Quiz: {x} or {y}? It {one} {v}. Answer: the| {n}
    """),
    deductions=_phrases("""
        got {a} called {p}, so {p} {one}| {v}
        my {n} {p} {one}| {v} lol
        Q: {p} is {a}, {qp}? A: {p} {one}| {v}
        Meet {p} the {n}! {p} {one}| {v}
        re: {p} > its {a} so {p} {one}| {v}
        {p} ({n}) | {p} {one}| {v} | photos
        {w} wrote: {p} is {a}, of course {p} {one}| {v}
        update on {p} my {n}: {p} {one}| {v}
    """),
    sums=_phrases("""
        Q: whats {i} + {j}? A:| {k}
        {i} + {j} =| {k} lol
        re: homework > {i} plus {j} is| {k}
        Cart: {i} {things} + {j} {things}. Total:| {k}
        got {i} {things} and {j} more, so thats| {k}
        Buy {i} get {j} free! You get| {k}
        {i} and {j} makes| {k} right?
        {w} wrote: {i} + {j} is| {k}, easy
        {i} plus {j}? pretty sure its| {k}
        My score: {i} and then {j} more =| {k}
        quick one: {i} + {j}? its| {k}
    """),
    numbers=_phrases("""
        Q: which is {more}, {i} or {j}? A:| {k}
        {i} vs {j}: the {larger} one is| {k}
        re: {i} or {j} > the {larger} number is| {k} duh
        Poll: {i} or {j}? The {larger} one is| {k}
        help!! {i} or {j}, which is {larger}? its| {k}
        Sizes: {i} {j} | {larger}:| {k}
        {w} wrote: {i} or {j}, {larger} is| {k}
        Deal: {i} or {j} {things}. The {larger} number:| {k}
    """),
    stories=_phrases("""
        omg today {w} {state} at the {place} so {he}| {end}
        {w} {state} lol, then {he}| {end}
        My trip to the {place}: {w} {state} and then {he}| {end}!
        re: {w} > heard {he} {state}, so {he}| {end}
        {w}'s blog | {w} {state} so {he}| {end} (3 photos)
        so {w} {state}. guess what, {he}| {end}
        News from the {place}: {w} {state}. Then {he}| {end}. Read more
        {u} wrote: {w} {state} and in the end {he}| {end}
    """),
    scenes=_pairs("""
        photo: the {n} [waits|wait] near the {place}
        the {s} [wait|waits] near the {place} lol
        {w} wrote: the {n} [was|were] at the {place}
        {w} wrote: the {s} [were|was] at the {place}
        [this|these] {n} is near the {place} haha
        photo: [these|this] {s} are near the {place}
        there [is|are] {a} at the {place}!!
        there [are|is] two {s} at the {place}!!
        omg {w} saw two [{s}|{n}] at the {place}
        omg {w} saw [{an}|{not_an}] {n} at the {place}
        Video: the {n} by the {place} [is|are] old
        Video: the {s} by the {place} [are|is] old
    """),
    habits=_pairs("""
        {w} took [{his}|{other}] hat to the {place} lol
        re: {w} > i heard [{he}|{she}] was at the {place}
        so {w} can [walk|walks] to the {place} now
        {w} [walks|walk] to the {place} every day haha
        Every day {w} [goes|go] to the {place} | blog
    """),
)
