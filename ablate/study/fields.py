"""The fields of a study by their paths (`train.lr`), found in the classes of spec.py, and the words for a wrong one."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ablate.study.spec import Block, Study

SHORTHAND = ("params", "tokens", "synthetic_ratio")
"""Factors that are no field of the study; every other factor is the path of one."""

_VARIED = ("data.", "model.", "train.")
_SHARES = "data.shares."
"""The share of any named source is a factor: data.shares.NAME."""
_NO_WEIGHTS = ("data.neutral.", "data.held_out.", "data.max_epochs.", "train.optimizer.backend.")


@cache
def factor_paths() -> tuple[str, ...]:
    """Every field that may be a factor: those that can change the weights of a model."""
    return tuple(path for path in paths() if path.startswith(_VARIED) and not f"{path}.".startswith(_NO_WEIGHTS))


def paths(block: type[BaseModel] = Study, before: str = "") -> Iterator[str]:
    """Every key of `block` and of the blocks in it, dotted, in the order of their declaration."""
    for key, field in keys(block).items():
        yield before + key
        inner = block_of(field.annotation)
        if inner:
            yield from paths(inner, f"{before}{key}.")


def keys(block: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys as they are written in the file (`with`, not `launcher`)."""
    return {field.alias or name: field for name, field in block.model_fields.items()}


def block_of(annotation: Any) -> type[Block] | None:
    """The block that a value of this type is written as, if any: Source for `Source | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, Annotated):
        return next((found for part in get_args(annotation) if (found := block_of(part))), None)
    return None


def type_at(path: Iterable[str | int]) -> Any:
    """The declared type of what lies at `path`, entries of lists and mappings included; None where nothing may lie."""
    annotation: Any = Study
    for key in path:
        block = block_of(annotation)
        if block:
            field = keys(block).get(str(key))
            annotation = field.annotation if field else None
        else:
            many = get_origin(annotation)
            annotation = get_args(annotation)[-1] if many is dict or (many is list and isinstance(key, int)) else None
    return annotation


def block_at(path: Iterable[str | int]) -> type[Block] | None:
    """The block that lies at `path`; None where it is no block."""
    return block_of(type_at(path))


def value_at(study: Study, path: str) -> Any:
    """The value of a field; None also where a block on the way is not there."""
    value: Any = study
    for key in path.split("."):
        if isinstance(value, dict):
            value = value.get(key)
            continue
        named = {field.alias: name for name, field in type(value).model_fields.items()} if isinstance(value, Block) else {}
        value = getattr(value, named.get(key, key), None)
    return value


def choices(word: str, valid: Iterable[str], others: Iterable[str] = ()) -> str:
    """`; nearest: tokens; valid: params, tokens`: ends a sentence about an unknown word.

    `others` are whole paths elsewhere, named where no valid word is near but one of them ends in the word.
    """
    words = list(valid)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    near = near or [path for path in [*words, *others] if path.rpartition(".")[2] == word][:1]
    return "".join((f"; nearest: {near[0]}" if near else "", f"; valid: {', '.join(words)}" if words else ""))


def is_factor(name: str) -> bool:
    return name in SHORTHAND or name in factor_paths() or (name.startswith(_SHARES) and name.count(".") == _SHARES.count("."))


def unknown_factor(name: str) -> str:
    """The sentence for a name that cannot stand in grid: or in a cell."""
    why = "cannot be a factor (it changes no weights)" if name in paths() else "is no factor"
    near = choices(name, [*SHORTHAND, *factor_paths()]).partition("; valid: ")[0]
    groups: dict[str, list[str]] = {}
    for path in factor_paths():
        block, _, key = path.rpartition(".")
        groups.setdefault(block, []).append(key)
    grouped = [f"{block}.{{{', '.join(names)}}}" for block, names in groups.items()]
    return f"{name!r} {why}{near}; valid: {', '.join([*SHORTHAND, *grouped])}"
