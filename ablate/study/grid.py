"""From a study to its cells, and from resolved runs to digests and families. Pure: no file, no device."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from ablate.errors import StudyError
from ablate.study import fields, where
from ablate.study.fields import SHORTHAND
from ablate.study.load import with_values
from ablate.study.quantities import parse_budget, parse_count, parse_fraction
from ablate.study.sentences import shown
from ablate.study.spec import Block, Data, Model, Source, Study

MOST_CELLS = 100_000

_PARSE: dict[str, Callable[[object], Any]] = {"params": parse_count, "tokens": parse_budget, "synthetic_ratio": parse_fraction}


@dataclass(frozen=True)
class Point:
    """A cell and a seed, as the study says it."""

    factors: dict[str, Any]
    """params: int; tokens: int (20x resolved); synthetic_ratio: Fraction; any other factor: the field's value, JSON-able,
    in one form however it was written. Every point of a study has the same keys in the same order."""
    seed: int


@dataclass(frozen=True)
class Run:
    """One model to train, with nothing left to decide."""

    factors: dict[str, Any]
    """JSON-able; not in the digest."""
    seed: int
    recipe: dict[str, Any]
    """Everything that changes the weights, JSON-able."""
    data: Data
    """Where the sources lie whose digests are in the recipe; not in the digest."""
    weights: str | None = None
    """Folder of the checkpoint that the run starts from, whose identity is in the recipe; not in the digest."""

    @cached_property
    def digest(self) -> str:
        return digest(self.recipe)

    @cached_property
    def family(self) -> str:
        return digest({key: value for key, value in self.recipe.items() if key != "tokens"})

    @property
    def tokens(self) -> int:
        return int(self.recipe["tokens"])

    @property
    def params(self) -> int:
        """As asked for, or the count of a preset or a checkpoint (ladder.count of recipe["model"] is exact)."""
        return int(self.recipe["params"])


@dataclass(frozen=True)
class Family:
    """Runs that differ in tokens alone, so that one trunk serves them all."""

    digest: str
    runs: tuple[Run, ...]
    """One a digest, ascending in tokens."""


def digest(value: Any) -> str:
    """16 hex digits that depend on the JSON value alone, not on the order of keys; ValueError for nan and infinities."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def families(runs: Iterable[Run]) -> list[Family]:
    """The runs by family, in order of first appearance; a run that is given twice is there once."""
    members: dict[str, dict[str, Run]] = {}
    for run in runs:
        members.setdefault(run.family, {}).setdefault(run.digest, run)
    return [Family(name, tuple(sorted(found.values(), key=lambda run: run.tokens))) for name, found in members.items()]


def points(study: Study, own_params: Callable[[Model], int | None] = lambda model: None) -> list[Point]:
    """Grid and cells, times seeds, less what `where` drops. StudyError where a level or the whole makes no sense.

    `own_params` counts a model that brings its shape (a preset, a checkpoint) and gives None for any other: cells of the
    former take params from there and must not name it.
    """
    if len(set(study.seeds)) < len(study.seeds):
        raise StudyError(f"seeds: {shown(study.seeds)} has one seed twice")
    names = _names(study)
    condition = None if study.where is None else where.parse(study.where, [*names, "seed"])
    kept = []
    for factors in _cells(study, names, own_params):
        for seed in study.seeds:
            if condition is None or condition.holds({**factors, "seed": seed}):
                kept.append(Point(dict(factors), seed))
    if not kept:
        raise StudyError(f"where: {study.where!r} keeps no run of this study")
    return kept


def _names(study: Study) -> list[str]:
    """Every factor, in the order of grid: and then of cells:; params and synthetic_ratio last where neither names them."""
    names = list(dict.fromkeys(itertools.chain(study.grid, *study.cells, ["params", "synthetic_ratio"])))
    for name in names:
        if not fields.is_factor(name):
            raise StudyError(fields.unknown_factor(name))
    return names


def _cells(study: Study, names: list[str], own_params: Callable[[Model], int | None]) -> Iterator[dict[str, Any]]:
    """Every cell once, its levels parsed."""
    fixed = _Fixed(study, own_params)
    seen: dict[tuple[Any, ...], dict[str, Any]] = {}
    for written, place in _written(study):
        factors, key = _parsed(written, place, names, fixed)
        if key in seen:
            raise StudyError(_same(seen[key], written))
        seen[key] = written
        yield factors


def _written(study: Study) -> Iterator[tuple[dict[str, Any], str]]:
    """The cells as the study has them, each with its place in the study for the sentences."""
    if not study.grid and not study.cells:
        raise StudyError("the grid is empty: name at least params and tokens, such as grid: {params: [1M], tokens: [20x]}")
    for name, levels in study.grid.items():
        if not levels:
            raise StudyError(f"grid.{name} has no levels: name at least one, or leave the factor out")
    count = math.prod(map(len, study.grid.values())) + len(study.cells)
    if count > MOST_CELLS:
        raise StudyError(f"the grid has {count:,} cells, more than {MOST_CELLS:,}: name fewer levels")
    if study.grid:
        for combination in itertools.product(*study.grid.values()):
            yield dict(zip(study.grid, combination, strict=True)), "grid."
    for i, cell in enumerate(study.cells, start=1):
        yield cell, f"cells entry {i}, "


class _Fixed:
    """The study with the factors of a cell that are fields (all but SHORTHAND) put in their places; built once a combination."""

    def __init__(self, study: Study, own_params: Callable[[Model], int | None]) -> None:
        self._study = study
        self._own_params = own_params
        self._known: dict[str, tuple[Study, str]] = {}

    def params(self, written: dict[str, Any], model: Model, place: str) -> int:
        """As the cell says, or as its model counts."""
        own = self._own_params(model)
        if own is None:
            return int(_level("params", written["params"], place))
        if "params" in written:
            word = "preset" if model.preset is not None else "from"
            raise StudyError(
                f"{place}params: the model of model.{word} has {own:,} parameters outside its embeddings; leave params out there"
            )
        return own

    def __call__(self, written: dict[str, Any]) -> tuple[Study, str]:
        """That study, and a digest of all its values that may be factors."""
        values = {name: level for name, level in written.items() if name not in SHORTHAND}
        key = json.dumps(values)
        if key not in self._known:
            study = with_values(self._study, values)
            self._known[key] = study, digest(study.model_dump(mode="json", include={"data", "model", "train"}))
        return self._known[key]


def _parsed(written: dict[str, Any], place: str, names: list[str], fixed: _Fixed) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """The factors of a cell, and a key that two cells share if they mean the same."""
    study, others = fixed(written)
    for name in ("tokens",) if study.model.brings_shape else ("params", "tokens"):
        if name not in written:
            raise StudyError(f"{place}{name} is missing: every cell needs params and tokens")
    params = fixed.params(written, study.model, place)
    budget = _level("tokens", written["tokens"], place)
    tokens = budget * params if isinstance(budget, Fraction) else budget
    if tokens != int(tokens):
        raise StudyError(f"{place}tokens: {written['tokens']} of {params} params is {float(tokens)} tokens, not a whole number")
    levels = {"params": params, "tokens": int(tokens), "synthetic_ratio": _ratio(written, study, place)}
    factors = {name: levels[name] if name in SHORTHAND else _field(study, name) for name in names}
    return factors, (*levels.values(), others)


def _level(name: str, level: Any, place: str) -> Any:
    try:
        return _PARSE[name](level)
    except ValueError as e:
        raise StudyError(f"{place}{name}: {e}") from None


def _ratio(written: dict[str, Any], study: Study, place: str) -> Fraction:
    """The share of data.synthetic; where the cell names none, the only one that its sources allow."""
    synthetic, web = study.data.synthetic is not None, study.data.web is not None
    left = 1 - sum(study.data.shares.values(), Fraction(0))
    if "synthetic_ratio" in written:
        ratio: Fraction = _level("synthetic_ratio", written["synthetic_ratio"], place)
    elif synthetic and web:
        raise StudyError(f"{place}synthetic_ratio is missing: data has both sources, so say how they are mixed, such as [0, 0.5, 1]")
    else:
        ratio = left if synthetic else Fraction(0)
    shown_ratio = written.get("synthetic_ratio", float(ratio))
    if ratio > left:
        taken = float(1 - left)
        raise StudyError(f"{place}synthetic_ratio: {shown_ratio} and data.shares, which add up to {taken:g}, are together more than 1")
    for role, there, share in (("synthetic", synthetic, ratio), ("web", web, left - ratio)):
        if share and not there:
            also = f" beside data.shares of {float(1 - left):g}" if study.data.shares else ""
            raise StudyError(f"{place}synthetic_ratio: {shown_ratio}{also} needs data.{role}, and the study names no such source")
    return ratio


def _field(study: Study, name: str) -> Any:
    """The level of a factor that is a field, in one form however it was written; the study's own value in cells that do not name it."""
    value = fields.value_at(study, name)
    if isinstance(value, dict):
        return study.model_dump(mode="json", include={"data": {name.removeprefix("data.")}})["data"][name.removeprefix("data.")]
    if isinstance(value, Source) and (short := value.short_form()):
        return short
    if isinstance(value, Block):
        return value.model_dump(mode="json", exclude_defaults=True) or value.model_dump(mode="json")
    return list(value) if isinstance(value, tuple) else value


def _same(first: dict[str, Any], second: dict[str, Any]) -> str:
    pairs = [(name, first[name], second[name]) for name in second if name in first and json.dumps(first[name]) != json.dumps(second[name])]
    cell = ", ".join(f"{name} {level}" for name, level in second.items())
    if pairs:
        same = "; ".join(f"{name}: {shown(a)} and {shown(b)} are the same level, keep one" for name, a, b in pairs)
        return f"{same} (in the cell {cell})"
    return f"the cell {cell} is there twice; keep one"
