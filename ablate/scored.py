"""What a run must have been scored on to count as done: each score by its digest, each text by its source.

A score's digest is that of the run's recipe, the benchmark's items and the scorer's version. So a study that
gains a benchmark, or shares runs with another study, has exactly the missing scores made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from ablate.data import hub, sources
from ablate.data.decontaminate import Screen
from ablate.errors import StudyError
from ablate.evals import benchmarks, lm_eval, stories, texts
from ablate.evals.items import Benchmark
from ablate.evals.scoring import SCORER_VERSION, score_digest
from ablate.study import spec
from ablate.study.grid import digest

HELD_OUT_BYTES = 40_000
"""Of each measured text: about 12,000 tokens, so that three texts cost less than the benchmarks."""


@dataclass(frozen=True)
class Text:
    """A text whose bits per byte are measured."""

    name: str
    source: spec.Source
    trained_on: bool

    @property
    def primary(self) -> bool:
        return self.name == "neutral"

    @property
    def identity(self) -> str:
        """Of the bytes that are measured and of how."""
        return digest([sources.digest(self.source), self.trained_on, HELD_OUT_BYTES, SCORER_VERSION])

    def documents(self) -> list[str]:
        """What is measured; empty where the source holds nothing out."""
        return texts.held_out_documents(self.source, self.trained_on, HELD_OUT_BYTES)


@dataclass(frozen=True)
class Wanted:
    """Everything one study asks of its runs and baselines."""

    evaluate: spec.Evaluate
    data: spec.Data | None
    """What is measured beside; None: the neutral text that comes with the package."""

    def benchmarks(self, fresh: bool) -> list[Benchmark]:
        """The benchmarks of a run; with their fresh twins at a family's largest budget, if the study wants them."""
        every = _catalogue(tuple(self.evaluate.benchmarks), self.evaluate.fresh_twins)
        judged = [stories.judged(benchmark, self.evaluate.judge) for benchmark in every if fresh or not benchmark.fresh]
        return [*judged, *lm_eval.benchmarks(self.evaluate.lm_eval)]

    def with_items(self) -> list[Benchmark]:
        """The benchmarks that overlap is looked for: those of lm-eval's tasks have no items before they are scored."""
        return [benchmark for benchmark in self.benchmarks(fresh=True) if benchmark.items]

    def texts(self) -> list[Text]:
        """Held-out text of every source, the neutral one, and those the study names."""
        if self.data is None:
            return [Text("neutral", spec.Source(builtin="neutral"), False)]
        own = [Text(name, source, True) for name, source in self.data.trained_on().items()]
        return [
            Text("neutral", self.data.neutral, False),
            *own,
            *(Text(name, source, False) for name, source in self.data.held_out.items()),
        ]

    def check(self) -> None:
        """Refuse now, before anything is trained, what could not be scored or measured."""
        self.refuse_unready()
        self.read()

    def refuse_unready(self, here: bool = True) -> None:
        """What `check` refuses before anything is read: see benchmarks.refuse_unready and check_room."""
        benchmarks.refuse_unready(self.evaluate, here)
        if self._max_tokens is not None:
            benchmarks.check_room(self.evaluate.benchmarks, self._max_tokens)

    def read(self) -> None:
        """The rest of `check`: DataError or StudyError for a benchmark or a text that cannot be read, and for a text that is said to be
        held out and is trained on. Of a text that is not here, in a study that is only planned, the words are not looked at."""
        self.benchmarks(fresh=True)
        lm_eval.check(self.evaluate.lm_eval, self._max_tokens)
        for text in self.texts():
            if not text.trained_on:
                self._refuse_trained_on(text)
            if text.source.revision != hub.UNKNOWN:
                text.documents()

    def check_room(self, max_tokens: int) -> None:
        """DataError or StudyError for a benchmark whose answers leave no room for its prompts in models that see `max_tokens` at once."""
        benchmarks.check_room(self.evaluate.benchmarks, max_tokens)
        lm_eval.check(self.evaluate.lm_eval, max_tokens)

    @property
    def _max_tokens(self) -> int | None:
        return self.data.seq_len if self.data else None

    def _refuse_trained_on(self, text: Text) -> None:
        for name, source in self.data.trained_on().items() if self.data else ():
            if sources.shares_text(text.source, source):
                raise StudyError(
                    f"data.{'' if text.primary else 'held_out.'}{text.name}: {text.source.name} is also what data.{name} trains on, "
                    "so its bits per byte would measure memory; "
                    "name other files or another split, and where a data set has several configs the config: of both "
                    "(the held-out part of every source is measured anyway)"
                )

    def is_met(self, outcome: Mapping[str, Any], fresh: bool) -> bool:
        """Whether an outcome has, or has tried to make, every score that this study wants of the model."""
        have = {score["digest"] for score in outcome["scores"]}
        measured = {text["text"]: text["identity"] for text in outcome["texts"]}
        return self._digests(outcome, fresh) <= have and all(measured.get(t.name) == t.identity for t in self.texts())

    def failures(self, outcome: Mapping[str, Any], fresh: bool) -> list[tuple[str, str]]:
        """Of the benchmarks that this study wants of the model, those that were tried in vain, each with the reason."""
        wanted = self._digests(outcome, fresh)
        return [(row["benchmark"], row["error"]) for row in outcome["scores"] if row["digest"] in wanted and row.get("error")]

    def _digests(self, outcome: Mapping[str, Any], fresh: bool) -> set[str]:
        return {score_digest(outcome["digest"], benchmark.digest) for benchmark in self.benchmarks(fresh)}


def screen_of(data: spec.Data) -> Screen | None:
    """The benchmark items that are kept out of what is trained on."""
    rules = data.decontaminate
    return None if rules is None else _screen(rules.action, rules.n, tuple(rules.against))


@cache
def _screen(action: Literal["drop_document", "remove_span"], n: int, against: tuple[spec.Benchmark, ...]) -> Screen:
    return Screen(action, n, tuple(item.text for benchmark in _catalogue(against, False) for item in benchmark.items))


@cache
def _catalogue(specs: tuple[spec.Benchmark, ...], fresh: bool) -> list[Benchmark]:
    return benchmarks.catalogue(specs, fresh)
