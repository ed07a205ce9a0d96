"""The catalogue: what is scored for which `benchmarks:`, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from ablate.errors import DataError, StudyError
from ablate.evals import embedded
from ablate.evals.benchmarks import catalogue, make
from ablate.evals.items import Benchmark, Item
from ablate.study import spec

ALL = spec.Benchmark(builtin="all")
PAIR = Item("", ("It is.", "It are."), 0, "agree")


def pairs(tmp_path: Path, name: str) -> spec.Benchmark:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"sentence_good": f"It is {i}.", "sentence_bad": f"It are {i}."}) + "\n" for i in range(3)))
    return spec.Benchmark(task="blimp", files=str(path), name=name)


def test_all_is_every_embedded_benchmark_in_both_registers_and_fresh_twins_add_to_it() -> None:
    once = catalogue([ALL], fresh=False)
    twice = catalogue([ALL], fresh=True)
    assert [(b.name, b.register) for b in once] == [(name, register) for name in embedded.NAMES for register in ("textbook", "page")]
    assert [b for b in twice if not b.fresh] == once
    assert [(b.name, b.register) for b in twice if b.fresh] == [(b.name, b.register) for b in once]
    assert len({b.digest for b in twice}) == len(twice) == 2 * len(once)
    assert all(b.chance == embedded.chance(b.name) and b.group == embedded.NAMES[b.name] and len(b.items) >= 300 for b in twice)


def test_names_and_files_keep_the_study_s_order(tmp_path: Path) -> None:
    name = next(iter(embedded.NAMES))
    found = catalogue([pairs(tmp_path, "pairs"), spec.Benchmark(builtin=name)], fresh=True)
    assert [(b.name, b.register, b.fresh) for b in found[:2]] == [("pairs", "published", False), (name, "textbook", False)]
    assert found[0].chance == 0.5 and len(found[0].items) == 3 and len(found) == 5


def test_a_wrong_name_is_refused_with_the_nearest() -> None:
    name = next(iter(embedded.NAMES))
    with pytest.raises(StudyError, match=rf"unknown benchmark builtin:{name}s; nearest: {name}; valid: all, "):
        catalogue([spec.Benchmark(builtin=name + "s")], fresh=False)


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    name = next(iter(embedded.NAMES))
    for specs in ([ALL, spec.Benchmark(builtin=name)], [pairs(tmp_path, "p"), pairs(tmp_path, "p")], [pairs(tmp_path, name)]):
        with pytest.raises(StudyError, match="two are called"):
            catalogue(specs, fresh=False)


def digest_with(**changes: object) -> str:
    values: dict[str, object] = {"name": "n", "group": "g", "register": "published", "fresh": False, "chance": 0.5, "items": [PAIR, PAIR]}
    made: Benchmark = make(**{**values, **changes})  # type: ignore[arg-type]
    return made.digest


def test_the_digest_follows_everything_that_changes_a_score() -> None:
    other = dataclasses.replace(PAIR, context="So ")
    changed = [digest_with(), digest_with(name="m"), digest_with(register="page"), digest_with(fresh=True)]
    changed += [digest_with(items=[PAIR, third]) for third in (other, dataclasses.replace(PAIR, answer=1))]
    changed += [digest_with(items=[PAIR] * 3)]
    assert len(set(changed)) == len(changed) and all(len(digest) == 16 for digest in changed)
    assert digest_with(group="other") == digest_with()


@pytest.mark.parametrize(("choices", "answer"), [(("a",), 0), (("a", "a"), 0), (("a", ""), 0), (("a", "b"), 2), (("a", "b"), -1)])
def test_items_that_cannot_be_scored_are_refused(choices: tuple[str, ...], answer: int) -> None:
    with pytest.raises(DataError, match="item 1 needs two or more different choices"):
        digest_with(items=[PAIR, Item("c", choices, answer, "t")])


def test_one_item_has_no_standard_error() -> None:
    with pytest.raises(DataError, match="at least two"):
        digest_with(items=[PAIR])


def test_what_choices_begin_with_is_read_once() -> None:
    assert Item("So ", ("It is.", "It are."), 0, "t").letters == len("So It " + "is." + "are.")
    assert Item("", (" sat.", " sat."), 0, "t", contexts=("An owl", "An elk")).letters == len("An " + "owl sat." + "elk sat.")
