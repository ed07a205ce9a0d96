"""TinyStories' judging (Eldan and Li 2023, arXiv 2305.07759): a model goes on with beginnings of stories, and a judge grades what it wrote.

As there: some fifty beginnings, ten completions each at temperature 1, graded for grammar, creativity and consistency with
the beginning, and an age group guessed. The words of the question are ours, so grades compare models under one judge and
not with published ones. Decoding moves the grade as much as size does, so it is fixed here and stands in every result.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ablate.errors import RunError
from ablate.evals.generate import Decoding, Writer, Written
from ablate.evals.items import Benchmark
from ablate.evals.judge import Judge, conversation
from ablate.evals.result import Result, columns, plain_stderr
from ablate.study import spec
from ablate.study.grid import digest
from ablate.workspace import room_for

COMPLETIONS = 10
TEMPERATURE = 1.0
MAX_NEW_TOKENS = 200
"""Of a completion; half of what the model sees at once where that is less."""
TRIES = 3
"""Times that the judge is asked for grades that can be read."""
AT_ONCE = 4
"""Questions that the judge is asked at the same time."""
UNGRADED = 0.1
"""Share of completions without grades above which there is no score."""
AXES = ("grammar", "creativity", "consistency")
AGES = ("3 or under", "4-5", "6-7", "8-9", "10-12", "13-16")

QUESTION = """You are marking a writing exercise for children. A child was given the beginning of a story and wrote what comes next.

<beginning>
{beginning}
</beginning>
<child>
{completion}
</child>

Mark only what the child wrote; the beginning was given, and the text may stop early because the page was full.
Give three marks, each from 0 (worst) to 10 (best):
- grammar: is the child's English correct?
- creativity: does the child bring in ideas of its own, more than the beginning already says?
- consistency: does it follow from the beginning, with the same people, things and happenings, and the last sentence properly continued?
Then guess from the writing how old the child is: {ages}.

Reply with one JSON object and nothing else, in this form:
{{"grammar": 0, "creativity": 0, "consistency": 0, "age_group": "{age}"}}"""
AGAIN = "That could not be read ({why}). Reply with the JSON object alone, in the form asked for."
_FENCE = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)


@dataclass(frozen=True)
class Marks:
    """A judge's view of one completion; marks from 0 to 10."""

    grammar: float
    creativity: float
    consistency: float
    age_group: str


@dataclass(frozen=True)
class Graded:
    """One completion, as far as the judge could be understood."""

    marks: Marks | None
    replies: tuple[str, ...]
    """The last one holds the marks; those before it could not be read."""
    retries: int
    """Requests that failed on the way."""

    @property
    def malformed(self) -> int:
        return len(self.replies) - (self.marks is not None)


def judged(benchmark: Benchmark, asked: spec.Judge | None) -> Benchmark:
    """The benchmark as this judge grades it, if it is one of stories: another model, or another question, makes other scores."""
    if benchmark.kind != "story" or asked is None:
        return benchmark
    identity = {"benchmark": benchmark.digest, "judge": asked.model, "asked": [QUESTION, AGAIN, AGES, TRIES]}
    return replace(benchmark, digest=digest({**identity, "decoding": [COMPLETIONS, TEMPERATURE, MAX_NEW_TOKENS]}))


def question(beginning: str, completion: str) -> str:
    """What the judge is asked."""
    return QUESTION.format(beginning=beginning, completion=completion, ages=", ".join(AGES), age=AGES[0])


def read(reply: str) -> Marks:
    """The marks in a reply: exactly the object that was asked for, in a code fence or bare. ValueError, saying why, for anything else."""
    fenced = _FENCE.fullmatch(reply.strip())
    try:
        given = json.loads(fenced[1] if fenced else reply)
    except RecursionError as e:
        raise ValueError("nested too deeply") from e
    if not isinstance(given, dict) or set(given) != {*AXES, "age_group"}:
        raise ValueError(f"not an object with exactly {', '.join(AXES)}, age_group")
    for axis in AXES:
        if isinstance(given[axis], bool) or not isinstance(given[axis], (int, float)) or not 0 <= given[axis] <= 10:
            raise ValueError(f"{axis} is not a number from 0 to 10")
    if given["age_group"] not in AGES:
        raise ValueError(f"age_group is none of {', '.join(AGES)}")
    return Marks(float(given["grammar"]), float(given["creativity"]), float(given["consistency"]), given["age_group"])


def grade(judge: Judge, asked: str) -> Graded:
    """The judge's marks for one question; a reply that cannot be read is answered with why, and asked for again."""
    turns, retries = [asked], 0
    for _ in range(TRIES):
        reply = judge.ask(conversation(*turns))
        retries += reply.retries
        turns.append(reply.text)
        try:
            return Graded(read(reply.text), tuple(turns[1::2]), retries)
        except ValueError as e:
            turns.append(AGAIN.format(why=e))
    return Graded(None, tuple(turns[1::2]), retries)


class Kept:
    """What a judge has graded already, a line each in one file, by judge and question: it is not paid for again after a kill."""

    def __init__(self, path: Path, judge: Judge) -> None:
        self._path = path
        self._judge = judge
        self._writing = Lock()
        self._known: dict[str, Graded] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                row = json.loads(line)
            except ValueError:  # a kill cut it off, or it is the blank before a line
                continue
            marks = row["marks"] and Marks(**row["marks"])
            self._known[row["key"]] = Graded(marks, tuple(row["replies"]), row["retries"])

    def grade(self, questions: Sequence[str]) -> list[Graded]:
        """As `grade`, of each; the judge is asked only what it has not been asked before, some questions at a time.

        RunError where it cannot be asked; what it has said by then is kept.
        """
        new = [asked for asked in dict.fromkeys(questions) if self._key(asked) not in self._known]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            waiting = [pool.submit(self._ask, asked) for asked in new]
            try:
                for one in waiting:
                    one.result()
            finally:
                pool.shutdown(cancel_futures=True)
        return [self._known[self._key(asked)] for asked in questions]

    def _key(self, asked: str) -> str:
        return digest({"judge": self._judge.model, "asked": asked})

    def _ask(self, asked: str) -> None:
        graded, key = grade(self._judge, asked), self._key(asked)
        with self._writing, room_for(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as f:
                f.write("\n" + json.dumps({"key": key, **asdict(graded)}))  # the line end first: a line cut off spoils no other
            self._known[key] = graded


def decoding(max_tokens: int) -> Decoding:
    """How models that see `max_tokens` at once write."""
    return Decoding(min(MAX_NEW_TOKENS, max(1, max_tokens // 2)), temperature=TEMPERATURE, samples=COMPLETIONS)


def score(writer: Writer, benchmark: Benchmark, judge: Judge, kept: Path) -> Result:
    """Mean mark / 10 of what a model writes after each beginning; `kept` is the file of what is graded already.

    RunError where the judge cannot be asked, or too many of its replies cannot be read.
    """
    rules = decoding(writer.max_tokens)
    beginnings = [prompt.context for prompt in benchmark.prompts]
    written = writer.write(beginnings, rules)
    memory = Kept(kept, judge)
    allowed, graded = UNGRADED * len(beginnings) * COMPLETIONS, list[list[Graded]]()
    for beginning, texts in zip(beginnings, written.texts, strict=True):
        graded.append(memory.grade([question(beginning, text) for text in texts]))
        unread = [one.replies[-1] for several in graded for one in several if one.marks is None]
        if len(unread) > allowed:
            raise RunError(
                f"benchmark {benchmark.name}: {len(unread)} completions have no marks, because the replies of {judge.model} are not the "
                f"JSON that is asked for (the last: {unread[-1][:100]!r}); name a judge that keeps to a form"
            )
    return _result(benchmark, written, graded, rules)


def _result(benchmark: Benchmark, written: Written, graded: Sequence[Sequence[Graded]], rules: Decoding) -> Result:
    """Each beginning counts alike, whatever number of its completions has marks; one without any does not count."""
    marks = np.array([_mean([one.marks for one in several if one.marks]) for several in graded])
    values = marks.mean(axis=1) / 10
    counted = np.isfinite(values)
    every = [one for several in graded for one in several]
    outputs = [
        [_as_kept(prompt.context, text, one) for text, one in zip(texts, several, strict=True)]
        for prompt, texts, several in zip(benchmark.prompts, written.texts, graded, strict=True)
    ]
    return Result(
        benchmark=benchmark,
        metric="grade",
        score=float(values[counted].mean()),
        stderr=plain_stderr(values[counted]),
        chance=None,
        truncated=written.truncated,
        details={
            **dict(zip(AXES, marks[counted].mean(axis=0).tolist(), strict=True)),
            "malformed": sum(one.malformed for one in every),
            "ungraded": sum(one.marks is None for one in every),
            "judge_retries": sum(one.retries for one in every),
            "completions": rules.samples,
            "temperature": rules.temperature,
            "max_new_tokens": rules.max_new_tokens,
        },
        answers=columns(
            benchmark,
            correct=[float(value) if math.isfinite(value) else None for value in values],
            output=[json.dumps(output, ensure_ascii=False) for output in outputs],
        ),
    )


def _mean(marks: Sequence[Marks]) -> list[float]:
    return [float(np.mean([getattr(one, axis) for one in marks])) if marks else math.nan for axis in AXES]


def _as_kept(beginning: str, completion: str, one: Graded) -> dict[str, Any]:
    asked, marks = question(beginning, completion), one.marks and asdict(one.marks)
    return {"completion": completion, "asked": asked, "replies": one.replies, "marks": marks}
