"""How much there is to read when a model is scored, and what is learnt from the scores that were made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ablate import resolve
from ablate.evals.items import Benchmark
from ablate.evals.scoring import score_digest
from ablate.reading import TIMED, Scoring
from ablate.scored import Wanted
from ablate.study.load import load
from tests.studies import write

ASKED = ["evaluate.benchmarks=[builtin:grammar, {task: tinystories_judge, limit: 5}]", "evaluate.judge={url: http://a/v1, model: m}"]


def test_only_what_was_counted_tells_how_fast_a_shape_reads(tmp_path: Path) -> None:
    study = load(write(tmp_path), None, ASKED)
    scoring, run = Scoring(study.evaluate), resolve.runs(study)[0]
    wanted = Wanted(study.evaluate, run.data)

    def row(benchmark: Benchmark, seconds: float, **more: Any) -> dict[str, Any]:
        return {"digest": score_digest(run.digest, benchmark.digest), "seconds": seconds, **more}

    asked = wanted.benchmarks(fresh=True)
    (stories,) = scoring.timed
    read = [row(benchmark, 2.0) for benchmark in asked if benchmark.kind not in TIMED]
    texts = [{"identity": text.identity, "seconds": 1.0, "tokens": 9} for text in wanted.texts()]
    took = scoring.took(run, {"scores": [*read, row(stories, 70.0)], "texts": texts}, fresh=True)
    rate = scoring.tokens(run.data, fresh=True) / (2 * len(read) + len(texts))
    assert len(read) == 4 and took == {"tasks": {stories.digest: 70.0}, "read_tokens_per_s": pytest.approx(rate)}

    of_another_study = {"digest": "0123", "seconds": 1000.0}
    failed = [row(benchmark, 1000.0, error="no") for benchmark in asked]
    assert scoring.took(run, {"scores": [of_another_study, *failed], "texts": []}, fresh=True) == {"tasks": {}}


def test_what_is_written_is_counted_and_what_a_judge_reads_is_not(tmp_path: Path) -> None:
    (tmp_path / "g.jsonl").write_text('{"question": "1 + 1?", "answer": "#### 2"}\n{"question": "1 + 2?", "answer": "#### 3"}\n')
    more = ("", f", {{task: gsm8k, files: {tmp_path}/g.jsonl, shots: 0}}", ", tinystories_judge")
    plain, written, judged = (load(write(tmp_path), None, [f"evaluate.benchmarks=[builtin:grammar{one}]", ASKED[1]]) for one in more)
    read = [Scoring(study.evaluate).tokens(study.data, fresh=False) for study in (plain, written, judged)]
    assert read[1] - read[0] == pytest.approx(10 * 2 * 256, rel=0.02), "two answers of up to 256 tokens, each as dear as ten that are read"
    assert read[2] == read[0]
