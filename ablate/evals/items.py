"""What a benchmark is made of: items, each a context and the choices that may follow it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One question. A choice is appended to the context as it stands (with its leading space);
    a minimal pair has an empty context and two whole sentences as choices."""

    context: str
    choices: tuple[str, ...]
    answer: int
    template: str
    """Items of one template are alike, so errors are clustered by it."""

    @property
    def text(self) -> str:
        """What a reader of the solved item sees: the context and the right choice. Overlap with a corpus is looked for in it."""
        return self.context + self.choices[self.answer]


@dataclass(frozen=True)
class Benchmark:
    """A named set of items in one register."""

    name: str
    group: str
    register: str
    fresh: bool
    chance: float
    digest: str
    items: tuple[Item, ...]
