"""From a YAML file to a checked Study; whatever is wrong in it is told with file, line, the word and the valid words."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ablate.errors import StudyError
from ablate.study import document, fields, sentences
from ablate.study.document import Document, DocumentError
from ablate.study.spec import Benchmark, Block, Source, Study, Tokenizer

_KINDS: dict[type[Block], frozenset[str]] = {
    Source: frozenset({"builtin", "files", "hf", "tokens", "sources"}),
    Tokenizer: frozenset({"train_bpe", "path", "hf"}),
    Benchmark: frozenset({"builtin", "task"}),
}
"""A mapping with one of these keys says what a source, a tokenizer or a benchmark is: it replaces, it adds nothing."""

_WIDE = {"grid", "cells", "profiles"}

Place = Callable[[document.Path], str]
"""Where the value at a path was written, as the beginning of a sentence."""


def load(path: Path, profile: str | None = None, overrides: Sequence[str] = ()) -> Study:
    """The study in `path`, with `profile` merged over it and the overrides (`train.lr=0.002`) over that.

    The file and every profile in it are checked, chosen or not. StudyError tells the first mistake and how many follow.
    """
    base = _read(path)
    study = _checked(base, path)
    studies: dict[str | None, Study] = {None: study}
    for name in study.profiles:
        studies[name] = _checked(_merged(base, name, path), path, f"in the profile {name}: ")
    if profile not in studies:
        named = fields.choices(str(profile), study.profiles) or "; the file has no profiles"
        raise StudyError(f"{path}: unknown profile {profile!r}{named}")
    return _overridden(studies[profile], overrides)


def with_values(study: Study, values: Mapping[str, Any]) -> Study:
    """`study` with other values at dotted paths, such as a factor's level: {"train.lr": 0.003}; checked like a file."""
    if not values:
        return study
    places = {_path(name): value for name, value in values.items()}
    for path in places:
        _check_path(path, "")
    return _changed(study, places, lambda path: "")


def factor_paths() -> list[str]:
    """Every field that may be a factor: those that can change the weights of a model."""
    return list(fields.factor_paths())


def schema() -> dict[str, Any]:
    """The JSON Schema of the file, for editors; generated from the classes in spec.py."""
    whole = Study.model_json_schema()
    levels = {name: {"description": "levels such as " + example} for name, example in _EXAMPLES.items()}
    levels |= {path: _property(whole, path) for path in fields.factor_paths()}
    lists = {name: {"type": "array", "items": level, "minItems": 1} for name, level in levels.items()}
    whole["properties"]["grid"] |= {"properties": lists, "additionalProperties": False}
    whole["properties"]["cells"]["items"] = {"type": "object", "properties": levels, "additionalProperties": False}
    partial = {key: value for key, value in whole["properties"].items() if key != "profiles"}
    whole["$defs"]["Profile"] = {"type": "object", "properties": partial, "additionalProperties": False}
    whole["properties"]["profiles"]["additionalProperties"] = {"$ref": "#/$defs/Profile"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole, "title": "A study of ablate"}


_EXAMPLES = {
    "params": "0.1M, 30M or 1.3B (non-embedding parameters)",
    "tokens": "0.25M, 2B or 20x (20 tokens a parameter)",
    "synthetic_ratio": "0, 0.5 or 1/3 (share of sequences from data.synthetic)",
}


def _property(whole: dict[str, Any], path: str) -> dict[str, Any]:
    *above, key = path.split(".")
    block = whole["$defs"][(fields.block_at(above) or Study).__name__]
    written = next(part for part in block.get("anyOf", [block]) if "properties" in part)["properties"][key]
    return {word: value for word, value in written.items() if word not in ("default", "title")}


def _read(path: Path) -> Document:
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise StudyError(f"{path}: there is no such study file{_neighbour(path)}") from None
    except IsADirectoryError:
        raise StudyError(f"{path} is a folder; name the study's .yaml file in it") from None
    except (OSError, ValueError) as e:
        raise StudyError(f"{path}: the study file cannot be read: {getattr(e, 'strerror', None) or e}") from None
    try:
        read = document.read(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as e:
        line = raw.count(b"\n", 0, e.start) + 1
        raise StudyError(f"{path}:{line}: this is not UTF-8 text; save the file as UTF-8") from None
    except DocumentError as e:
        raise StudyError(f"{path}:{e.line}: {e}") from None
    if not isinstance(read.value, dict):
        found = "the file is empty" if read.value is None else f"found {sentences.shown(read.value)}"
        raise StudyError(f"{path}:1: expected a study (name:, grid:, data:, ...), but {found}")
    return read


def _neighbour(path: Path) -> str:
    try:
        names = sorted(p.name for p in path.parent.iterdir() if p.suffix in (".yaml", ".yml"))
    except OSError:
        return f"; there is no folder {path.parent} either"
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean {path.with_name(near[0])}?" if near else ""


def _checked(written: Document, path: Path, note: str = "") -> Study:
    def place(at: document.Path) -> str:
        return f"{path}:{written.line(at)}: {note}"

    study = _validated(written.value, place)
    for within, names in [(("grid",), study.grid), *((("cells", i), cell) for i, cell in enumerate(study.cells))]:
        for name in names:
            if not fields.is_factor(name):
                raise StudyError(place((*within, name)) + fields.unknown_factor(name))
    return study


def _validated(value: dict[str, Any], place: Place) -> Study:
    try:
        # JSON, since only there pydantic can be strict ("3" is no number, true is no 1) and still build blocks from mappings
        return Study.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as e:
        (path, sentence), *more = sentences.findings(e, value)
        raise StudyError(f"{place(path)}{sentence}{f' (and {len(more)} more to mend)' if more else ''}") from None


def _merged(base: Document, name: str, path: Path) -> Document:
    above = ("profiles", name)
    overlay = base.value["profiles"][name]
    if "profiles" in overlay:
        raise StudyError(f"{path}:{base.line((*above, 'profiles'))}: the profile {name} cannot hold profiles of its own")
    lines = {at[2:]: line for at, line in base.lines.items() if at[:2] == above and len(at) > 2}
    return Document(_merge(base.value, overlay), base.lines | lines)


def _merge(base: Any, overlay: Any, at: tuple[str, ...] = ()) -> Any:
    block = fields.block_at(at) if at else None
    kinds = _KINDS.get(block, frozenset()) if block else frozenset()
    if not isinstance(base, dict) or not isinstance(overlay, dict) or kinds & overlay.keys():
        return overlay
    return base | {key: _merge(base.get(key), value, (*at, key)) for key, value in overlay.items()}


def _overridden(study: Study, overrides: Sequence[str]) -> Study:
    values: dict[tuple[str, ...], Any] = {}
    written: dict[tuple[str, ...], str] = {}
    for text in overrides:
        name, equals, value = text.partition("=")
        if not equals:
            raise StudyError(f"override {text}: write path.to.field=value, such as train.lr=0.002")
        path = _path(name.strip())
        _check_path(path, f"override {text}: ")
        try:
            values[path], written[path] = document.read(value).value, text
        except DocumentError as e:
            raise StudyError(f"override {text}: the value is {e}") from None

    def place(at: document.Path) -> str:
        guilty = [text for path, text in written.items() if path[: len(at)] == at[: len(path)]]
        return f"override {guilty[-1] if guilty else ' '.join(overrides)}: "

    return _changed(study, values, place) if values else study


def _path(name: str) -> tuple[str, ...]:
    """`grid.train.lr` is one level deep: the factor's name has the dot."""
    return ("grid", name[5:]) if name.startswith("grid.") else tuple(name.split("."))


def _check_path(path: tuple[str, ...], place: str) -> None:
    if path[0] == "profiles":
        raise StudyError(f"{place}a profile is chosen with --profile NAME and changed in the file")
    for depth, key in enumerate(path):
        around = path[:depth]
        block = fields.block_at(around)
        if path[:1] == ("grid",) and depth == 1 and not fields.is_factor(key):
            raise StudyError(place + fields.unknown_factor(key))
        if block and key not in fields.keys(block):
            raise StudyError(place + sentences.unknown_key(path[: depth + 1]))
        if fields.type_at(path[: depth + 1]) is None:
            raise StudyError(f"{place}{sentences.dotted(around)} holds a value, not keys: there is no {'.'.join(path)}")


def _changed(study: Study, values: Mapping[tuple[str, ...], Any], place: Place) -> Study:
    """A copy with other values, checked. What is not touched and may be long (a grid of a thousand cells) is not checked again."""
    untouched = _WIDE - {path[0] for path in values}
    data = study.model_dump(mode="json", by_alias=True, exclude=untouched)
    for path, value in values.items():
        block = data
        for key in path[:-1]:
            if not isinstance(block.get(key), dict):
                block[key] = {}
            block = block[key]
        block[path[-1]] = value
    return _validated(data, place).model_copy(update={name: getattr(study, name) for name in untouched})
