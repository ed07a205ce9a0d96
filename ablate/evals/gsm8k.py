"""GSM8K (Cobbe et al. 2021): the number that a worked solution ends with, found as lm-eval's task gsm8k (version 3) finds it."""

from __future__ import annotations

import re

from ablate.evals.generate import Decoding, Writer, graded
from ablate.evals.items import Benchmark
from ablate.evals.result import Result

DECODING = Decoding(max_new_tokens=256, stop=("Question:", "</s>", "<|im_end|>"))

_NONE = "[invalid]"
_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
_FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
_IGNORED = [re.compile(pattern) for pattern in (",", r"\$", r"(?s).*#### ", r"\.$")]


def strict(text: str) -> str:
    """The first number that stands after "#### ", as it is written."""
    found = _STRICT.search(text)
    return found[1] if found else _NONE


def flexible(text: str) -> str:
    """The last thing that looks like a number."""
    found = _FLEXIBLE.findall(text)
    return str(found[-1][0] or found[-1][1]) if found else _NONE


def same(answer: str, reference: str) -> bool:
    """Whether two are one number, apart from commas, dollar signs, a full stop at the end and what stands before "#### "."""
    return _normalised(answer) == _normalised(reference)


def _normalised(answer: str) -> str:
    for pattern in _IGNORED:
        answer = pattern.sub("", answer)
    return answer.lower()


def score(writer: Writer, benchmark: Benchmark) -> Result:
    """The share of problems whose answer stands after "#### " and is right; `flexible` counts the last number of the text."""
    prompts = benchmark.prompts
    written = writer.write([prompt.context for prompt in prompts], DECODING)
    outputs = written.firsts
    right = [same(strict(text), prompt.reference) for text, prompt in zip(outputs, prompts, strict=True)]
    flexibly = [same(flexible(text), prompt.reference) for text, prompt in zip(outputs, prompts, strict=True)]
    return graded(benchmark, "exact_match", right, outputs, written.truncated, {"flexible": sum(flexibly) / len(flexibly)})
