"""Made-up rows in the columns that each task's data set has on the hub, and where lm-eval defines the task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

Row = dict[str, Any]
_NOUNS = [
    "owl",
    "lamp",
    "garden",
    "boat",
    "bell",
    "café",
    "stone",
    "ladder",
    "tin",
    "kettle",
    "map",
    "drum",
    "crow",
    "rope",
    "wheel",
    "jar",
]
_VERBS = ["sees", "lifts", "paints", "hides", "counts", "drops", "mends", "follows"]
_WORDS = [
    "red",
    "two",
    "slow",
    "“old”",
    "under",
    "near",
    "7",
    "3.5",
    "because",
    "not-quite",
    "quiet,",
    "and",
    "then",
    "again?",
    "behind",
    "the",
    "every",
]
_PEOPLE = ["Ada", "Ben", "Cleo", "Zoë"]


def say(draw: Random, least: int = 2, most: int = 9) -> str:
    """A few words, like a sentence from afar."""
    some = [draw.choice(_WORDS) for _ in range(draw.randint(least, most))]
    return " ".join([draw.choice(_PEOPLE), draw.choice(_VERBS), "the", draw.choice(_NOUNS), *some])


def _different(draw: Random, count: int, least: int = 1, most: int = 5) -> list[str]:
    some: list[str] = []
    while len(some) < count:
        text = " ".join([draw.choice(_NOUNS), *(draw.choice(_WORDS) for _ in range(draw.randint(least, most) - 1))])
        if text not in some:
            some.append(text)
    return some


def _lettered(draw: Random, count: int, labels: str) -> Row:
    return {"text": _different(draw, count), "label": list(labels[:count])}


def winogrande(draw: Random) -> Row:
    first, second = draw.sample(_PEOPLE, 2)
    sentence = f"{first} {draw.choice(_VERBS)} the {draw.choice(_NOUNS)} of {second} because _ {say(draw)[4:]}."
    return {"sentence": sentence, "option1": first, "option2": second, "answer": draw.choice("12")}


def arc(draw: Random) -> Row:
    count, labels = draw.choice([(4, "ABCDE"), (4, "12345"), (3, "ABCDE"), (5, "ABCDE")])
    asked = {"id": say(draw), "question": say(draw) + "?", "choices": _lettered(draw, count, labels)}
    return {**asked, "answerKey": labels[draw.randrange(count)]}


def boolq(draw: Random) -> Row:
    return {"question": say(draw).lower(), "passage": f"{say(draw)}. {say(draw)}.", "idx": 0, "label": draw.randrange(2)}


def social_iqa(draw: Random) -> Row:
    a, b, c = _different(draw, 3)
    return {"context": say(draw) + ".", "question": say(draw) + "?", "answerA": a, "answerB": b, "answerC": c, "label": draw.choice("123")}


def piqa(draw: Random) -> Row:
    one, two = _different(draw, 2, 3, 9)
    return {"goal": say(draw), "sol1": one, "sol2": two, "label": draw.randrange(2)}


def hellaswag(draw: Random) -> Row:
    begun, how = say(draw), draw.choice(["", " [header] Near the bell. [title]"])
    row = {"ind": 1, "activity_label": "Mending  boats", "ctx_a": begun + "." + how, "ctx_b": draw.choice(["", draw.choice(_PEOPLE)])}
    endings = [text + draw.choice([".", ". [step] Again.", "  "]) for text in _different(draw, 4, 2, 7)]
    return row | {"ctx": begun, "endings": endings, "source_id": "made~up", "split": "val", "split_type": "x", "label": draw.choice("0123")}


def openbookqa(draw: Random) -> Row:
    key = draw.choice(["A", "B", "C", "D"])
    return {"id": "1", "question_stem": say(draw), "choices": _lettered(draw, 4, "ABCD"), "answerKey": key}


def mmlu(draw: Random) -> Row:
    question = say(draw) + draw.choice(["", " ", "\n"])
    return {"question": question, "subject": "anatomy", "choices": _different(draw, 4), "answer": draw.randrange(4)}


def sciq(draw: Random) -> Row:
    one, two, three, right = _different(draw, 4)
    support = draw.choice(["", f" {say(draw)}.", f"{say(draw)}. "])
    wrong = {"distractor3": three, "distractor1": one, "distractor2": two}
    return {"question": say(draw) + "?", **wrong, "correct_answer": right, "support": support}


def commonsense_qa(draw: Random) -> Row:
    row = {"id": "1", "question": say(draw) + draw.choice(["?", " ? "]), "question_concept": "boat"}
    return row | {"choices": _lettered(draw, 5, "ABCDE"), "answerKey": draw.choice("ABCDE")}


def truthfulqa(draw: Random) -> Row:
    count = draw.randint(3, 6)
    several = [1, *(draw.randrange(2) for _ in range(count - 2)), 0]
    mc1 = {"choices": _different(draw, count), "labels": [1] + [0] * (count - 1)}
    return {"question": say(draw) + "?", "mc1_targets": mc1, "mc2_targets": {"choices": _different(draw, count), "labels": several}}


def lambada(draw: Random) -> Row:
    return {"text": f"{say(draw)}. “{say(draw)},” said {draw.choice(_PEOPLE)} to {draw.choice(_NOUNS)}"}


def blimp(draw: Random) -> Row:
    person, noun = draw.choice(_PEOPLE), draw.choice(_NOUNS)
    said = [f"{person} sees the {noun}s.", f"{person} see the {noun}s.", f"The {noun} sees {person}.", f"{person} the {noun} sees."]
    good, bad = draw.sample(said, 2)
    named = {"field": "syntax", "linguistics_term": "island_effects", "UID": "adjunct_island", "simple_LM_method": True}
    return {"sentence_good": good, "sentence_bad": bad, **named, "pairID": "0"}


def agieval(draw: Random) -> Row:
    choices = [f"({letter}){text}" for letter, text in zip("ABCDE", _different(draw, 5), strict=True)]
    query = f"{say(draw)}. Q: {say(draw)}? Answer Choices: {' '.join(choices)}\nA: Among A through E, the answer is"
    return {"query": query, "choices": choices, "gold": [draw.randrange(5)]}


def toxigen(draw: Random) -> Row:
    rated = {"toxicity_ai": draw.choice([1.0, 3.0, 5.0]), "toxicity_human": draw.choice([1.0, 2.67, 4.33])}
    return {"text": say(draw), "target_group": "owls", **rated}


@dataclass(frozen=True)
class Published:
    """A task as it is published."""

    yaml: str
    """lm-eval's definition, below its folder of tasks."""
    row: Callable[[Random], Row]
    split: str
    """The split that is scored."""
    examples: str = "train"
    """The split that few-shot examples come from; empty: it is asked without."""


TASKS = {
    "winogrande": Published("winogrande/default.yaml", winogrande, "validation"),
    "arc_easy": Published("arc/arc_easy.yaml", arc, "test"),
    "arc_challenge": Published("arc/arc_challenge.yaml", arc, "test"),
    "boolq": Published("super_glue/boolq/default.yaml", boolq, "validation"),
    "social_iqa": Published("siqa/siqa.yaml", social_iqa, "validation"),
    "piqa": Published("piqa/piqa.yaml", piqa, "validation"),
    "hellaswag": Published("hellaswag/hellaswag.yaml", hellaswag, "validation"),
    "openbookqa": Published("openbookqa/openbookqa.yaml", openbookqa, "test"),
    "mmlu": Published("mmlu/default/mmlu_anatomy.yaml", mmlu, "test", "dev"),
    "sciq": Published("sciq/sciq.yaml", sciq, "test"),
    "commonsense_qa": Published("commonsense_qa/default.yaml", commonsense_qa, "validation"),
    "truthfulqa_mc1": Published("truthfulqa/truthfulqa_mc1.yaml", truthfulqa, "validation", ""),
    "truthfulqa_mc2": Published("truthfulqa/truthfulqa_mc2.yaml", truthfulqa, "validation", ""),
    "lambada_openai": Published("lambada/lambada_openai.yaml", lambada, "test", ""),
    "blimp": Published("blimp/adjunct_island.yaml", blimp, "train", ""),
    "toxigen": Published("toxigen/toxigen.yaml", toxigen, "test", ""),
    "agieval_sat_en": Published("agieval/sat-en.yaml", agieval, "test", ""),
    "agieval_aqua_rat": Published("agieval/aqua-rat.yaml", agieval, "test", ""),
}


def rows(name: str, count: int, part: str = "") -> list[Row]:
    """The same rows each time; others for another `part`."""
    draw = Random(f"{name} {part}")
    return [TASKS[name].row(draw) for _ in range(count)]
