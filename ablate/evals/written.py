"""Benchmarks that a model answers in its own words: which rule writes and judges which."""

from __future__ import annotations

from ablate.errors import DataError
from ablate.evals import code, gsm8k, squad
from ablate.evals.catalogue import Entry
from ablate.evals.generate import Decoding, Writer, check_room
from ablate.evals.items import Benchmark
from ablate.evals.result import Result

ANSWERS = {"gsm8k": (gsm8k.DECODING, gsm8k.score), "squad_v2": (squad.DECODING, squad.score)}
"""Rule → how answers are written, and judged. Programs have code.RULES."""


def check(name: str, entry: Entry, max_tokens: int) -> None:
    """DataError where a model that sees `max_tokens` at once cannot be asked the benchmark called `name`."""
    if entry.kind not in ("generate", "code"):
        return
    try:
        check_room(_decoding(entry), max_tokens)
    except DataError as e:
        raise DataError(f"evaluate.benchmarks: {name}: {e}") from None


def score(writer: Writer, benchmark: Benchmark, allow_code: bool) -> Result:
    """The score of a benchmark of the kinds "generate" and "code"; programs are executed only if that is allowed."""
    if benchmark.kind == "code":
        return code.score(writer, benchmark, allow_code)
    return ANSWERS[benchmark.rule][1](writer, benchmark)


def most_tokens(benchmark: Benchmark) -> int:
    """Tokens that a model writes for a benchmark at most; 0 for one that it only reads, and for stories, which have rules of their own."""
    if benchmark.kind in ("generate", "code"):
        return len(benchmark.items) * benchmark.samples * _decoding(benchmark).max_new_tokens
    return 0


def _decoding(asked: Benchmark | Entry) -> Decoding:
    return code.RULES[asked.rule].decoding if asked.kind == "code" else ANSWERS[asked.rule][0]
