"""pydantic's findings about a study, in people's words."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ablate.study import fields
from ablate.study.document import Path
from ablate.study.spec import Study

_EXPECTED = {
    "string_type": "text (in quotes, if it looks like something else)",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of {max_length} at most",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "a name of letters, digits and _ that begins with a letter",
}


def findings(error: ValidationError, value: Any) -> list[tuple[Path, str]]:
    """What is wrong with `value`, as (path, sentence); unknown keys first, since a missing key is often a misspelt one."""
    by_path: dict[Path, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        by_path.setdefault(_path(detail, value), []).append(detail)
    ordered = sorted(by_path.items(), key=lambda item: item[1][0]["type"] != "extra_forbidden")
    return [(path, _sentence(path, details)) for path, details in ordered]


def shown(value: Any) -> str:
    """A value as it may stand in the file, cut to a readable length."""
    text = json.dumps(value, ensure_ascii=False, default=str) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def dotted(path: Path) -> str:
    """`data.web.seed`, `seeds entry 2`."""
    text = ""
    for key in path:
        text += f" entry {key + 1}" if isinstance(key, int) else f".{key}" if text else key
    return text or "the study"


def _path(detail: ErrorDetails, value: Any) -> Path:
    """pydantic's location without its own additions (union members, `[key]`, the inside of short forms)."""
    path: list[str | int] = []
    for key in detail["loc"]:
        inside = key in value if isinstance(value, dict) else isinstance(value, list) and isinstance(key, int) and key < len(value)
        if not inside:
            break
        path.append(key)
        value = value[key]
    if detail["type"] == "missing" and isinstance(value, dict):
        path.append(detail["loc"][-1])
    return tuple(path)


def _sentence(path: Path, details: Sequence[ErrorDetails]) -> str:
    kind = details[0]["type"]
    if kind == "extra_forbidden":
        return unknown_key(path)
    if kind == "missing" and isinstance(details[0]["loc"][-1], str):
        field = fields.keys(fields.block_at(path[:-1]) or Study)[str(path[-1])]
        return f"the key {dotted(path)} is missing{f' ({field.description})' if field.description else ''}"
    told = [str(d["ctx"]["error"]) for d in details if d["type"] == "value_error"]
    options = [option for d in details if d["type"] == "literal_error" for option in _options(d)]
    if told:
        return f"{dotted(path)}: {told[0]}{f', or write {options[0]}' if options else ''}"
    if kind == "missing":
        return f"{dotted(path)}: the list has too few entries"
    found = details[0]["input"]
    if options and len(details) == 1:
        near = difflib.get_close_matches(str(found), options, n=1)
        return f"{dotted(path)}: {shown(found)} is not known{f'; nearest: {near[0]}' if near else ''}; valid: {', '.join(options)}"
    expected = [*options, *(_EXPECTED[d["type"]].format(**d.get("ctx", {})) for d in details if d["type"] in _EXPECTED)]
    if not expected:
        return f"{dotted(path)}: {details[0]['msg']}, found {shown(found)}"
    return f"{dotted(path)}: expected {' or '.join(expected)}, found {shown(found)}"


def _options(detail: ErrorDetails) -> list[str]:
    return [word.strip().strip("'") for word in detail["ctx"]["expected"].replace(" or ", ", ").split(",")]


def unknown_key(path: Path) -> str:
    """For the last word of `path`, which is no key of the block that holds it."""
    block = fields.block_at(path[:-1])
    words = fields.choices(str(path[-1]), fields.keys(block) if block else (), fields.paths())
    return f"unknown key {shown(path[-1])}{f' in {dotted(path[:-1])}' if path[:-1] else ''}{words}"
