"""The catalogue: its table in the documentation, and what a study must say before a task is scored."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ablate.errors import DataError, StudyError
from ablate.evals import rows
from ablate.evals.benchmarks import catalogue, refuse_unready
from ablate.evals.catalogue import Entry, entries
from ablate.study import spec

ROOT = Path(__file__).parents[2]


def test_an_unknown_task_is_refused_with_the_nearest() -> None:
    with pytest.raises(StudyError, match=r"unknown task helaswag; nearest: hellaswag; valid: winogrande, .*goes into evaluate.lm_eval"):
        catalogue([spec.Benchmark(task="helaswag")], fresh=False)


@pytest.mark.parametrize(("task", "need"), [("mbpp", "allow_code_execution: true"), ("tinystories_judge", r"evaluate.judge: {url: http")])
def test_what_a_study_must_allow_first(task: str, need: str) -> None:
    asked = spec.Evaluate(benchmarks=[spec.Benchmark(task=task)])
    with pytest.raises(StudyError, match=need):
        refuse_unready(asked)


def test_a_study_that_names_a_judge_may_have_stories_graded() -> None:
    judge = spec.Judge(url="http://localhost:1/v1", model="m")
    refuse_unready(spec.Evaluate(benchmarks=[spec.Benchmark(task="tinystories_judge")], judge=judge))


def test_beginnings_of_stories_come_with_the_package() -> None:
    (found,) = catalogue([spec.Benchmark(task="tinystories_judge")], fresh=False)
    assert (found.kind, len(found.prompts)) == ("story", entries()["tinystories_judge"].items)


def test_a_task_without_a_few_shot_split_says_so() -> None:
    for task in ("agieval_sat_en", "blimp"):
        with pytest.raises(DataError, match=f"{task} has no few-shot split on the hub; name the files of its examples in shots_from:"):
            catalogue([spec.Benchmark(task=task, shots=2)], fresh=False)


def test_what_is_fetched_from_the_hub() -> None:
    def fetched(task: str, **options: Any) -> list[tuple[str | None, str | None, str]]:
        return [(one.hf, one.config, one.split) for one in rows.sources(spec.Benchmark(task=task, **options), entries()[task])]

    assert fetched("mmlu") == [("cais/mmlu", "all", "test")]
    assert fetched("mmlu", shots=5) == [("cais/mmlu", "all", "test"), ("cais/mmlu", "all", "dev")]
    assert fetched("piqa", files="a.jsonl", shots=2, shots_from="b.jsonl") == fetched("tinystories_judge") == []
    assert len({config for _, config, _ in fetched("blimp")}) == 67, "a configuration a paradigm"


def cells(one: Entry) -> tuple[str, ...]:
    """A row of the table of docs/benchmarks.md, without what is measured."""
    level = "none" if one.chance is None else "1/choices" if one.chance == "choices" else f"{one.chance:.3g}"
    return (f"`{one.name}`", str(one.items or ""), one.metric, level, str(one.shots), "native", one.citation)


def test_the_documented_table_is_the_catalogue() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    table = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if re.match(r"\| `\w+` \|.*\| native \|", line)
    ]
    assert [(*row[:6], row[8]) for row in table] == [cells(one) for one in entries().values()]
