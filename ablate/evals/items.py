"""What a benchmark is made of: items (a context and the choices that may follow it) or prompts (what a model goes on from)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os.path import commonprefix
from typing import Any, Literal

LM_EVAL = "lm_eval"
"""Register of the tasks that lm-eval itself scores."""
Kind = Literal["choice", "last_word", "generate", "code", "safety", "story", "lm_eval"]


@dataclass(frozen=True)
class Item:
    """One question. A choice is appended to the context as it stands (with its leading space);
    a minimal pair has an empty context and two whole sentences as choices."""

    context: str
    choices: tuple[str, ...]
    answer: int
    template: str
    """Items of one template are alike, so errors are clustered by it."""
    contexts: tuple[str, ...] = ()
    """One context a choice, where the choice stands in the context and what follows is alike (WinoGrande); else empty."""
    answers: tuple[int, ...] = ()
    """All true choices, where there may be several (TruthfulQA's MC2); else empty."""
    given: int = 0
    """Characters at the beginning of the context that are no part of the question: what every item begins with, solved examples."""

    @property
    def text(self) -> str:
        """What a reader of the solved item sees: the question and the right choice. Overlap with a corpus is looked for in it."""
        return self.context_of(self.answer)[self.given :] + self.choices[self.answer]

    @property
    def letters(self) -> int:
        """Characters to read; what all choices have in common at the beginning is read once."""
        wholes = [self.context_of(i) + choice for i, choice in enumerate(self.choices)]
        return sum(map(len, wholes)) - (len(wholes) - 1) * len(commonprefix(wholes))  # noqa: RUF071  by characters

    def context_of(self, choice: int) -> str:
        """What `choice` follows."""
        return self.contexts[choice] if self.contexts else self.context


@dataclass(frozen=True)
class Prompt:
    """What a model goes on from, or is measured on."""

    context: str
    reference: str
    """What is right, as text."""
    template: str
    details: Mapping[str, Any] = field(default_factory=dict)
    """What else the score needs, JSON-able: tests, an entry point, all accepted answers ..."""
    given: int = 0
    """Characters at the beginning of the context that are no part of the question."""

    @property
    def text(self) -> str:
        """What a reader of the solved prompt sees. Overlap with a corpus is looked for in it."""
        return self.context[self.given :] + self.reference

    @property
    def letters(self) -> int:
        """Characters to read."""
        return len(self.context) + len(self.reference)


@dataclass(frozen=True)
class Benchmark:
    """A named set of items in one register."""

    name: str
    group: str
    register: str
    fresh: bool
    chance: float | None
    """The score of blind guessing; None where there is none."""
    digest: str
    items: tuple[Item, ...] | tuple[Prompt, ...]
    """Items where the kind is "choice", prompts elsewhere."""
    kind: Kind = "choice"
    shots: int = 0
    """Solved examples before each question."""
    rule: str = ""
    """How an output becomes an answer, where the kind has several ways."""
    samples: int = 1
    """Programs written for each prompt, where the kind is "code"."""

    @cached_property
    def letters(self) -> int:
        """Characters to read for all items."""
        return sum(item.letters for item in self.items)

    @property
    def questions(self) -> tuple[Item, ...]:
        """The items of a benchmark of choices."""
        return tuple(item for item in self.items if isinstance(item, Item))

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The prompts of every other benchmark."""
        return tuple(item for item in self.items if isinstance(item, Prompt))
