"""How much there is to read when a model is scored, and what the scores that were made took.

The items of most benchmarks are here, so that their tokens can be told beforehand. lm-eval brings the items of its own tasks, and a
judge takes its own time: of those only an earlier score of the same shape tells how long they take.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ablate.evals.items import Benchmark
from ablate.evals.scoring import score_digest
from ablate.evals.written import most_tokens
from ablate.scored import HELD_OUT_BYTES, Wanted
from ablate.study import grid, spec

BYTES_PER_TOKEN = 3.3
"""Of benchmarks (what choices share counted once, padding too) and held-out texts. Counted in the shipped studies: 3.5 with a vocabulary of
1,024 on the embedded benchmarks, 3.1 with 2,048 on real text. A large vocabulary makes fewer tokens than that says."""
WRITTEN_TO_READ = 10.0
"""Tokens read while one is written, many texts side by side. An estimate; what runs took tells how long all of it takes."""
TIMED = ("lm_eval", "story")
"""Kinds of benchmarks whose time does not follow from their items."""

_TEXT_TOKENS = HELD_OUT_BYTES / BYTES_PER_TOKEN


class Scoring:
    """What scoring the models of a study takes."""

    def __init__(self, evaluate: spec.Evaluate) -> None:
        self._evaluate = evaluate
        self._known: dict[tuple[str, bool], float] = {}

    @cached_property
    def timed(self) -> tuple[Benchmark, ...]:
        """The benchmarks that `tokens` leaves out."""
        return tuple(benchmark for benchmark in Wanted(self._evaluate, None).benchmarks(fresh=False) if benchmark.kind in TIMED)

    def tokens(self, data: spec.Data, fresh: bool) -> float:
        """About how many tokens scoring one model reads, those written counted as what could be read meanwhile; fresh: with the fresh
        twins."""
        key = (data.model_dump_json(), fresh)
        if key not in self._known:
            wanted = Wanted(self._evaluate, data)
            read = sum(_tokens(benchmark) for benchmark in wanted.benchmarks(fresh) if benchmark.kind not in TIMED)
            self._known[key] = read + _TEXT_TOKENS * len(wanted.texts())
        return self._known[key]

    def took(self, run: grid.Run, outcome: Mapping[str, Any], fresh: bool) -> dict[str, Any]:
        """What the scores of a finished run tell: read_tokens_per_s of those that `tokens` counts, and the seconds of each other one
        (`tasks`, by the benchmark's digest). Other studies may have had the run scored on more; that is left out."""
        wanted, tasks = Wanted(self._evaluate, run.data), dict[str, float]()
        scores = {row["digest"]: row["seconds"] for row in outcome["scores"] if row.get("error") is None}
        texts = {row["identity"]: row["seconds"] for row in outcome["texts"] if row["tokens"]}
        read = [(_TEXT_TOKENS, texts[text.identity]) for text in wanted.texts() if text.identity in texts]
        for benchmark in wanted.benchmarks(fresh):
            seconds = scores.get(score_digest(run.digest, benchmark.digest))
            if seconds is not None and benchmark.kind in TIMED:
                tasks[benchmark.digest] = seconds
            elif seconds is not None:
                read.append((_tokens(benchmark), seconds))
        rate = {"read_tokens_per_s": sum(n for n, _ in read) / sum(s for _, s in read)} if read else {}
        return {"tasks": tasks, **rate}


def _tokens(benchmark: Benchmark) -> float:
    return benchmark.letters / BYTES_PER_TOKEN + WRITTEN_TO_READ * most_tokens(benchmark)
