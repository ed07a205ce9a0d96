"""Stories graded by a judge: marks, replies that cannot be read, what is kept over a kill, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ablate.errors import RunError, StudyError
from ablate.evals import stories
from ablate.evals.benchmarks import catalogue
from ablate.evals.generate import Writer
from ablate.evals.items import Benchmark, Prompt
from ablate.evals.judge import Judge
from ablate.evals.result import Result
from ablate.scored import Wanted
from ablate.study import spec
from tests.evals.judge_stub import Answer, Asked, judge_server

BEGINNINGS = ("The owl sees the", "Ada has three red lamps and", "Ben gave the lamp to")
PROMPTS = tuple(Prompt(beginning, "", "story") for beginning in BEGINNINGS)
BENCHMARK = Benchmark("stories", "language", "published", False, None, "d" * 16, PROMPTS, kind="story")
ALL = len(BEGINNINGS) * stories.COMPLETIONS
KEY = "sk-secret-of-a-test"


def marks(grammar: Any = 6, creativity: Any = 3, consistency: Any = 9, age_group: Any = "4-5") -> str:
    return json.dumps({"grammar": grammar, "creativity": creativity, "consistency": consistency, "age_group": age_group})


Run = Callable[[Callable[[Asked], Answer]], Result]


@pytest.fixture
def run(tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM, tmp_path: Path) -> Run:
    """The benchmark with a judge that answers so; what is kept lies in kept.jsonl."""

    def score(answer: Callable[[Asked], Answer]) -> Result:
        with judge_server(answer) as (url, _):
            judge = Judge(url, "grader", KEY, pauses=(0,))
            writer = Writer(model, tokenizer, torch.device("cpu"), (tokenizer.eos_token_id,), 64)
            return stories.score(writer, BENCHMARK, judge, tmp_path / "kept.jsonl")

    return score


def test_marks_become_a_grade(run: Run, tmp_path: Path) -> None:
    """Two thirds of the way: each beginning its own marks, so the standard error is that of three values."""
    by_beginning = dict(zip(BEGINNINGS, (marks(6, 3, 9), marks(0, 0, 0), f"```json\n{marks(10, 10, 10)}\n```"), strict=True))
    found = run(lambda asked: Answer(next(reply for beginning, reply in by_beginning.items() if f"\n{beginning}\n" in asked.last)))
    assert (found.metric, found.score, found.chance) == ("grade", pytest.approx((0.6 + 0 + 1) / 3), None)
    assert found.stderr == pytest.approx(0.5033 / 3**0.5, abs=1e-3)
    assert found.details == pytest.approx({
        "grammar": 16 / 3, "creativity": 13 / 3, "consistency": 19 / 3, "malformed": 0, "ungraded": 0, "judge_retries": 0,
        "completions": 10, "temperature": 1.0, "max_new_tokens": 32,
    })  # fmt: skip
    assert found.answers["correct"] == pytest.approx([0.6, 0, 1])
    outputs = [json.loads(output) for output in found.answers["output"]]
    assert [len(output) for output in outputs] == [10, 10, 10]
    first = outputs[0][0]
    assert first["asked"] == stories.question(BEGINNINGS[0], first["completion"])
    assert (first["replies"], first["marks"]) == ([marks()], {"grammar": 6, "creativity": 3, "consistency": 9, "age_group": "4-5"})
    assert len({one["completion"] for output in outputs for one in output}) > ALL / 2, "sampled, not greedy"
    everything = json.dumps([found.row(), dict(found.answers)], allow_nan=False) + (tmp_path / "kept.jsonl").read_text()
    assert KEY not in everything


def test_replies_that_cannot_be_read_are_asked_for_again_and_counted(run: Run) -> None:
    """Every third first reply is no JSON; the judge hears why and does better."""
    firsts = count()

    def answer(asked: Asked) -> Answer:
        if len(asked.body["messages"]) == 3:
            assert "could not be read" in asked.last
            return Answer(marks())
        return Answer("I liked it a lot!" if next(firsts) % 3 == 0 else marks())

    found = run(answer)
    assert (found.score, found.details["malformed"], found.details["ungraded"]) == (pytest.approx(0.6), ALL / 3, 0)
    replies = [one["replies"] for output in found.answers["output"] for one in json.loads(output)]
    assert ["I liked it a lot!", marks()] in replies


def test_few_completions_without_marks_are_said_and_many_are_an_error(run: Run, tmp_path: Path) -> None:
    spoilt: set[str] = set()

    def answer(asked: Asked) -> Answer:
        first = asked.body["messages"][0]["content"]
        if len(spoilt) < 2:
            spoilt.add(first)
        return Answer("no" if first in spoilt else marks())

    found = run(answer)
    assert (found.score, found.details["ungraded"], found.details["malformed"]) == (pytest.approx(0.6), 2, 2 * stories.TRIES)
    (tmp_path / "kept.jsonl").unlink()
    calls = count()
    with pytest.raises(RunError, match=r"benchmark stories: \d+ completions have no marks, because the replies of grader .*'never'"):
        run(lambda _: (next(calls), Answer("never"))[1])
    assert next(calls) <= stories.TRIES * stories.COMPLETIONS, "a judge that never keeps to the form is not asked to the end"


@pytest.mark.parametrize("reply", [
    "", "6, 3, 9", "[6, 3, 9]", marks(11), marks(-1), marks("6"), marks(True), marks(float("nan")), marks(age_group="old"),
    marks(age_group=4), marks()[:-1], f"Marks: {marks()}", marks().replace("}", ', "plot": 5}'), json.dumps({"grammar": 6}), "[" * 100_000,
])  # fmt: skip
def test_replies_that_are_not_read(reply: str) -> None:
    with pytest.raises(ValueError):
        stories.read(reply)


def test_a_killed_evaluation_does_not_pay_twice(run: Run, tmp_path: Path) -> None:
    """The judge dies after 13 answers; the next time it is asked for the other 17 alone, and the result is that of one go."""
    calls = count()
    with pytest.raises(RunError, match="does not answer"):
        run(lambda _: Answer(marks()) if next(calls) < 13 else Answer("", 500))
    kept = tmp_path / "kept.jsonl"
    assert len([line for line in kept.read_text().splitlines() if line]) == 13
    kept.write_text(kept.read_text()[:-20])  # as a power cut leaves it: the last one is lost
    again = count()
    resumed = run(lambda _: (next(again), Answer(marks()))[1])
    assert next(again) == ALL - 12
    kept.unlink()
    assert run(lambda _: Answer(marks())) == resumed


def test_a_judge_and_its_key_are_needed_before_anything_runs() -> None:
    data = spec.Data.model_validate({"synthetic": "builtin:textbook", "web": "builtin:web", "tokenizer": {"train_bpe": 512}, "seq_len": 64})
    asked = {"benchmarks": ["tinystories_judge"]}
    with pytest.raises(StudyError, match=r"tinystories_judge needs a judge; write evaluate\.judge: \{url"):
        Wanted(spec.Evaluate.model_validate(asked), data).check()
    keyless = {**asked, "judge": {"url": "http://host/v1", "model": "m", "api_key_env": "NO_SUCH_KEY"}}
    with pytest.raises(StudyError, match="the environment variable NO_SUCH_KEY is not set"):
        Wanted(spec.Evaluate.model_validate(keyless), data).check()


def test_the_beginnings_that_ship() -> None:
    """44 different ones, left open, of short words."""
    (benchmark,) = catalogue([spec.Benchmark(task="tinystories_judge")], fresh=False)
    beginnings = [prompt.context for prompt in benchmark.prompts]
    assert (benchmark.kind, len(set(beginnings))) == ("story", 44)
    assert not [beginning for beginning in beginnings if beginning != beginning.strip() or beginning.endswith((".", "!", "?"))]
    assert sum(map(len, " ".join(beginnings).split())) / len(" ".join(beginnings).split()) < 4.5


def test_another_judge_makes_other_scores() -> None:
    one, same, other = (
        stories.judged(BENCHMARK, spec.Judge(url=url, model=model)).digest
        for url, model in (("http://a/v1", "m"), ("http://b/v1", "m"), ("http://a/v1", "n"))
    )
    assert one == same != other
    assert BENCHMARK.digest not in (one, other)
