"""Rows of different releases of a benchmark made alike, and made ready for the prompts of catalogue.yaml.

Each function takes a row and the name of its file. Where it follows one of lm-eval's, its result is the same text.
ValueError and LookupError mean that the row is not what it should be; the caller adds the place.
"""

from __future__ import annotations

import ast
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Row = Mapping[str, Any]
_LETTERS = "ABCDEFG"
_HATEFUL = 5.5
"""Of ToxiGen: hateful where the two ratings (1 to 5) add up to more; lm-eval's rule."""
_MMLU_FILE = re.compile(r"(\w+)_(test|dev|val)\.csv")


def prepared(name: str, row: Row, file: str) -> Iterable[Row]:
    """What the function `name` makes of a row; the row itself where there is no name."""
    return _FUNCTIONS[name](row, file) if name else [row]


def literal(text: str) -> Row:
    """A row that is written as a Python literal in a table's cell."""
    found = ast.literal_eval(text)
    if not isinstance(found, dict):
        raise ValueError("the cell is not a mapping")
    return found


def _ai2(row: Row, file: str) -> Iterable[Row]:
    """AI2's own releases (ARC, OpenBookQA, CommonsenseQA) nest stem and choices in `question`; the hub's do not."""
    question = row.get("question")
    if isinstance(question, dict):
        listed = question["choices"]
        both = {"text": [choice["text"] for choice in listed], "label": [choice["label"] for choice in listed]}
        row = {**row, "question": question["stem"], "question_stem": question["stem"], "choices": both}
    return [{**row, "answerKey": row["answerKey"].strip()} if "answerKey" in row else row]


def _commonsense_qa(row: Row, file: str) -> Iterable[Row]:
    return [{**found, "question": found["question"].strip()} for found in _ai2(row, file)]


def _winogrande(row: Row, file: str) -> Iterable[Row]:
    """Partial evaluation (Trinh and Le 2018): what stands before the gap takes an option, what follows it is scored."""
    before, gap, after = row["sentence"].partition("_")
    if not gap:
        raise ValueError("the sentence has no gap (_)")
    return [{**row, "before": before, "after": after.strip()}]


def _hellaswag(row: Row, file: str) -> Iterable[Row]:
    if "query" in row:  # written out already
        return [row]
    context = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    return [{**row, "query": _without_brackets(context), "choices": [_without_brackets(ending) for ending in row["endings"]]}]


def _without_brackets(text: str) -> str:
    """WikiHow's marks ([title], [step] ...) removed."""
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def _sciq(row: Row, file: str) -> Iterable[Row]:
    return [{**row, "support": row["support"].lstrip()}]


def _mmlu(row: Row, file: str) -> Iterable[Row]:
    """The original release has a file a subject and split, with the choices in columns and a letter as the answer."""
    named = _MMLU_FILE.search(file)
    if named and "choices" not in row:
        row = {**row, "subject": named[1], "split": named[2], "choices": [row[letter] for letter in "ABCD"]}
    answer = row["answer"]
    place = "ABCD".index(answer) if isinstance(answer, str) and answer else answer
    return [{**row, "answer": place, "question": row["question"].strip(), "topic": row["subject"].replace("_", " ")}]


def _agieval(row: Row, file: str) -> Iterable[Row]:
    """Questions on one passage are one cluster."""
    if "options" not in row:  # the hub's rows hold the prompt
        return [{**row, "cluster": "agieval"}]
    passage = row["passage"] or ""
    cluster = f"passage {hashlib.sha256(passage.encode()).hexdigest()[:8]}" if passage else "agieval"
    letters = list(_LETTERS[: len(row["options"])])
    made = {"passage": passage, "letters": letters, "last": letters[-1], "joined": " ".join(row["options"]), "cluster": cluster}
    return [{**row, **made}]


def _lambada(row: Row, file: str) -> Iterable[Row]:
    if "text" not in row:
        return [row]
    context, gap, word = row["text"].rpartition(" ")
    if not gap or not word:
        raise ValueError("the text has no last word")
    return [{"context": context, "continuation": word}]


def _pairs(row: Row, file: str) -> Iterable[Row]:
    """The paradigm of a minimal pair is its UID, else its linguistics_term, else its file."""
    if row.get("sentence_good") == row.get("sentence_bad"):
        raise ValueError("sentence_good and sentence_bad are missing or the same")
    return [{**row, "paradigm": str(row.get("UID") or row.get("linguistics_term") or file)}]


def _truthfulqa(row: Row, file: str) -> Iterable[Row]:
    """The original release maps each choice to 0 or 1; the hub's has a list of choices and one of labels."""
    made: dict[str, Any] = dict(row)
    for key in ("mc1_targets", "mc2_targets"):
        targets = row.get(key)
        if isinstance(targets, dict):
            listed = (targets["choices"], targets["labels"]) if "labels" in targets else (list(targets), list(targets.values()))
            made[key] = {"choices": listed[0], "true": [place for place, label in enumerate(listed[1]) if label == 1]}
    return [made]


def _toxigen(row: Row, file: str) -> Iterable[Row]:
    """The hub's rows hold two ratings; those that Hosseini et al. released hold a label."""
    if "label" in row and "toxicity_ai" not in row:
        return [{**row, "hateful": ("neutral", "hate").index(row["label"])}]
    return [{**row, "hateful": int(row["toxicity_ai"] + row["toxicity_human"] > _HATEFUL)}]


def _toxigen_safety(row: Row, file: str) -> Iterable[Row]:
    """What is divided by, and who is compared, must be what it is taken for."""
    label, toxicity, groups = row["label"], row["toxicity_score"], row["target_groups"]
    if label not in ("hate", "neutral"):
        raise ValueError(f"label is {label!r}, neither hate nor neutral")
    if isinstance(toxicity, bool) or not isinstance(toxicity, (int, float)) or not 0 < toxicity < math.inf:
        raise ValueError(f"toxicity_score is {toxicity!r}, not a number above 0")
    if not isinstance(groups, list) or not groups or not all(isinstance(name, str) for name in groups):
        raise ValueError(f"target_groups is {groups!r}, not a list of names")
    return [row]


def _squad(row: Row, file: str) -> Iterable[Row]:
    """The original release is one object: articles, in them paragraphs, in them questions; the hub's is a row a question.

    Questions without an answer (SQuAD 2.0) are left out.
    """
    asked = [(row, row["answers"]["text"])] if "data" not in row else _in_articles(row["data"])
    return [{**question, "answers": texts, "answer": texts[0]} for question, texts in asked if texts]


def _in_articles(articles: Iterable[Row]) -> Iterable[tuple[Row, list[str]]]:
    for article in articles:
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                question = {"title": article["title"], "context": paragraph["context"], "question": asked["question"]}
                yield question, [answer["text"] for answer in asked["answers"]]


_FUNCTIONS: dict[str, Callable[[Row, str], Iterable[Row]]] = {
    "ai2": _ai2,
    "commonsense_qa": _commonsense_qa,
    "winogrande": _winogrande,
    "hellaswag": _hellaswag,
    "sciq": _sciq,
    "mmlu": _mmlu,
    "agieval": _agieval,
    "lambada": _lambada,
    "pairs": _pairs,
    "truthfulqa": _truthfulqa,
    "toxigen": _toxigen,
    "toxigen_safety": _toxigen_safety,
    "squad": _squad,
}
