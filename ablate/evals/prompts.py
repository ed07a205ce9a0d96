"""Rows of a published benchmark as the questions that are scored: the prompt with its solved examples, the choices, what is right.

A prompt is put together as lm-eval does it: the description, each example with its answer and an empty line after it, the question.
The examples are the first of the few-shot split (lm-eval's sampler `first_n`), the same for every item.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from string import Formatter
from typing import Any

from ablate.evals import rows
from ablate.evals.catalogue import Entry, Form
from ablate.evals.items import Item, Prompt
from ablate.study import spec

_AFTER_EXAMPLE = "\n\n"
_BEFORE_CHOICE = " "


def questions(asked: spec.Benchmark, entry: Entry, shots: int) -> list[Item | Prompt]:
    """The items that a study asks for. DataError, with file and line, for rows that are not this benchmark's."""
    entry = entry.asked(shots)
    pools = rows.examples(asked, entry, shots) if shots else {}
    placed = rows.items(asked, entry)[: asked.limit]
    shown = {key: _examples(entry, pool) for key, pool in pools.items()}
    made: list[Item | Prompt] = []
    for one in placed:
        with rows.told(one.place):
            before = _text(entry.description, one.row)
            if shots:
                before += shown[one.row[entry.examples_by] if entry.examples_by else None]
            made.append(_after(before, _question(entry, one.row, shots + 1)))
    return made


def _examples(entry: Entry, pool: Sequence[rows.Placed]) -> str:
    """The solved examples, each with what comes after it."""
    text = ""
    for number, placed in enumerate(pool, 1):
        with rows.told(placed.place):
            solved = _question(entry, placed.row, number)
            form = _form(entry, placed.row)
            text += solved.context + _text(form.example, placed.row) if form.example else solved.text
            text += _AFTER_EXAMPLE
    return text


def _after(before: str, question: Item | Prompt) -> Item | Prompt:
    """The question with something before it, which does not count as its own text."""
    context, given = before + question.context, len(before)
    if isinstance(question, Prompt):
        return replace(question, context=context, given=given)
    if question.contexts:
        return replace(question, contexts=tuple(before + one for one in question.contexts), given=given)
    return replace(question, context=context, given=given)


def _question(entry: Entry, row: Mapping[str, Any], number: int) -> Item | Prompt:
    """The question of one row, alone. ValueError or LookupError where the row does not hold one."""
    form, row = _form(entry, row), {**row, "number": str(number)}
    template = _text(entry.template, row) if entry.template else entry.name
    context = _text(form.context, row)
    if entry.kind != "choice":
        if not context.strip():
            raise ValueError("the text is empty")
        details = {name: _column(row, path) for name, path in (form.details or {}).items()}
        return Prompt(context, _text(form.reference, row), template, details)
    listed = _column(row, form.choices) if isinstance(form.choices, str) else [_text(text, row) for text in form.choices]
    if not all(isinstance(choice, str) and choice.strip() for choice in listed):
        raise ValueError("a choice is empty, or no text")
    choices = tuple(_BEFORE_CHOICE + choice for choice in listed)
    answers = tuple(_column(row, form.answers)) if form.answers else ()
    if form.answers and not answers:
        raise ValueError("no choice is right")
    answer = _place(answers[0] if answers else _right(form, row), len(choices))
    item = Item(context, choices, answer, template, tuple(_text(text, row) for text in form.contexts), answers)
    return _hashed(item) if entry.order == "hashed" else item


def _form(entry: Entry, row: Mapping[str, Any]) -> Form:
    """The form in which the row is published."""
    for form in entry.forms:
        if form.columns <= row.keys():
            return form
    wanted = " or ".join(", ".join(sorted(form.columns)) for form in entry.forms)
    raise ValueError(f"{entry.name} needs the columns {wanted}, and the row has {', '.join(map(str, row))}")


def _right(form: Form, row: Mapping[str, Any]) -> Any:
    """Which choice is right, as the row says it."""
    if isinstance(form.answer, int):
        return form.answer
    value = _column(row, form.answer)
    if not form.labels:
        return value[0] if isinstance(value, list) and len(value) == 1 else value
    labels = list(_column(row, form.labels) if isinstance(form.labels, str) else form.labels)
    if str(value) not in labels:
        raise ValueError(f"{form.answer} is {value!r}, none of {', '.join(map(str, labels))}; is this a split without answers?")
    return labels.index(str(value))


def _place(value: Any, choices: int) -> int:
    if not isinstance(value, int) or not 0 <= value < choices:
        raise ValueError(f"the right choice is said to be {value!r}, and there are {choices} (counted from 0)")
    return int(value)


def _hashed(item: Item) -> Item:
    """The choices turned by a number that follows from them: the same on every machine, and each place is right about equally often."""
    turn = hashlib.sha256("\n".join(item.choices).encode()).digest()[0] % len(item.choices)
    choices = item.choices[turn:] + item.choices[:turn]
    return replace(item, choices=choices, answer=(item.answer - turn) % len(choices))


def _column(row: Mapping[str, Any], path: str) -> Any:
    value: Any = row
    for key in path.split("."):
        value = value[key]
    return value


def _text(text: str, row: Mapping[str, Any]) -> str:
    """A format string over the columns of a row, which must be text."""
    made = _TEXTS.vformat(text, (), row)
    made.encode()  # half a surrogate pair is no character: UnicodeEncodeError, a ValueError
    return made


class _Texts(Formatter):
    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        value, first = super().get_field(field_name, args, kwargs)
        if not isinstance(value, str):
            raise ValueError(f"{field_name} is not text")
        return value, first


_TEXTS = _Texts()
