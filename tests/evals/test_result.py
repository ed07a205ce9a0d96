"""A score as it is kept, and standard errors against known figures."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from ablate.evals.items import Benchmark, Prompt
from ablate.evals.result import COLUMNS, Result, clustered_stderr, columns, plain_stderr, stderr

PROMPTS = tuple(Prompt("Ada has", f" {i}", "a" if i < 2 else "b") for i in range(4))
BENCHMARK = Benchmark("probe", "code", "published", False, None, "0" * 16, PROMPTS, kind="generate", shots=5, rule="gsm8k")


def test_a_result_is_json_and_says_what_it_is() -> None:
    solved = np.array([0.25, 1.0, 0.0, 0.5])
    answers = columns(BENCHMARK, correct=solved, output=["a", "b", "c", "d"])
    result = Result(
        benchmark=BENCHMARK,
        metric="pass@1",
        score=0.4375,
        stderr=stderr(BENCHMARK, solved),
        chance=None,
        details={"pass@10": 0.8},
        answers=answers,
    )
    row, kept = json.loads(json.dumps([result.row(), result.answers], allow_nan=False))
    assert row["metric"] == "pass@1" and row["n"] == 4 and row["shots"] == 5 and row["details"] == {"pass@10": 0.8}
    assert [row[name] for name in ("chance", "acc_norm", "mean_logprob", "bits_per_byte", "truncated")] == [None, None, None, None, 0]
    assert tuple(kept) == COLUMNS
    assert kept["template"] == ["a", "a", "b", "b"] and kept["correct"] == [0.25, 1, 0, 0.5] and kept["choice"] == [None] * 4


def test_columns_refuse_what_is_no_answer() -> None:
    with pytest.raises(ValueError, match="no column right"):
        columns(BENCHMARK, right=[1, 1, 1, 1])
    with pytest.raises(ValueError, match="correct has 3 entries for 4 items"):
        columns(BENCHMARK, correct=[1, 1, 1])


def test_standard_errors() -> None:
    values = np.array([1, 1, 0, 0, 1, 0, 1, 1])
    assert plain_stderr(values) == pytest.approx(math.sqrt(values.var(ddof=1) / 8))
    every_item_its_own = [str(i) for i in range(8)]
    assert clustered_stderr(values, every_item_its_own) == pytest.approx(plain_stderr(values))
    copied_four_times = np.repeat(values, 4)
    assert clustered_stderr(copied_four_times, [str(i) for i in range(8) for _ in range(4)]) == pytest.approx(plain_stderr(values))
    assert clustered_stderr(values, ["one"] * 8) is None


def test_the_larger_standard_error_counts() -> None:
    together, apart = np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0])
    assert (
        stderr(BENCHMARK, together) == pytest.approx(clustered_stderr(together, ["a", "a", "b", "b"])) and stderr(BENCHMARK, together) > 0.3
    )
    assert stderr(BENCHMARK, apart) == pytest.approx(plain_stderr(apart))
