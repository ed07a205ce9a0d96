"""YAML text as plain values, with the line that each was written on; what YAML would let pass in silence is refused.

PyYAML's safe_load keeps the last of two equal keys, forgets lines, and reads `1e-3` as text. Here equal keys are an error,
keys are the text that was written (`null:` is the word null), and `1e-3` is a number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

Path = tuple[str | int, ...]
"""The way to a value: keys of mappings and indices of lists."""

LARGEST = 100_000
"""Values in one file; aliases of aliases can mean billions in a few lines."""

_TAG = "tag:yaml.org,2002:"
_SCALARS = {_TAG + kind for kind in ("str", "int", "float", "bool", "null")}
_EXPONENT = re.compile(r"[-+]?[0-9][0-9_]*(?:\.[0-9]*)?[eE][-+]?[0-9]+\Z")


class DocumentError(ValueError):
    """Not a document we can read: a sentence, and the line (from 1)."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


@dataclass(frozen=True)
class Document:
    """What a text says, and where. `lines` knows every key and list entry, and () for the whole."""

    value: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """The line of `path`, or of the nearest thing around it that was written."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class _Loader(yaml.SafeLoader):
    """safe_load's rules, without dates."""

    yaml_implicit_resolvers = {  # noqa: RUF012  the base class has it as a plain attribute
        first: [(tag, pattern) for tag, pattern in rules if tag not in (_TAG + "timestamp", _TAG + "value")]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(_TAG + "float", _EXPONENT, list("-+0123456789"))


def read(text: str) -> Document:
    """The one document in `text`; None as its value where there is none. DocumentError with the line otherwise."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        builder = _Builder(loader)
        return Document(None if node is None else builder.build(node, ()), builder.lines)
    except yaml.reader.ReaderError as e:
        raise DocumentError(text.count("\n", 0, e.position) + 1, f"the character {chr(e.character)!r} is not allowed in YAML") from None
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        raise DocumentError(mark.line + 1 if mark else 1, _problem(e, text)) from None
    except RecursionError:
        raise DocumentError(1, "brackets, blocks or aliases are nested too deeply") from None


def _problem(error: yaml.MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark
    if "'\\t'" in (error.problem or "") or (mark and text[mark.index : mark.index + 1] == "\t"):
        return "a tab: indent with spaces, YAML allows no tabs there"
    if "single document" in (error.context or ""):
        return "a second document begins here (---); a study file holds one"
    return f"not valid YAML ({error.problem or error.context}): check indentation, colons, quotes and brackets"


class _Builder:
    """Values from YAML's nodes."""

    def __init__(self, loader: _Loader) -> None:
        self.lines: dict[Path, int] = {}
        self._loader = loader
        self._open: set[int] = set()
        self._merged: set[int] = set()
        self._count = 0

    def build(self, node: yaml.Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        self._count += 1
        if self._count > LARGEST:
            raise DocumentError(line, f"more than {LARGEST:,} values")
        if id(node) in self._open:
            raise DocumentError(line, "an anchor that contains its own alias")
        self.lines[path] = line
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, line)
        if node.tag not in (_TAG + "map", _TAG + "seq"):
            raise DocumentError(line, f"the tag {node.tag.replace(_TAG, '!!')} has no place in a study file")
        self._open.add(id(node))
        value = self._mapping(node, path) if isinstance(node, yaml.MappingNode) else self._list(node, path)
        self._open.discard(id(node))
        return value

    def _list(self, node: yaml.Node, path: Path) -> list[Any]:
        return [self.build(child, (*path, i)) for i, child in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        if id(node) not in self._merged:
            self._refuse_equal_keys(node)
            self._loader.flatten_mapping(node)  # resolves `<<: *anchor`, in place
            self._merged.add(id(node))
        values = {}
        for key, child in node.value:
            below = (*path, key.value)
            values[key.value] = self.build(child, below)
            self.lines[below] = key.start_mark.line + 1
        return values

    def _refuse_equal_keys(self, node: yaml.MappingNode) -> None:
        first: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise DocumentError(line, "a list or a mapping stands where a key should")
            if key.value in first:
                raise DocumentError(line, f"the key {key.value!r} stands here and on line {first[key.value]}; keep one")
            first[key.value] = line

    def _scalar(self, node: yaml.ScalarNode, line: int) -> Any:
        if node.tag not in _SCALARS:
            raise DocumentError(line, f"the tag {node.tag.replace(_TAG, '!!')} has no place in a study file")
        try:
            value = self._loader.construct_object(node)
            str(value)  # Python refuses to write whole numbers of more than 4,300 digits
        except (ValueError, OverflowError):
            raise DocumentError(line, f"{node.value[:60]!r} is not the number it should be") from None
        return value
