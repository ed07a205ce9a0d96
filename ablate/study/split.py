"""A split of a data set or some of its rows, as the library `datasets` writes them: `train`, `train[:1000]`, `train[1000:2000]`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WRITTEN = re.compile(r"([\w.-]+)(?:\[([0-9_]{1,18})?:([0-9_]{1,18})?\])?")


@dataclass(frozen=True)
class Split:
    """The rows of a split in the order of its files, from number `first` (0 is the first) up to, and without, `end` (None: to the last)."""

    name: str
    first: int = 0
    end: int | None = None

    def __str__(self) -> str:
        return self.name if self.is_whole else f"{self.name}[{self.first or ''}:{'' if self.end is None else self.end}]"

    @property
    def is_whole(self) -> bool:
        return self.first == 0 and self.end is None

    def within(self, before: int, count: int) -> range:
        """Which of the `count` rows of a file belong to it, when `before` others lie ahead of them; empty where none does."""
        end = count if self.end is None else min(self.end - before, count)
        return range(max(self.first - before, 0), end)

    def overlaps(self, other: Split) -> bool:
        """Whether both have a row in common, as far as can be told without the number of rows."""
        return self.name == other.name and all(a.end is None or b.first < a.end for a, b in ((self, other), (other, self)))


def parse_split(text: str) -> Split:
    """ValueError for anything but a name or whole rows counted from the first: what a percentage or a row counted from the last means
    is known only once the whole split has been fetched."""
    match = _WRITTEN.fullmatch(text.strip())
    try:
        first, end = (int(number) if number else None for number in match.groups()[1:]) if match else (None, None)
    except ValueError:  # a _ where none may be
        match = None
    if match is None:
        raise ValueError(
            f"{text!r} is not a split; write its name, or rows of it counted from the first, such as train[:1000000] or train[1000:2000] "
            "(no percentages, negative numbers or sums)"
        )
    found = Split(match[1], first or 0, end)
    if end is not None and end <= found.first:
        raise ValueError(f"{text!r} holds no row; write train[FIRST:END] with END above FIRST")
    return found


def shortest_form(text: str) -> str:
    """One text for one set of rows: `train[0:1_000]` and `train[:1000]` are the same source."""
    return str(parse_split(text))
