"""GSM8K's extraction: what counts as the answer, strictly and flexibly."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from ablate.evals.gsm8k import flexible, same, strict

REFERENCE = "She has 4 * 3 = <<4*3=12>>12 lamps, and buys $1,000 worth more.\nSo 1,012.\n#### 1,012"


@pytest.mark.parametrize(
    ("text", "strictly", "flexibly"),
    [
        ("#### 1012", True, True),
        ("#### 1,012", True, True),
        ("#### 1012.", True, True),
        ("#### 1012.0", False, False),
        ("#### 1012 lamps", True, True),
        (" So it is 5 + 1007.\n#### 1012\n\nmore", True, True),
        ("#### 1012\n#### 7", True, False),  # strict takes the first, flexible the last
        ("#### 7\n#### 1012", False, True),
        ("#### $1012", False, True),  # the strict pattern has no dollar sign
        ("####1012", False, True),
        ("#### -1012", False, False),
        ("the answer is 1012", False, True),
        ("the answer is $1,012.", False, True),
        ("the answer is $1,012.00", False, False),
        ("1012 of them, so 2 remain", False, False),
        ("The answer is 1012%!", False, True),
        ("", False, False),
        ("no number", False, False),
        ("[invalid]", False, False),
        ("#### ", False, False),
        ("####", False, False),
        ("1012 . . .", False, True),
        ("1012 ...", False, False),  # dots alone look like a number to the flexible pattern
    ],
)
def test_what_is_taken_for_the_answer(text: str, strictly: bool, flexibly: bool) -> None:
    assert same(strict(text), REFERENCE) is strictly
    assert same(flexible(text), REFERENCE) is flexibly


def test_numbers_as_they_stand() -> None:
    assert strict("#### -3,000.50 and") == "-3,000.50" and strict("-3") == "[invalid]"
    assert flexible("a -3 b 4") == "4" and flexible("a $-3") == "-3" and flexible("$5,000") == "$5,000" and flexible("-") == "[invalid]"
    assert same("18", "#### 18") and not same("18", "#### 180") and same("-10", "x\n#### -10")


@pytest.mark.shared_data
def test_every_published_answer_is_found_right(shared_data: Path) -> None:
    with gzip.open(shared_data / "benchmarks" / "gsm8k_test.jsonl.gz", "rt", encoding="utf-8") as lines:
        answers = [json.loads(line)["answer"] for line in lines]
    assert len(answers) == 1319
    assert all(same(strict(answer), answer) and same(flexible(answer), answer) for answer in answers)
    others = answers[1:] + answers[:1]
    assert sum(same(strict(answer), other) for answer, other in zip(answers, others, strict=True)) < 40
