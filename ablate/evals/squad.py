"""SQuAD (Rajpurkar et al. 2016, 2018): exact match and F1 of a short answer, by the rules of version 2.0's official script."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from ablate.evals.generate import Decoding, Writer, graded
from ablate.evals.items import Benchmark
from ablate.evals.result import Result

DECODING = Decoding(max_new_tokens=256, stop=("\n",))

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def words(answer: str) -> list[str]:
    """What two answers are compared by: words without case, punctuation and articles."""
    return re.sub(r"\b(a|an|the)\b", " ", answer.lower().translate(_NO_PUNCTUATION)).split()


def exact_match(answer: str, references: Sequence[str]) -> bool:
    """Whether the answer is one of the references; where none of them has a word, whether it has none either."""
    return words(answer) in _expected(references)


def f1(answer: str, references: Sequence[str]) -> float:
    """The harmonic mean of precision and recall over words, of the reference for which it is largest."""
    return max(_f1(words(answer), reference) for reference in _expected(references))


def _expected(references: Sequence[str]) -> list[list[str]]:
    """The references as words. One of articles and punctuation alone is none: otherwise an empty answer would be right beside it."""
    return [found for reference in references if (found := words(reference))] or [[]]


def _f1(answer: list[str], reference: list[str]) -> float:
    if not answer or not reference:
        return float(answer == reference)
    return 2 * (Counter(answer) & Counter(reference)).total() / (len(answer) + len(reference))


def score(writer: Writer, benchmark: Benchmark) -> Result:
    """The share of questions answered exactly; `f1` beside it."""
    prompts = benchmark.prompts
    written = writer.write([prompt.context for prompt in prompts], DECODING)
    outputs = written.firsts
    accepted = [prompt.details["answers"] for prompt in prompts]
    right = [exact_match(text, answers) for text, answers in zip(outputs, accepted, strict=True)]
    partly = [f1(text, answers) for text, answers in zip(outputs, accepted, strict=True)]
    return graded(benchmark, "exact_match", right, outputs, written.truncated, {"f1": sum(partly) / len(partly)})
