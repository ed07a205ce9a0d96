"""`builtin:web`: the same world as pages are about it, with as much of each kind of noise as `spec.Noise` says."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from ablate.data import noise as junk
from ablate.data import world
from ablate.data.phrases import PAGE
from ablate.data.world import Draw, pick
from ablate.study.spec import Noise

_CLASS_LINES = (
    "{s} are {cs}",
    "yes {a} is {ac}",
    "{Cs} {many} {v}.",
    "{N} ({c})",
    "All our {cs} {many} {v}!",
    "{S} are {cs} and {cs} {many} {v}",
    "btw {a} is {ac} so it {one} {v}",
    "Keywords: {n}, {c}, {v}",
    "{S}, like any other {cs}, {many} {v}.",
    "You know {s}? They {many} {v}!!",
    "some {cs} are called {s}, look it up",
    "There are many {cs} but {s} are the best",
)
_TITLES = ("{S} - photos and facts", "All about the {n}", "{N} blog", "{S} for sale", "Forum: {s}", "The {n} page")
_ORDERED = ("{i} is less than {j}", "{j} is more than {i} lol", "{i} is smaller than {j}, and {j} is larger than {i}")
_CAUSES = ("{cause} so {effect} lol", "News: {cause} and {effect}", "{effect} because {cause}, imo", "so {cause}... then {effect}")
_KEPT = 64
"""How many earlier pages a near copy is taken from."""


class _Site:
    """One stream's pages before the noise, as lists of paragraphs. Statements may be mistaken; where the right one is on the
    same page, it contradicts itself."""

    def __init__(self, draw: Draw, slip: Draw, noise: Noise) -> None:
        self.draw = draw
        self._slip = slip
        self._mistakes = noise.mistakes
        popular = world.generator(0, 0, "popularity").random
        self._kinds = self._long_tailed(popular, len(world.KINDS), noise.long_tail)
        self._situations = self._long_tailed(popular, len(world.SITUATIONS), noise.long_tail)
        self._causes = self._long_tailed(popular, len(world.CAUSES), noise.long_tail)
        self._sums = [[pairs[i] for i in self._long_tailed(popular, len(pairs), noise.long_tail)] for pairs in world.SUMS_SEEN]

    @staticmethod
    def _long_tailed(popular: Draw, count: int, exponent: float) -> list[int]:
        """A table to pick from, in which the more popular are the more frequent; what is popular is the same in every stream."""
        order = world.shuffled(popular, range(count))
        return [order[rank] for rank in world.zipf(count, exponent)]

    def _told(self, right: int, options: int) -> int:
        """`right`, or with the chance of a mistake another of the options."""
        if self._slip() >= self._mistakes:
            return right
        return (right + 1 + int(self._slip() * (options - 1))) % options

    def _person(self) -> str:
        return pick(self.draw, world.PEOPLE)

    def fact(self, kind: int) -> str:
        """One stated property of the kind, or what class it is of."""
        draw, slot = self.draw, pick(self.draw, world.STATED_SLOTS[kind])
        fields = world.fact_fields(kind, slot, self._told(world.class_of(kind), len(world.CLASSES)))
        template = pick(draw, _CLASS_LINES) if draw() < 0.3 else pick(draw, PAGE.facts).said
        return template.format_map(fields)

    def kind_page(self) -> list[str]:
        draw, kind = self.draw, pick(self.draw, self._kinds)
        title = pick(draw, _TITLES).format_map(world.kind_fields(kind))
        return [title, *(self.fact(kind) for _ in range(6 + int(draw() * 5)))]

    def class_page(self) -> list[str]:
        """What is said of a whole class: that of the kind the page would have been about."""
        draw, group = self.draw, world.class_of(pick(self.draw, self._kinds))
        lines = []
        for _ in range(4 + int(draw() * 4)):
            fields = world.class_fields(group, int(draw() * len(world.SLOTS)), self._told(group, len(world.CLASSES)))
            lines.append(pick(draw, PAGE.facts).said.format_map(fields))
        return lines

    def which_page(self) -> list[str]:
        draw = self.draw
        right = pick(draw, self._kinds)
        lines = []
        for _ in range(3 + int(draw() * 3)):
            wrong = pick(draw, self._kinds)
            while world.class_of(wrong) == world.class_of(right) or not world.pair_seen(right, wrong):
                wrong = pick(draw, self._kinds)
            fields = world.which_fields(right, wrong, pick(draw, world.STATED_SLOTS[right]), draw() < 0.5, self._person())
            if self._told(0, 2):
                fields = fields | {"n": fields["other"]}
            lines.append(pick(draw, PAGE.which).said.format_map(fields))
            right = pick(draw, self._kinds)
        return lines

    def pet_page(self) -> list[str]:
        draw, kind, name, person = self.draw, pick(self.draw, self._kinds), pick(self.draw, world.PETS), self._person()
        lines = []
        for slot in [pick(draw, world.STATED_SLOTS[kind]) for _ in range(3 + int(draw() * 3))]:
            fields = world.named_fields(kind, slot, self._told(world.class_of(kind), len(world.CLASSES)), name, person)
            lines.append(pick(draw, PAGE.deductions).said.format_map(fields))
        return lines

    def sum_page(self) -> list[str]:
        draw, lines = self.draw, []
        for _ in range(3 + int(draw() * 3)):
            i, j = pick(draw, pick(draw, self._sums))
            wrong = self._told(0, 5)
            total = i + j + (0, -2, -1, 1, 2)[wrong]
            lines.append(pick(draw, PAGE.sums).said.format_map(world.sum_fields(i, j, total, self._person(), pick(draw, world.THINGS))))
        return lines

    def number_page(self) -> list[str]:
        draw, lines = self.draw, []
        for _ in range(3 + int(draw() * 2)):
            i, j = world.two_numbers(draw)
            fields = world.number_fields(i, j, draw() < 0.5, *world.two_people(draw), pick(draw, world.THINGS))
            if self._told(0, 2):
                fields = fields | {"k": fields["o"], "i": fields["j"], "j": fields["i"]}
            lines.append(pick(draw, PAGE.numbers).said.format_map(fields))
            if draw() < 0.3:
                lines.append(pick(draw, _ORDERED).format(i=min(i, j), j=max(i, j)))
        return lines

    def story_page(self) -> list[str]:
        draw, lines = self.draw, []
        for _ in range(3 + int(draw() * 3)):
            situation, (person, other) = pick(draw, self._situations), world.two_people(draw)
            while not world.situation_seen(person, situation):
                person, other = world.two_people(draw)
            told = self._told(situation, len(world.SITUATIONS))
            place, variant, weather = pick(draw, world.PLACES), int(draw() * 2), pick(draw, world.WEATHER)
            fields = world.story_fields(person, other, place, situation, told, variant, weather)
            lines.append(pick(draw, PAGE.stories).said.format_map(fields))
        return lines

    def photo_page(self) -> list[str]:
        draw = self.draw
        lines: list[str] = []
        wanted = 3 + int(draw() * 3)
        while len(lines) < wanted:
            kind, place, person = pick(draw, self._kinds), pick(draw, world.PLACES), self._person()
            if world.scene_seen(world.KINDS[kind], place):
                lines.append(pick(draw, PAGE.scenes).said.format_map(world.scene_fields(kind, place, person)))
            if draw() < 0.5 and world.scene_seen(person, place):
                lines.append(pick(draw, PAGE.habits).said.format_map(world.habit_fields(person, place)))
        return lines

    def news_page(self) -> list[str]:
        lines = []
        for _ in range(2):
            cause, effect = (world.CAUSES[c] for c in self._cause())
            lines.append(pick(self.draw, _CAUSES).format(cause=cause[0], effect=effect[1]))
        return lines

    def _cause(self) -> tuple[int, int]:
        cause = pick(self.draw, self._causes)
        return cause, self._told(cause, len(world.CAUSES))

    def pages(self) -> Iterator[list[str]]:
        kinds: list[tuple[Callable[[], list[str]], int]] = [
            (self.kind_page, 10),
            (self.class_page, 3),
            (self.which_page, 4),
            (self.pet_page, 3),
            (self.sum_page, 4),
            (self.number_page, 3),
            (self.story_page, 5),
            (self.photo_page, 3),
            (self.news_page, 1),
        ]
        table = [page for page, weight in kinds for _ in range(weight)]
        while True:
            yield pick(self.draw, table)()


def _written(site: _Site, draws: dict[str, Draw], noise: Noise) -> Iterator[list[str]]:
    """Pages with what their authors and readers put in: other subjects, comments, typos, breaks."""
    for page in site.pages():
        lines = page
        if draws["off_topic"]() < noise.off_topic:
            lines = junk.off_topic(draws["off_topic"])
        if draws["comments"]() < noise.comments:
            lines = lines + _thread(draws["comments"], lines)
        if noise.cut_off:
            lines = [junk.cut(draws["cut_off"], line) if draws["cut_off"]() < noise.cut_off else line for line in lines]
        if noise.typos:
            lines = [junk.with_typos(draws["typos"], line, noise.typos) for line in lines]
        yield lines


def _thread(draw: Draw, lines: list[str]) -> list[str]:
    """Comments under a page: chatter, and quotes of what it said."""
    count = 2 + int(draw() * 4)
    return [f"{pick(draw, world.PEOPLE)} says: > {pick(draw, lines)}" if draw() < 0.3 else junk.chatter(draw) for _ in range(count)]


def _near_copy(draw: Draw, page: list[str]) -> list[str]:
    """The same page found elsewhere: a line gone, or under another heading."""
    gone = int(draw() * (len(page) + 1))
    return page[:gone] + page[gone + 1 :] if len(page) > 1 and gone < len(page) else [junk.furniture(draw), *page]


def _framed(draws: dict[str, Draw], noise: Noise, lines: list[str]) -> list[str]:
    """The page as it is served: adverts after paragraphs, furniture above, between and below."""
    if noise.adverts:
        draw = draws["adverts"]
        lines = [out for line in lines for out in ((line, junk.advert(draw)) if draw() < noise.adverts else (line,))]
    if not noise.boilerplate:
        return lines
    if noise.boilerplate == 1:
        return [junk.furniture(draws["boilerplate"]) for _ in lines]
    return _with_furniture(draws["boilerplate"], lines, noise.boilerplate)


def _with_furniture(draw: Draw, lines: list[str], share: float) -> list[str]:
    """`lines` between furniture that has, over many pages, this share of all characters."""
    wanted = sum(map(len, lines)) * share / (1 - share)
    above: list[str] = []
    below: list[str] = []
    while wanted > 0:
        line = junk.furniture(draw)
        if len(line) > wanted and draw() * len(line) > wanted:
            break
        wanted -= len(line)
        (above if draw() < 0.5 else below).append(line)
    return [*above, *lines, *below]


def documents(seed: int, stream: int, noise: Noise) -> Iterator[str]:
    """Unlimited pages. A kind of noise that is 0 leaves no trace; the pages beneath are then the same as before."""
    draws = {name: world.generator(seed, stream, f"web {name}").random for name in Noise.model_fields}
    site = _Site(world.generator(seed, stream, "web pages").random, draws["mistakes"], noise)
    earlier: deque[list[str]] = deque(maxlen=_KEPT)
    written = _written(site, draws, noise)
    while True:
        if earlier and noise.duplicates and draws["duplicates"]() < noise.duplicates:
            lines = _near_copy(draws["duplicates"], pick(draws["duplicates"], earlier))
        else:
            lines = next(written)
            earlier.append(lines)
        if lines := _framed(draws, noise, lines):
            yield "\n".join(lines)
