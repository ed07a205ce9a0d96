"""Rows of published benchmarks: what is read from files, and what is refused with its file and line."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from ablate.errors import DataError
from ablate.evals.catalogue import entries
from ablate.evals.items import Item
from tests.evals.published_files import item, made, prompt


def test_labels_beside_the_rows(tmp_path: Path) -> None:
    rows = [{"goal": f"G{i}", "sol1": "s", "sol2": "t"} for i in range(3)]
    (tmp_path / "valid.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(
        DataError, match=r"valid.jsonl, line 1: .*piqa needs the columns goal, label, sol1, sol2, and the row has goal, sol1"
    ):
        made("piqa", str(tmp_path / "valid.jsonl"))
    (tmp_path / "valid-labels.lst").write_text("0\n1\n1\n")
    assert [one.answer for one in made("piqa", str(tmp_path / "valid*")).items if isinstance(one, Item)] == [0, 1, 1]
    assert len(made("piqa", str(tmp_path / "valid*"), limit=2).items) == 2
    (tmp_path / "valid-labels.lst").write_text("0\n1\n")
    with pytest.raises(DataError, match=r"valid.jsonl: 3 rows, and valid-labels.lst beside it has 2 labels"):
        made("piqa", str(tmp_path / "valid.jsonl"))


GOOD = json.dumps({"sentence_good": "It is.", "sentence_bad": "It are.", "UID": "agree"})


def sentence(**wrong: object) -> bytes:
    """A row of SafeNLP's file with something wrong."""
    return json.dumps({"text": "x", "label": "hate", "toxicity_score": 4.0, "target_groups": ["a"], **wrong}).encode()


@pytest.mark.parametrize(
    ("task", "line", "why"),
    [
        ("blimp", b"{'a': 1}", "not JSON"),
        ("blimp", b"[1]", "not a JSON object"),
        ("blimp", b'{"sentence_good": "It is."}', "needs the columns sentence_bad, sentence_good, and the row has sentence_good, paradigm"),
        ("blimp", b'{"sentence_good": 1, "sentence_bad": "It are."}', "sentence_good is not text"),
        ("blimp", b'{"sentence_good": "It is.", "sentence_bad": "It is."}', "the same"),
        ("blimp", b'{"sentence_good": "It is.", "sentence_bad": ""}', "a choice is empty"),
        ("blimp", b'{"sentence_good": "\xff", "sentence_bad": "It are."}', "not valid UTF-8"),
        ("blimp", b'{"sentence_good": "\\ud800", "sentence_bad": "It is."}', "surrogates"),
        ("blimp", b"[" * 100_000, "nested too deeply"),
        ("winogrande", b'{"sentence": "No gap.", "option1": "a", "option2": "b", "answer": "1"}', "no gap"),
        ("winogrande", b'{"sentence": "a _ b", "option1": "a", "option2": "b", "answer": ""}', "is this a split without answers"),
        ("winogrande", b'{"option1": "a"}', "there is no column 'sentence'"),
        ("mmlu", b'{"question": "Q", "subject": "law", "choices": ["a", "b", "c", "d"], "answer": 4}', "said to be 4, and there are 4"),
        ("toxigen_safety", sentence(label="bad"), "label is 'bad', neither hate nor neutral"),
        ("toxigen_safety", sentence(toxicity_score=0), "toxicity_score is 0, not a number above 0"),
        ("toxigen_safety", sentence(target_groups="a"), "target_groups is 'a', not a list"),
        ("mmlu", b'{"question": "Q", "subject": "law", "choices": ["a"], "answer": 0}', "the row is not one of this benchmark"),
        ("arc_easy", b'{"question": "Q", "choices": ["a"], "answerKey": "A"}', "the row is not one of this benchmark"),
        ("humaneval", b'{"prompt": " ", "canonical_solution": "", "task_id": "", "test": "", "entry_point": ""}', "the text is empty"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, task: str, line: bytes, why: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes((GOOD.encode() if task == "blimp" else b"") + b"\n" + line + b"\n")
    with pytest.raises(DataError, match=rf"rows.jsonl, line 2: .*{why}") as caught:
        made(task, str(path))
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAIRS", str(tmp_path))
    with pytest.raises(DataError, match=r"evaluate.benchmarks.files: \$PAIRS/\*.jsonl: no file matches"):
        made("blimp", "$PAIRS/*.jsonl")
    whole = gzip.compress(f"{GOOD}\n".encode() * 1000)
    damaged = whole[:20] + b"\0\0\0\0" + whole[24:]
    for name, content in (("cut.jsonl.gz", whole[: len(whole) // 2]), ("damaged.jsonl.gz", damaged), ("plain.jsonl.gz", GOOD.encode())):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}: the gzip file is damaged or cut off"):
            made("blimp", str(tmp_path / name))
    for name, content, why in (("empty.jsonl", b"\n", "hold no rows of blimp"), ("rows.xml", b"<a/>", "not of a kind that is read")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=why):
            made("blimp", str(tmp_path / name))
    (tmp_path / "h.txt").write_text("context\n0\nan ending\n")
    with pytest.raises(DataError, match=r"h.txt, line 1: an item has 6 lines, and here are 3; the file is cut off"):
        made("hellaswag", str(tmp_path / "h.txt"))


REAL = {
    "winogrande": ("winogrande_xl_validation.jsonl.gz", 1267),
    "arc_easy": ("arc_easy_validation.jsonl.gz", 570),
    "arc_challenge": ("arc_challenge_*.jsonl.gz", 299 + 1172),
    "boolq": ("boolq_validation.jsonl.gz", 3270),
    "piqa": ("piqa_valid*", 1838),
    "hellaswag": ("hellaswag_val*", 2000),
    "mmlu": ("mmlu_10subjects.jsonl.gz", 1691),
    "agieval_sat_en": ("agieval_sat-en.jsonl.gz", 206),
    "agieval_sat_math": ("agieval_sat-math.jsonl.gz", 220),
    "agieval_aqua_rat": ("agieval_aqua-rat.jsonl.gz", 254),
    "agieval_lsat_ar": ("agieval_lsat-ar.jsonl.gz", 230),
    "agieval_logiqa_en": ("agieval_logiqa-en.jsonl.gz", 651),
    "lambada_openai": ("lambada_openai_*.jsonl.gz", 3435),
    "blimp": ("blimp_45_paradigms.jsonl.gz", 9000),
    "sciq": ("sciq_validation.jsonl.gz", 1000),
    "truthfulqa_mc1": ("truthfulqa_v1_mc_task.json.gz", 817),
    "truthfulqa_mc2": ("truthfulqa_v1_mc_task.json.gz", 817),
    "toxigen": ("safenlp_toxiGen.json.gz", 6514),
    "toxigen_safety": ("safenlp_toxiGen.json.gz", 6514),
    "humaneval": ("HumanEval.jsonl.gz", 164),
    "mbpp": ("mbpp_0-599.jsonl.gz", 500),
}


@pytest.mark.shared_data
@pytest.mark.parametrize("task", REAL)
def test_real_files(shared_data: Path, task: str) -> None:
    pattern, count = REAL[task]
    benchmark = made(task, str(shared_data / "benchmarks" / pattern))
    assert len(benchmark.items) == count
    if entries()[task].order == "hashed":
        chance = benchmark.chance or 0
        right = sum(one.answer == 0 for one in benchmark.items if isinstance(one, Item))
        assert abs(right - chance * count) < 5 * (chance * (1 - chance) * count) ** 0.5, "no place is right too often"


@pytest.mark.shared_data
def test_real_examples(shared_data: Path) -> None:
    folder = shared_data / "benchmarks"
    gsm = made("gsm8k", str(folder / "gsm8k_test.jsonl.gz"), shots_from=str(folder / "gsm8k_train_first200.jsonl.gz"))
    assert (len(gsm.items), prompt(gsm, 1318).context.count("Question:")) == (1319, 6)
    own = made(
        "agieval_lsat_ar", str(folder / "agieval_lsat-ar.jsonl.gz"), shots=3, shots_from=str(folder / "agieval_few_shot_prompts.csv.gz")
    )
    assert len(re.findall(r"The answer is therefore [A-E]\n\nProblem \d", item(own).context)) == 3
    assert len({one.template for one in own.items}) > 30, "questions on one passage are a cluster"
    five = made("mmlu", str(folder / "mmlu_10subjects.jsonl.gz"), shots=5)
    assert all(one.context.count("Answer:") == 6 for one in five.items)
