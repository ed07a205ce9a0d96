"""HumanEval (Chen et al. 2021) and MBPP (Austin et al. 2021): programs that a model writes, judged by the tests of the release."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from ablate.evals import sandbox
from ablate.evals.generate import Decoding, Writer, graded
from ablate.evals.items import Benchmark, Prompt
from ablate.evals.result import Result

MANY = 10
"""pass@10 is given where there are that many samples."""
TEMPERATURE, TOP_P = 0.8, 0.95
"""Of several samples a prompt. Chen et al. 2021 sample with this top_p, and find this temperature the best for many samples."""


@dataclass(frozen=True)
class Rule:
    """How programs of one benchmark are written and judged."""

    decoding: Decoding
    program: Callable[[Prompt, str], str]
    """The whole program: completion and tests."""


def _humaneval(prompt: Prompt, completion: str) -> str:
    return f"{prompt.context}{completion}\n{prompt.details['test']}\ncheck({prompt.details['entry_point']})"


def _mbpp(prompt: Prompt, completion: str) -> str:
    return "\n".join([completion, prompt.details["setup"], *prompt.details["tests"]])


RULES = {
    "humaneval": Rule(Decoding(max_new_tokens=1024, stop=("\nclass", "\ndef", "\n#", "\nif", "\nprint")), _humaneval),
    "mbpp": Rule(Decoding(max_new_tokens=256, stop=("[DONE]",)), _mbpp),
}
"""As lm-eval's tasks of these names write and judge them."""


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """1 − C(n − c, k) / C(n, k): how likely it is that of k samples out of n, of which c pass, at least one does; an unbiased
    estimate of pass@k (Chen et al. 2021, equation 1)."""
    return 1 - math.comb(samples - passed, k) / math.comb(samples, k)


def score(writer: Writer, benchmark: Benchmark, allowed: bool) -> Result:
    """pass@1: greedy with one sample a prompt, estimated from all of them with several. StudyError where executing is
    not `allowed`, UsageError where it cannot be done safely.

    details["stopped"] is the share of programs that went over a limit or crashed. `output` of an answer holds all samples as JSON where
    there are several, and `correct` the share that pass.
    """
    sandbox.check(allowed, benchmark.name)
    rule, n = RULES[benchmark.rule], benchmark.samples
    decoding = rule.decoding if n == 1 else replace(rule.decoding, samples=n, temperature=TEMPERATURE, top_p=TOP_P)
    written = writer.write([prompt.context for prompt in benchmark.prompts], decoding)
    programs = [rule.program(prompt, text) for prompt, texts in zip(benchmark.prompts, written.texts, strict=True) for text in texts]
    verdicts = sandbox.run(programs)
    passed = [sum(verdict.passed for verdict in verdicts[i : i + n]) for i in range(0, len(verdicts), n)]
    details = {"stopped": sum(verdict.stopped for verdict in verdicts) / len(verdicts)}
    if n >= MANY:
        details[f"pass@{MANY}"] = sum(pass_at_k(n, c, MANY) for c in passed) / len(passed)
    outputs = written.firsts if n == 1 else [json.dumps(texts) for texts in written.texts]
    return graded(benchmark, "pass@1", [pass_at_k(n, c, 1) for c in passed], outputs, written.truncated, details)
