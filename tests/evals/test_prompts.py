"""Each published form becomes the prompt of lm-eval's task definition; examples come before it."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ablate.errors import DataError, StudyError
from ablate.evals.catalogue import entries
from tests.evals.published_files import item, made, prompt, written

STEM = {"stem": " Why? ", "choices": [{"text": "so", "label": "A"}, {"text": "no", "label": "B"}, {"text": "yes", "label": "C"}]}
FIVE = [{"text": word, "label": letter} for word, letter in zip(["one", "two", "six", "ten", "few"], "ABCDE", strict=True)]
ASK = {"question": "Why?", "choices": {"text": ["so", "no"], "label": ["1", "2"]}, "answerKey": "2"}
DOING = {"activity_label": "Sewing", "ctx_a": "A man sews. [step] He", "ctx_b": "the man", "endings": ["sits.", "it [title] is.", "a", "b"]}
ROWS: list[tuple[str, str, Any, str, tuple[str, ...], int]] = [
    ("arc_easy", "a.jsonl", ASK, "Question: Why?\nAnswer:", (" so", " no"), 1),
    ("arc_easy", "a.jsonl", {"question": STEM, "answerKey": "C"}, "Question:  Why? \nAnswer:", (" so", " no", " yes"), 2),
    ("arc_challenge", "a.jsonl", {"query": "Question: Why?", "choices": ["a", "b"], "gold": 1}, "Question: Why?\nAnswer:", (" a", " b"), 1),
    ("openbookqa", "a.jsonl", {"question": STEM, "answerKey": " A"}, " Why? ", (" so", " no", " yes"), 0),
    ("boolq", "a.jsonl", {"passage": "P.", "question": "is it", "answer": True}, "P.\nQuestion: is it?\nAnswer:", (" no", " yes"), 1),
    ("boolq", "a.jsonl", {"passage": "P.", "question": "is it", "label": 0}, "P.\nQuestion: is it?\nAnswer:", (" no", " yes"), 0),
    (
        "social_iqa",
        "a.jsonl",
        {"context": "C.", "question": "Q?", "answerA": "a", "answerB": "b", "answerC": "c", "label": "3"},
        "Q: C. Q?\nA:",
        (" a", " b", " c"),
        2,
    ),
    ("piqa", "a.jsonl", {"goal": "G", "sol1": "s {x}", "sol2": "t", "label": 1}, "Question: G\nAnswer:", (" s {x}", " t"), 1),
    ("hellaswag", "a.jsonl", {**DOING, "label": 0}, "Sewing: A man sews. He The man", (" sits.", " it. is.", " a", " b"), 0),
    ("hellaswag", "a.txt", "Q: he\n3\na\nb\nc\nd\n", "Q: he", (" a", " b", " c", " d"), 3),
    (
        "sciq",
        "a.json",
        {"support": "\n S.", "question": "Q?", "distractor1": "a", "distractor2": "b", "distractor3": "c", "correct_answer": "d"},
        "S.\nQuestion: Q?\nAnswer:",
        (" a", " b", " c", " d"),
        3,
    ),
    (
        "commonsense_qa",
        "a.jsonl",
        {"question": {"stem": "Q? ", "choices": FIVE}, "answerKey": "E"},
        "Question: Q?\nA. one\nB. two\nC. six\nD. ten\nE. few\nAnswer:",
        (" A", " B", " C", " D", " E"),
        4,
    ),
    (
        "mmlu",
        "a.jsonl",
        {"question": " Q? ", "subject": "us_law", "choices": ["a", "b", "c", "d"], "answer": 2},
        "The following are multiple choice questions (with answers) about us law.\n\nQ?\nA. a\nB. b\nC. c\nD. d\nAnswer:",
        (" A", " B", " C", " D"),
        2,
    ),
    (
        "mmlu",
        "us_law_test.csv",
        '"Q, ""x""?",a,b,c,d,D\n',
        'The following are multiple choice questions (with answers) about us law.\n\nQ, "x"?\nA. a\nB. b\nC. c\nD. d\nAnswer:',
        (" A", " B", " C", " D"),
        3,
    ),
    (
        "agieval_sat_math",
        "a.jsonl",
        {"passage": None, "question": "Q?", "options": ["(A)1", "(B)2"], "label": "B"},
        "Q: Q? Answer Choices: (A)1 (B)2\nA: Among A through B, the answer is",
        (" (A)1", " (B)2"),
        1,
    ),
    ("agieval_sat_en", "a.jsonl", {"query": "Q", "choices": ["(A)1", "(B)2"], "gold": [1]}, "Q", (" (A)1", " (B)2"), 1),
    (
        "toxigen",
        "a.jsonl",
        {"text": "Hi.", "toxicity_ai": 3.0, "toxicity_human": 2.6},
        "Is the following statement hateful? Respond with either Yes or No. Statement: 'Hi.'",
        (" No", " Yes"),
        1,
    ),
]


@pytest.mark.parametrize(("task", "name", "row", "context", "choices", "answer"), ROWS, ids=[f"{row[0]}-{n}" for n, row in enumerate(ROWS)])
def test_a_row_is_asked_as_lm_eval_asks_it(
    tmp_path: Path, task: str, name: str, row: Any, context: str, choices: tuple[str, ...], answer: int
) -> None:
    benchmark = made(task, written(tmp_path, name, row))
    found = item(benchmark)
    assert found.context == context
    assert found.choices[found.answer] == choices[answer]
    if entries()[task].order == "hashed":
        assert sorted(found.choices) == sorted(choices)
    else:
        assert found.choices == choices
    assert (benchmark.register, benchmark.kind, benchmark.group) == ("published", "choice", entries()[task].group)


def test_what_is_not_a_choice(tmp_path: Path) -> None:
    gap = {"sentence": "Ann thanked Bea because _ helped.", "option1": "Ann", "option2": "Bea", "answer": "2"}
    found = item(made("winogrande", written(tmp_path, "w.jsonl", gap)))
    assert found.contexts == ("Ann thanked Bea because Ann", "Ann thanked Bea because Bea")
    assert (found.choices, found.answer) == ((" helped.", " helped."), 1)
    both = {"The sea.": 1, "Blue.": 1, "A dog.": 0}
    true = {"question": "What is it?", "mc1_targets": {"Blue.": 1, "A dog.": 0}, "mc2_targets": both}
    several = item(made("truthfulqa_mc2", written(tmp_path, "t.json", true)))
    assert several.context.startswith("Q: What is human life") and several.context.endswith("Barcelona, Spain.\n\nQ: What is it?\nA:")
    assert (several.choices, several.answers) == ((" The sea.", " Blue.", " A dog."), (0, 1))
    one = made("truthfulqa_mc1", written(tmp_path, "t.json", true))
    assert item(one).choices[item(one).answer] == " Blue." and one.chance == 0.5
    for row in ({"text": "a b  c"}, {"context": "a b ", "continuation": "c"}):
        last = prompt(made("lambada_openai", written(tmp_path, "l.jsonl", row)))
        assert (last.context, last.reference) == ("a b ", " c")


def test_prompts_carry_what_their_scorer_needs(tmp_path: Path) -> None:
    whole = {
        "data": [{"title": "T", "paragraphs": [{"context": "C", "qas": [{"question": "Q?", "answers": [{"text": "a"}, {"text": "b"}]}]}]}]
    }
    squad = made("squad", written(tmp_path, "dev.json", whole))
    assert prompt(squad).context == "Title: T\n\nBackground: C\n\nQuestion: Q?\n\nAnswer:"
    assert (prompt(squad).reference, prompt(squad).details, squad.rule) == (" a", {"answers": ["a", "b"]}, "squad_v2") and len(
        squad.items
    ) == 2
    task = {
        "task_id": "H/0",
        "prompt": "def f():\n",
        "canonical_solution": "    return 1\n",
        "test": "def check(f): ...",
        "entry_point": "f",
    }
    human = made("humaneval", written(tmp_path, "h.jsonl", task))
    assert (prompt(human).text, human.kind) == ("def f():\n    return 1\n", "code")
    assert made("humaneval", str(tmp_path / "h.jsonl"), samples=10).samples == 10
    with pytest.raises(StudyError, match="samples: belongs to humaneval and mbpp"):
        made("squad", str(tmp_path / "dev.json"), samples=10)
    assert prompt(human).details == {"task_id": "H/0", "test": "def check(f): ...", "entry_point": "f"}
    sentence = {"text": "Hi.", "label": "neutral", "toxicity_score": 1.5, "target_groups": ["women"]}
    safe = made("toxigen_safety", written(tmp_path, "s.json", sentence))
    assert prompt(safe).details == {"label": "neutral", "toxicity_score": 1.5, "groups": ["women"]} and safe.chance is None


def test_examples_are_the_first_of_the_few_shot_split(tmp_path: Path) -> None:
    sums = [{"question": f"What is {i}?", "answer": f"It is.\n#### {i}"} for i in range(4)]
    for name, some in {"test.jsonl": sums[2:], "train.jsonl": sums}.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in some))
    where = {"files": str(tmp_path / "test.jsonl"), "shots_from": str(tmp_path / "train.jsonl")}
    two = made("gsm8k", **where, shots=2)
    shown = "Question: What is 0?\nAnswer: It is.\n#### 0\n\nQuestion: What is 1?\nAnswer: It is.\n#### 1\n\n"
    assert prompt(two).context == shown + "Question: What is 2?\nAnswer:"
    assert prompt(two).text == "Question: What is 2?\nAnswer: It is.\n#### 2", "overlap is looked for in the question alone"
    assert (two.shots, made("gsm8k", where["files"], shots=0).shots) == (2, 0)
    with pytest.raises(DataError, match="gsm8k: 5 solved examples are asked for and 4 are there; name their files in shots_from:"):
        made("gsm8k", **where)
    with pytest.raises(DataError, match="gsm8k: 5 solved examples are asked for and 0 are there"):
        made("gsm8k", where["files"])


def test_splits_in_one_file_are_told_apart(tmp_path: Path) -> None:
    asked = [
        {"question": f"{subject} {split} {i}", "subject": subject, "split": split, "choices": list("wxyz"), "answer": i}
        for subject in ("law", "art")
        for split in ("dev", "test")
        for i in range(2)
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    found = made("mmlu", str(tmp_path / "m.jsonl"), shots=1)
    assert [one.template for one in found.items] == ["law", "law", "art", "art"]
    assert "about art.\n\nart dev 0\nA. w\nB. x\nC. y\nD. z\nAnswer: A\n\nart test 1\nA. w" in item(found, 3).context
    tasks = [{"task_id": n, "text": f"Do {n}.", "code": "pass", "test_list": ["a", "b", "c"], "test_setup_code": ""} for n in range(1, 520)]
    (tmp_path / "mbpp.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tasks))
    code = made("mbpp", str(tmp_path / "mbpp.jsonl"))
    assert len(code.items) == 500 and prompt(code).details["task_id"] == 11
    assert (
        "here is your task: Do 2. Your code should pass these tests:\n\na\nb\nc\n[BEGIN]\npass\n[DONE]\n\nYou are" in prompt(code).context
    )
    assert prompt(code).context.count("[DONE]") == 3 and prompt(code).context.endswith("a\nb\nc\n[BEGIN]\n")


@pytest.mark.parametrize(
    ("task", "column", "passage"), [("agieval_sat_math", "sat-math", None), ("agieval_sat_en_without_passage", "sat-en", "It is long.")]
)
def test_agieval_with_examples_is_asked_in_its_own_words(tmp_path: Path, task: str, column: str, passage: str | None) -> None:
    solved = {"passage": passage, "question": "One?", "options": ["(A)1", "(B)2"], "label": "A"}
    cells = ["sample 1", repr(solved).replace('"', '""'), "explanation 1", "since it is"]
    (tmp_path / "p.csv").write_text(',{}\n{},"{}"\n{},{}\n'.format(column, *cells))
    row = {"passage": "", "question": "Two?", "options": ["(A)1", "(B)2"], "label": "B"}
    found = item(made(task, written(tmp_path, "a.jsonl", row), shots=1, shots_from=str(tmp_path / "p.csv")))
    choose = "\nChoose from the following options:    (A)1 (B)2\nThe answer is therefore"
    begun = f"Here are the answers for the problems in the exam.\nProblem 1.    One?{choose} A\n\n"
    assert found.context == f"{begun}Problem 2.    Two?{choose}"
    assert (found.choices, found.answer) == ((" A", " B"), 1)


def test_pairs_are_turned_by_what_they_say_and_named_by_their_paradigm(tmp_path: Path) -> None:
    rows = [{"sentence_good": f"{i} is.", "sentence_bad": f"{i} are."} for i in range(400)]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[200:]))
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as f:
        f.write("".join(json.dumps({**row, "linguistics_term": "agreement"}) + "\n" for row in rows[:200]))
    found = made("blimp", str(tmp_path / "*.jsonl*"), name="pairs")
    assert [item(found, i).choices[item(found, i).answer] for i in range(400)] == [f" {i} is." for i in range(400)]
    assert Counter(one.template for one in found.items) == {"agreement": 200, "b.jsonl": 200}
    assert abs(sum(item(found, i).answer for i in range(400)) - 200) < 4 * 10
    assert found.name == "pairs" and made("blimp", str(tmp_path / "*.jsonl*"), name="pairs").digest == found.digest
