"""The catalogue: every published benchmark as an entry of catalogue.yaml, read into these classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any, Literal

from ablate.errors import StudyError
from ablate.study import document, spec
from ablate.study.fields import choices

TABLE = Path(__file__).with_name("catalogue.yaml")


@dataclass(frozen=True)
class Hub:
    """Where the rows lie on the Hugging Face hub."""

    id: str
    split: str
    configs: tuple[str | None, ...] = (None,)
    """Read one after another."""
    examples: str | None = None
    """The split whose first rows are the solved examples; None: it has none."""
    revision: str = "main"

    def sources(self, split: str) -> list[spec.Source]:
        """A split as the data layer fetches it."""
        return [spec.Source(hf=self.id, config=config, split=split, revision=self.revision) for config in self.configs]


@dataclass(frozen=True)
class Form:
    """How a row of one published form becomes a question. Texts are format strings over the row's columns ({choices[0]} reaches
    into a list); a column of a column is written with a dot."""

    context: str = ""
    contexts: tuple[str, ...] = ()
    """Instead of `context`, one a choice: the choice stands in the context, and what follows it is scored."""
    choices: str | tuple[str, ...] = ()
    """The column that holds them all, or one text each; each follows its context after one space."""
    answer: str | int = ""
    """The column that says which choice is right, or its place where that is always the same."""
    labels: str | tuple[str, ...] = ()
    """What the answer column calls each choice: a column, or the words; empty: it holds the choice's place."""
    answers: str = ""
    """Instead of `answer`, the column that holds the places of all right choices, which are scored together."""
    reference: str = ""
    """Where nothing is chosen: what is right, as it follows the context."""
    example: str = ""
    """What follows the context in a solved example, where that is not `reference`."""
    details: Mapping[str, str] | None = None
    """What the scorer needs beside: name → column."""

    @property
    def columns(self) -> frozenset[str]:
        """The columns that a row must have."""
        texts = [self.context, *self.contexts, self.reference, self.example, *_words(self.choices)]
        named = [name for text in texts for _, name, _, _ in Formatter().parse(text) if name]
        named += [path for path in (self.choices, self.answer, self.labels, self.answers) if isinstance(path, str)]
        named += (self.details or {}).values()
        return frozenset(name.partition(".")[0].partition("[")[0] for name in named) - {"", "number"}


def _words(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return () if isinstance(value, str) else value


@dataclass(frozen=True)
class Splits:
    """A file that holds several splits: which values of a column are the items, which the examples; a pair is a range."""

    column: str
    items: str | tuple[int, int]
    examples: str | tuple[int, int]


@dataclass(frozen=True)
class Entry:
    """One benchmark."""

    name: str
    kind: Literal["choice", "last_word", "generate", "code", "safety", "story"]
    group: str
    metric: str
    chance: float | Literal["choices"] | None
    """The score of blind guessing; choices: the mean of 1 / choices over the items; None: there is none."""
    citation: str
    forms: tuple[Form, ...]
    """A row is read by the first form whose columns it has."""
    hub: Hub | None = None
    beside: str = ""
    """Or the file beside this one that holds the rows."""
    items: int | None = None
    """How many are published."""
    shots: int = 0
    rule: str = ""
    """How an answer is taken out of what is generated, and judged."""
    prepare: str = ""
    """The function of published.py that makes rows of different releases alike."""
    description: str = ""
    """What a prompt begins with."""
    template: str = ""
    """Which items are alike (their errors are clustered); default: all."""
    order: Literal["", "hashed"] = ""
    """hashed: choices stand in an order that follows from a hash of them, since in the rows the right one always has the same
    place, and a model that finds all alike would get it."""
    lines: tuple[str, ...] = ()
    """The columns of a .txt file that has a line for each."""
    header: tuple[str, ...] = ()
    """The columns of a .csv file that does not name them."""
    splits: Splits | None = None
    examples_by: str = ""
    """Examples are those that have the item's value in this column."""
    examples_column: str = ""
    """The column of a table of examples that is this benchmark's own."""
    with_shots: Mapping[str, Any] | None = None
    """What is different with examples."""

    def asked(self, shots: int) -> Entry:
        """The entry as it is with so many examples."""
        return replace(self, **self.with_shots) if shots and self.with_shots else self


def entry(name: str) -> Entry:
    """StudyError, with the nearest name and all of them, for one that is not in the catalogue."""
    table = entries()
    if name not in table:
        raise StudyError(
            f"evaluate.benchmarks: unknown task {name}{choices(name, table)}; any other task of lm-eval goes into evaluate.lm_eval"
        )
    return table[name]


@cache
def entries() -> dict[str, Entry]:
    """Name → entry, in the order of the file."""
    read: dict[str, dict[str, Any]] = document.read(TABLE.read_text(encoding="utf-8")).value
    return {name: _entry(name, values) for name, values in read.items()}


def _entry(name: str, values: Mapping[str, Any]) -> Entry:
    made = {**_frozen(values), "name": name, "forms": _forms(values["forms"])}
    if "hub" in made:
        made["hub"] = Hub(**_frozen(made["hub"]))
    if "splits" in made:
        made["splits"] = Splits(**_frozen(made["splits"]))
    if "with_shots" in made:
        made["with_shots"] = {**made["with_shots"], "forms": _forms(made["with_shots"]["forms"])}
    return Entry(**made)


def _forms(values: Iterable[Mapping[str, Any]]) -> tuple[Form, ...]:
    return tuple(Form(**_frozen(form)) for form in values)


def _frozen(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
