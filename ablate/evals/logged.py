"""What lm-eval logs of a task that it ran, as a result of ours."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ablate.errors import RunError
from ablate.evals.items import Benchmark, Prompt
from ablate.evals.result import Result, columns

WRITTEN_TOKENS = 256
"""lm-eval's own, where a task does not say how many tokens a model may write."""

_FIRST = ("acc", "exact_match", "pass@1")
"""The first of these that a task has is its score; else its first metric of which more is better, else its first."""
_BITS = 1 / math.log(2)

_Key = tuple[str, str]
"""Of a figure: the metric, and the filter that outputs went through before ("none": as they are)."""


def result(benchmark: Benchmark, found: Mapping[str, Any], tasks: Mapping[str, Any], judged: Any) -> Result:
    """lm-eval's figures and logged answers as ours. `found`: what its `evaluate` returns; `tasks`: name → task; `judged`: its model.

    The benchmark gets lm-eval's items. Figures beside the score are details, and so are those of the parts of a group, each after the
    part's name. Chance is known where choices are compared by accuracy (in a group: where its parts have the same). RunError where the
    score is no finite number.
    """
    own = found["results"].get(benchmark.name) or found["results"][next(iter(tasks))]
    task = next(iter(tasks.values()))
    metric, rule = main = _main(own, task)
    score = _number(own[f"{metric},{rule}"])
    if score is None:
        raise RunError(f"lm-eval's task {benchmark.name}: its {metric} is {own[f'{metric},{rule}']}, no finite number; it has no score")
    items = [_Answered(tasks[name], one) for name, samples in found["samples"].items() for one in samples if one["filter"] == rule]
    known = replace(benchmark, items=tuple(item.prompt for item in items), shots=int(task.config.num_fewshot or 0))
    logprobs = [item.logprob for item in items]
    return Result(
        benchmark=known,
        metric=_named(main),
        score=score,
        stderr=_number(own.get(f"{metric}_stderr,{rule}")),
        chance=_chance(items) if metric == "acc" else None,
        acc_norm=_number(own.get(f"acc_norm,{rule}")),
        mean_logprob=_mean(logprobs),
        bits_per_byte=_bits_per_byte(known, logprobs),
        truncated=sum(item.is_cut(judged) for item in items),
        details=_details(found["results"], own, main),
        answers=columns(
            known,
            correct=[_number(item.sample.get(metric)) for item in items],
            correct_norm=[_number(item.sample.get("acc_norm")) for item in items],
            choice=[int(np.argmax(item.logprobs)) if item.compares else None for item in items],
            logprob=logprobs,
            output=[None if item.logprobs else str(item.sample["filtered_resps"][0]) for item in items],
        ),
    )


def written_tokens(task: Any) -> int:
    """Most tokens that a model may write for one item."""
    if task.OUTPUT_TYPE != "generate_until":
        return 0
    return int((task.config.generation_kwargs or {}).get("max_gen_toks", WRITTEN_TOKENS))


@dataclass(frozen=True)
class _Answered:
    """One item and what the model made of it."""

    task: Any
    sample: Mapping[str, Any]

    @property
    def compares(self) -> bool:
        """Whether the model chose among continuations."""
        return bool(self.task.OUTPUT_TYPE == "multiple_choice")

    @property
    def logprobs(self) -> list[float]:
        """Of each choice, or of the one continuation; empty where the model wrote."""
        if self.task.OUTPUT_TYPE == "generate_until":
            return []
        every = [answers[0] for answers in self.sample["resps"]]
        after_nothing = len(every) // 2 if "acc_mutual_info" in self.sample["metrics"] else 0  # the choices once more, without a context
        return [float(one[0] if isinstance(one, tuple) else one) for one in every[: len(every) - after_nothing]]

    @property
    def right(self) -> list[int]:
        """Which choices are right; empty where lm-eval has another rule than the likeliest of them."""
        if not self.compares or self.task.config.process_results is not None:
            return []
        found = (self.task.doc_to_text if self.task.multiple_input else self.task.doc_to_target)(self.sample["doc"])
        if isinstance(found, str):
            found = self.task.doc_to_choice(self.sample["doc"]).index(found)
        return [operator.index(one) for one in (found if isinstance(found, list) else [found])]

    @property
    def logprob(self) -> float | None:
        """Of what is right, where that is one text."""
        if self.compares:
            return self.logprobs[self.right[0]] if len(self.right) == 1 else None
        return self.logprobs[0] if self.logprobs else None

    @property
    def prompt(self) -> Prompt:
        first, *rest = self.sample["arguments"][self.right[0] if self.right else 0]
        return Prompt(first, rest[0] if rest and isinstance(rest[0], str) else "", self.task.task_name)

    def is_cut(self, judged: Any) -> bool:
        """Whether tokens were lost at the left of it. (The windows of a rolling task lose none.)"""
        if self.task.OUTPUT_TYPE == "loglikelihood_rolling":
            return False
        room = judged.max_length - written_tokens(self.task) if self.task.OUTPUT_TYPE == "generate_until" else judged.max_length + 1
        texts = ("".join(part for part in request if isinstance(part, str)) for request in self.sample["arguments"])
        return any(len(judged.tok_encode(text)) > room for text in texts)


def _figures(own: Mapping[str, Any]) -> dict[_Key, float]:
    """The finite ones, in lm-eval's order."""
    found: dict[_Key, float] = {}
    for key, value in own.items():
        metric, comma, rule = key.partition(",")
        number = _number(value)
        if comma and number is not None and not metric.endswith("_stderr"):
            found[metric, rule] = number
    return found


def _main(own: Mapping[str, Any], task: Any) -> _Key:
    """Which figure is the score."""
    keys = [(metric, rule) for metric, rule in (key.split(",", 1) for key in own if "," in key) if not metric.endswith("_stderr")]
    better = task.higher_is_better()
    wanted = [key for first in _FIRST for key in keys if key[0] == first] or [key for key in keys if better.get(key[0])] or keys
    if not wanted:
        raise RunError(f"lm-eval's task {task.task_name} came to no figure")
    return wanted[0]


def _details(every: Mapping[str, Any], own: Mapping[str, Any], main: _Key) -> dict[str, float]:
    parts = {name: found for name, found in every.items() if found is not own}
    figures = {_named(key): value for key, value in _figures(own).items() if key != main}
    return figures | {f"{name} {_named(key)}": value for name, found in parts.items() for key, value in _figures(found).items()}


def _named(key: _Key) -> str:
    """As lm-eval names it, without a filter that does nothing."""
    return key[0] if key[1] == "none" else ",".join(key)


def _number(value: Any) -> float | None:
    """The value, where it is a finite number (lm-eval also has "N/A", pairs and NaN)."""
    return float(value) if isinstance(value, (int, float, np.number)) and math.isfinite(value) else None


def _chance(items: Sequence[_Answered]) -> float | None:
    shares: dict[str, list[float]] = {}
    for item in items:
        if not item.right:
            return None
        shares.setdefault(item.task.task_name, []).append(len(item.right) / len(item.logprobs))
    of_parts = {round(float(np.mean(values)), 9) for values in shares.values()}
    return of_parts.pop() if len(of_parts) == 1 else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _bits_per_byte(known: Benchmark, logprobs: Sequence[float | None]) -> float | None:
    """Of what is right, where that is one text for each item."""
    size = [len(prompt.reference.encode()) for prompt in known.prompts]
    mean = _mean(logprobs)
    return None if mean is None or 0 in size else -mean * len(size) * _BITS / sum(size)
