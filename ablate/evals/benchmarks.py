"""The catalogue: what a study's `benchmarks:` stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from difflib import get_close_matches
from itertools import product

from ablate.errors import DataError, StudyError
from ablate.evals import blimp, embedded
from ablate.evals.items import Benchmark, Item
from ablate.study import spec
from ablate.study.grid import digest

PAIRS_GROUP = "language"


def catalogue(specs: Sequence[spec.Benchmark], fresh: bool) -> list[Benchmark]:
    """The benchmarks a study names, in its order: an embedded one once a register, each followed by its fresh twin if `fresh`.

    StudyError for a name that is unknown or given twice, DataError for a file that cannot be used.
    """
    found: list[Benchmark] = []
    for asked in specs:
        if asked.blimp is not None and asked.name is not None:
            found.append(make(asked.name, PAIRS_GROUP, "file", False, blimp.CHANCE, blimp.load(asked.blimp)))
        else:
            wanted = product(_names(asked), embedded.REGISTERS, (False, True) if fresh else (False,))
            found += [_embedded(name, register, twin) for name, register, twin in wanted]
    seen: set[tuple[str, str, bool]] = set()
    for benchmark in found:
        key = (benchmark.name, benchmark.register, benchmark.fresh)
        if key in seen or (benchmark.register == "file" and benchmark.name in embedded.NAMES):
            raise StudyError(f"evaluate.benchmarks: two are called {benchmark.name}; name each once (builtin:all holds every embedded one)")
        seen.add(key)
    return found


def make(name: str, group: str, register: str, fresh: bool, chance: float, items: Sequence[Item]) -> Benchmark:
    """A benchmark with its digest: of its name, register and kind and of every item. DataError for items that cannot be scored."""
    for number, item in enumerate(items):
        distinct = set(item.choices) - {""}
        if len(distinct) < max(2, len(item.choices)) or item.answer not in range(len(item.choices)):
            raise DataError(f"benchmark {name}: item {number} needs two or more different choices, none empty, and an answer among them")
    if len(items) < 2:
        raise DataError(f"benchmark {name} has {len(items)} items; a score with a standard error needs at least two")
    identity = {"name": name, "register": register, "fresh": fresh, "items": [asdict(item) for item in items]}
    return Benchmark(name=name, group=group, register=register, fresh=fresh, chance=chance, digest=digest(identity), items=tuple(items))


def _embedded(name: str, register: str, fresh: bool) -> Benchmark:
    return make(name, embedded.NAMES[name], register, fresh, embedded.chance(name), embedded.items(name, register, fresh))


def _names(asked: spec.Benchmark) -> list[str]:
    name = asked.builtin or ""
    if name == "all":
        return list(embedded.NAMES)
    if name not in embedded.NAMES:
        nearest = get_close_matches(name, ["all", *embedded.NAMES], 1, 0)
        valid = ", ".join(embedded.NAMES)
        raise StudyError(f"evaluate.benchmarks: unknown benchmark builtin:{name}; nearest: {nearest[0]}; valid: all, {valid}")
    return [name]
