"""What a study's `benchmarks:` stands for: embedded benchmarks, and published ones of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from difflib import get_close_matches
from itertools import product

from ablate.errors import DataError, StudyError
from ablate.evals import embedded, prompts, sandbox
from ablate.evals.catalogue import entry
from ablate.evals.items import Benchmark, Item, Kind, Prompt
from ablate.evals.judge import judge_of
from ablate.study import spec
from ablate.study.grid import digest

REGISTER = "published"
"""Of every benchmark of the catalogue; embedded ones have several."""


def catalogue(specs: Sequence[spec.Benchmark], fresh: bool) -> list[Benchmark]:
    """The benchmarks a study names, in its order: an embedded one once a register, each followed by its fresh twin if `fresh`.

    StudyError for a name that is unknown or given twice, DataError for files or a data set that cannot be used.
    """
    found: list[Benchmark] = []
    for asked in specs:
        if asked.task is not None:
            found.append(_published(asked, asked.task))
        else:
            wanted = product(_names(asked), embedded.REGISTERS, (False, True) if fresh else (False,))
            found += [_embedded(name, register, twin) for name, register, twin in wanted]
    seen: set[tuple[str, str, bool]] = set()
    for benchmark in found:
        key = (benchmark.name, benchmark.register, benchmark.fresh)
        if key in seen or (benchmark.register == REGISTER and benchmark.name in embedded.NAMES):
            raise StudyError(f"evaluate.benchmarks: two are called {benchmark.name}; name each once (name: gives a task another name)")
        seen.add(key)
    return found


def refuse_unready(evaluate: spec.Evaluate) -> None:
    """StudyError for a task that the study does not allow, or lacks a judge for; UsageError for code that cannot be confined here."""
    for task in (asked.task for asked in evaluate.benchmarks if asked.task is not None):
        kind = entry(task).kind
        if kind == "code":
            sandbox.check(evaluate.allow_code_execution, task)
        if kind == "story":
            judge_of(task, evaluate.judge)


def make(
    name: str,
    group: str,
    register: str,
    fresh: bool,
    chance: float | None,
    items: Sequence[Item | Prompt],
    kind: Kind = "choice",
    shots: int = 0,
    rule: str = "",
    samples: int = 1,
) -> Benchmark:
    """A benchmark with its digest: of its name, register, kind, rule and samples and of every item.

    DataError for items that cannot be scored. Published items may hold one choice twice; the right one must differ from another.
    """
    for number, item in enumerate(items):
        if isinstance(item, Item) and not _can_be_scored(item):
            raise DataError(f"benchmark {name}: item {number} needs two or more different choices, none empty, and an answer among them")
    if len(items) < 2:
        raise DataError(f"benchmark {name} has {len(items)} items; a score with a standard error needs at least two")
    scored = {"kind": kind, "rule": rule, "samples": samples}
    identity = {"name": name, "register": register, "fresh": fresh, **scored, "items": [asdict(item) for item in items]}
    return Benchmark(
        name=name,
        group=group,
        register=register,
        fresh=fresh,
        chance=chance,
        digest=digest(identity),
        items=tuple(items),  # type: ignore[arg-type]  # all of one kind
        kind=kind,
        shots=shots,
        rule=rule,
        samples=samples,
    )


def _can_be_scored(item: Item) -> bool:
    several = len(set(item.contexts or item.choices)) > 1
    return several and "" not in item.choices and item.answer in range(len(item.choices))


def _published(asked: spec.Benchmark, task: str) -> Benchmark:
    known = entry(task)
    shots = known.shots if asked.shots is None else asked.shots
    if asked.samples is not None and known.kind != "code":
        raise StudyError(f"evaluate.benchmarks: samples: belongs to humaneval and mbpp, and {task} takes one answer")
    items = prompts.questions(asked, known, shots)
    chance = known.chance
    if chance == "choices":
        chance = sum(1 / len(item.choices) for item in items if isinstance(item, Item)) / len(items)
    return make(asked.name or task, known.group, REGISTER, False, chance, items, known.kind, shots, known.rule, asked.samples or 1)


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
