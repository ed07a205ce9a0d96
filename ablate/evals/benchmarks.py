"""What a study's `benchmarks:` stands for: embedded benchmarks, and published ones of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from itertools import product

from ablate.errors import DataError, StudyError
from ablate.evals import embedded, prompts, sandbox, written
from ablate.evals.catalogue import Entry, entry
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
    _refuse_twice(specs)
    found: list[Benchmark] = []
    for asked in specs:
        if asked.task is not None:
            found.append(_published(asked, asked.task))
        else:
            wanted = product(_names(asked), embedded.REGISTERS, (False, True) if fresh else (False,))
            found += [_embedded(name, register, twin) for name, register, twin in wanted]
    return found


def refuse_unready(evaluate: spec.Evaluate, here: bool = True) -> None:
    """What can be said of a study's benchmarks before their items are read, wherever these lie.

    StudyError for a name that is unknown or given twice, and for a task that the study does not allow or lacks a judge for; UsageError for
    code that cannot be confined on this machine, unless that is not where it will run (`here`).
    """
    called = _refuse_twice(evaluate.benchmarks)
    if twice := called & {*evaluate.lm_eval}:
        told = f"evaluate.lm_eval: a benchmark is called {min(twice)} already"
        raise StudyError(f"{told}; leave one out, or give the benchmark another name:")
    for _, known in _tasks(evaluate.benchmarks):
        if known.kind == "code":
            sandbox.check(evaluate.allow_code_execution, known.name, here)
        if known.kind == "story":
            judge_of(known.name, evaluate.judge)


def check_room(specs: Sequence[spec.Benchmark], max_tokens: int) -> None:
    """DataError for a task whose answers leave no room for a prompt in what models that see `max_tokens` at once see."""
    for asked, known in _tasks(specs):
        written.check(asked.name or known.name, known, max_tokens)


def _tasks(specs: Sequence[spec.Benchmark]) -> list[tuple[spec.Benchmark, Entry]]:
    return [(asked, entry(asked.task)) for asked in specs if asked.task is not None]


def _refuse_twice(specs: Sequence[spec.Benchmark]) -> set[str]:
    """What the benchmarks are called, each once. The names of the embedded ones are theirs alone."""
    published = [asked.name or known.name for asked, known in _tasks(specs)]
    called = [*published, *(name for asked in specs if asked.task is None for name in _names(asked))]
    if twice := [name for name in called if called.count(name) > 1 or (name in published and name in embedded.NAMES)]:
        raise StudyError(f"evaluate.benchmarks: two are called {twice[0]}; name each once (name: gives a task another name)")
    return {*called}


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
    identity = {"name": name, "register": register, "fresh": fresh, **scored, "items": [vars(item) for item in items]}
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
