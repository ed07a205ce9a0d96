"""The `where` of a study: which runs to keep, as a condition over its factors and the seed.

Python's grammar, read with `ast` and never executed: comparisons, `and`, `or`, `not`, `in (…)`, sums and products of
factors (also `train.lr`), numbers as people write them (`1B`, `20x` = 20 tokens a parameter) and quoted text.
Arithmetic is exact, so `synthetic_ratio == 0.1` and `synthetic_ratio == 1/10` are the same.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ablate.errors import StudyError
from ablate.study.fields import choices
from ablate.study.quantities import SCALES, parse_count

LONGEST = 2000

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_QUANTITY = re.compile(rf"('[^']*'|\"[^\"]*\")|(?<![\w.])([0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)([x{''.join(SCALES)}])(?!\w)")
_WORDS = {"true": True, "false": False}


@dataclass(frozen=True)
class Where:
    """A condition that has been read: every name in it is known, nothing in it can do more than compare."""

    text: str
    tree: ast.expr

    @property
    def names(self) -> frozenset[str]:
        """The factors or columns it speaks of, dotted where they are nested."""
        inner = {id(node.value) for node in ast.walk(self.tree) if isinstance(node, ast.Attribute)}
        found = (_dotted(node) for node in ast.walk(self.tree) if isinstance(node, (ast.Name, ast.Attribute)) and id(node) not in inner)
        return frozenset(name for name in found if name and name not in _WORDS)

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether a run with these factors (and `seed`) is kept; StudyError where the values cannot be compared."""
        try:
            answer = _value(self.tree, values)
        except TypeError:
            raise StudyError(f"where: {self.text!r} compares or adds a number and something else, at {_shown(values)}") from None
        except ZeroDivisionError:
            raise StudyError(f"where: {self.text!r} divides by 0 at {_shown(values)}") from None
        except RecursionError:
            raise StudyError(f"where: {self.text[:80]!r}... is nested too deeply") from None
        if not isinstance(answer, bool):
            raise StudyError(f"where: {self.text!r} is no condition; compare what it names with something")
        return answer


def parse(text: str, names: Collection[str] | None) -> Where:
    """Read a condition over `names` (None: over any); StudyError where it cannot be read or names something else."""
    try:
        if len(text) > LONGEST:
            raise ValueError(f"it is longer than {LONGEST} characters")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tree = ast.parse(_QUANTITY.sub(_plain, text.strip()), mode="eval").body
        _check(tree, None if names is None else frozenset(names))
    except StudyError as e:
        raise StudyError(f"where: {e} in {text!r}") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError, Warning) as e:
        why, example = f" ({e})" if type(e) is ValueError else "", "params < 1B or seed == 0" if names else "score > 3 and language == 'en'"
        raise StudyError(f"where: {text[:200]!r} cannot be read{why}; write a condition such as {example}") from None
    return Where(text, tree)


def _plain(match: re.Match[str]) -> str:
    quoted, number, unit = match.groups()
    if quoted:
        return str(quoted)
    return f"({number}*params)" if unit == "x" else str(parse_count(number + unit))


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return before and f"{before}.{node.attr}"
    return None


def _check(node: ast.expr, names: frozenset[str] | None, listed: bool = False) -> None:
    name = _dotted(node)
    if name is not None:
        if names is not None and name not in names and name not in _WORDS:
            raise StudyError(f"unknown factor {name!r} (text needs quotes){choices(name, sorted(names))}")
        return
    match node:
        case ast.Constant(value=bool() | int() | float() | str()):
            _exact(node.value)
            return
        case ast.List() | ast.Tuple() if listed:
            below = node.elts
        case ast.BoolOp():
            below = node.values
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd()):
            below = [node.operand]
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            below = [node.left, node.right]
        case ast.Compare() if all(type(op) in _COMPARE for op in node.ops):
            _check(node.left, names)
            for op, right in zip(node.ops, node.comparators, strict=True):
                among = isinstance(op, (ast.In, ast.NotIn))
                if among and not isinstance(right, (ast.List, ast.Tuple)):
                    raise StudyError("after `in` comes a list such as (1M, 10M)")
                _check(right, names, listed=among)
            return
        case _:
            raise StudyError(f"{ast.unparse(node)[:80]!r} is not allowed (compare factors; use and, or, not, in, + - * /)")
    for child in below:
        _check(child, names)


def _exact(value: Any) -> Any:
    """Floats as the decimal they are written as, so that 0.1 is a tenth; ValueError for one that is too large to be a number."""
    return Fraction(repr(value)) if isinstance(value, float) else value


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    name = _dotted(node)
    if name is not None:
        return _WORDS[name] if name in _WORDS else _exact(values.get(name))
    match node:
        case ast.Constant():
            return _exact(node.value)
        case ast.List() | ast.Tuple():
            return [_value(child, values) for child in node.elts]
        case ast.BoolOp():
            each = (_truth(_value(child, values)) for child in node.values)
            return all(each) if isinstance(node.op, ast.And) else any(each)
        case ast.UnaryOp(op=ast.Not()):
            return not _truth(_value(node.operand, values))
        case ast.UnaryOp():
            number = _number(_value(node.operand, values))
            return -number if isinstance(node.op, ast.USub) else number
        case ast.BinOp():
            left, right = _number(_value(node.left, values)), _number(_value(node.right, values))
            return _ARITHMETIC[type(node.op)](left, right)
        case ast.Compare():
            operands = [_value(child, values) for child in (node.left, *node.comparators)]
            return all(_COMPARE[type(op)](operands[i], operands[i + 1]) for i, op in enumerate(node.ops))
    raise TypeError(node)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _number(value: Any) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, (int, Fraction)):
        raise TypeError(value)
    return Fraction(value)


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
