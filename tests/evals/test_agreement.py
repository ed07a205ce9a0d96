"""Every task of choices or last words, item by item, through our scorer and through lm-eval's own definition of it.

The same model, tokenizer and rows; of lm-eval's YAML file nothing is replaced but where the rows come from (and few-shot examples are the
first, not random). Log-probabilities agree within 1e-4; what is counted right agrees exactly.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ablate.data.tokenizer import beginning_with
from ablate.evals import last_word, lm_eval, scoring
from ablate.evals.benchmarks import catalogue
from ablate.evals.items import Item, Prompt
from ablate.evals.likelihood import likelihoods
from ablate.evals.requests import requests
from ablate.study import spec
from tests.evals.made_up import TASKS, Row, rows
from tests.evals.small_model import build
from tests.evals.stories260k import BOS, load_model, load_tokenizer

pytest.importorskip("lm_eval", reason="the extra `lm-eval` is not installed")

CPU = torch.device("cpu")
TOLERANCE = 1e-4
ITEMS = 12
CONTEXT = 1536


@dataclass(frozen=True)
class Answer:
    """To one item."""

    logprobs: dict[str, float]
    """Of every choice, by the whole text that it ends."""
    correct: float
    correct_norm: float | None


@pytest.fixture(scope="module")
def wide() -> LlamaForCausalLM:
    """Random weights, large enough for answers to vary; sees what the longest prompt needs."""
    return build("sdpa", seed=2, context=CONTEXT)


def logged(
    yaml: str, data: dict[str, Sequence[Row]], shots: int, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, **changed: Any
) -> list[dict[str, Any]]:
    """Through lm-eval: its own YAML file, its own loop. data: split → rows."""
    import datasets

    with lm_eval.contained():
        harness = lm_eval.harness()
        config = harness.tasks._yaml_loader.load_yaml(Path(harness.tasks.__file__).parent / yaml)
        made = datasets.DatasetDict({split: datasets.Dataset.from_list(list(some)) for split, some in data.items()})
        config |= {"custom_dataset": lambda **_: made, "num_fewshot": shots, "fewshot_config": {"sampler": "first_n"}, **changed}
        config.pop("tag", None)
        task = harness.api.task.ConfigurableTask(config=config)
        task.set_fewshot_seed(0)
        judged = harness.models.huggingface.HFLM(
            pretrained=model, tokenizer=tokenizer, batch_size=16, max_length=model.config.max_position_embeddings
        )
        found = harness.evaluator.evaluate(judged, {"tasks": {task.task_name: task}}, bootstrap_iters=0)
    return list(found["samples"][task.task_name])


def theirs(*arguments: Any, **changed: Any) -> list[Answer]:
    """Of a task of choices or last words, through `logged`."""
    return [_answer(sample) for sample in logged(*arguments, **changed)]


def _answer(sample: dict[str, Any]) -> Answer:
    found = zip(sample["arguments"], sample["resps"], strict=True)
    logprobs = {context + text: float(answers[0][0]) for (context, text), answers in found}
    return Answer(logprobs, float(sample["acc"]), sample.get("acc_norm"))


def ours(asked: spec.Benchmark, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prefix: tuple[int, ...]) -> list[Answer]:
    (benchmark,) = catalogue([asked], fresh=False)
    prepared = requests(benchmark, tokenizer, model.config.max_position_embeddings, prefix=prefix)
    values = np.split(likelihoods(model, prepared, CPU).logprobs, prepared.first_choice[1:-1])
    scorer = last_word if benchmark.kind == "last_word" else scoring
    answers = scorer.score(model, prepared, CPU).answers
    return [
        Answer(dict(zip(_texts(item), of.tolist(), strict=True)), correct, correct_norm)
        for item, of, correct, correct_norm in zip(benchmark.items, values, answers["correct"], answers["correct_norm"], strict=True)
    ]


def _texts(item: Item | Prompt) -> list[str]:
    if isinstance(item, Prompt):
        return [item.text]
    return [item.context_of(i) + choice for i, choice in enumerate(item.choices)]


def said(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, contexts: Sequence[str]) -> list[Row]:
    """LAMBADA's rows of which the model finds the last word likeliest, where that is one token."""
    found = []
    for context in contexts:
        with torch.no_grad():
            likeliest = tokenizer.decode([int(model(torch.tensor([tokenizer(context)["input_ids"]])).logits[0, -1].argmax())])
        if likeliest.startswith(" ") and likeliest[1:].isalpha():
            found.append({"text": context + likeliest})
    return found


def assert_agree(one: Sequence[Answer], other: Sequence[Answer]) -> None:
    assert len(one) == len(other)
    for number, (a, b) in enumerate(zip(one, other, strict=True)):
        assert a.logprobs.keys() == b.logprobs.keys(), f"item {number} is asked in other words"
        for text, value in a.logprobs.items():
            assert value == pytest.approx(b.logprobs[text], abs=TOLERANCE), f"item {number}: {text[-60:]!r}"
        assert a.correct == pytest.approx(b.correct, abs=TOLERANCE), f"item {number}"
        if b.correct_norm is not None:
            assert a.correct_norm == b.correct_norm, f"item {number}"


def written(path: Path, some: Sequence[Row]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("name", TASKS)
def test_made_up_rows(name: str, shots: int, wide: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    published, scored, examples = TASKS[name], rows(name, ITEMS), rows(name, 4, "examples")
    if name == "lambada_openai":
        scored += said(wide, tokenizer, [row["text"] for row in rows(name, 60, "said")])
    if shots and not published.examples:
        pytest.skip(f"{name} is asked without examples")
    asked = spec.Benchmark(
        task=name, files=written(tmp_path / "scored.jsonl", scored), shots=shots,
        shots_from=written(tmp_path / "examples.jsonl", examples) if shots else None,
    )  # fmt: skip
    data = {"train": examples, published.examples: examples, published.split: scored}
    changed = {"fewshot_split": published.examples} if shots else {}
    expected = theirs(published.yaml, data, shots, wide, tokenizer, **changed)
    found = ours(asked, wide, tokenizer, prefix=())
    assert_agree(found, expected)
    assert len({answer.correct for answer in expected}) > 1, "a test that tells answers apart"


@pytest.mark.parametrize("name", ["arc_easy", "blimp", "winogrande", "lambada_openai"])
def test_a_tokenizer_that_begins_texts_itself(
    name: str, wide: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """As Llama's does, with a token before every text; and what is too long for the model is cut alike."""
    begins, short, some = beginning_with((tokenizer.eos_token_id,), tokenizer), build("sdpa", seed=2, context=48), rows(name, ITEMS)
    asked = spec.Benchmark(task=name, files=written(tmp_path / "scored.jsonl", some))
    data = {"train": some, TASKS[name].split: some}
    for model in (wide, short):
        expected = theirs(TASKS[name].yaml, data, 0, model, begins)
        assert_agree(ours(asked, model, tokenizer, prefix=(tokenizer.eos_token_id,)), expected)


REAL: dict[str, tuple[str, str, Callable[[Row], Row]]] = {
    "arc_easy": ("arc_easy_validation.jsonl.gz", "arc/arc_easy.yaml", dict),
    "arc_challenge": ("arc_challenge_validation.jsonl.gz", "arc/arc_challenge.yaml", dict),
    "boolq": ("boolq_validation.jsonl.gz", "super_glue/boolq/default.yaml", lambda row: {**row, "label": int(row["answer"])}),
    "sciq": ("sciq_validation.jsonl.gz", "sciq/sciq.yaml", dict),
    "winogrande": ("winogrande_xl_validation.jsonl.gz", "winogrande/default.yaml", dict),
    "piqa": ("piqa_valid*", "piqa/piqa.yaml", dict),
    "hellaswag": ("hellaswag_val_0-1999.txt.gz", "hellaswag/hellaswag.yaml", dict),
    "lambada_openai": (
        "lambada_openai_0-3434.jsonl.gz", "lambada/lambada_openai.yaml", lambda row: {"text": f"{row['context']} {row['continuation']}"}
    ),
    "blimp": ("blimp_45_paradigms.jsonl.gz", "blimp/adjunct_island.yaml", dict),
    "mmlu": ("mmlu_10subjects.jsonl.gz", "mmlu/default/mmlu_abstract_algebra.yaml", dict),
    "truthfulqa_mc1": ("truthfulqa_v1_mc_task.json.gz", "truthfulqa/truthfulqa_mc1.yaml", lambda row: _targets(row)),
    "truthfulqa_mc2": ("truthfulqa_v1_mc_task.json.gz", "truthfulqa/truthfulqa_mc2.yaml", lambda row: _targets(row)),
}  # fmt: skip
"""Task → the file with real items, lm-eval's definition, and what a row of the file is on the hub."""
MANY = 8


def _targets(row: Row) -> Row:
    """TruthfulQA's own file has {choice: label}."""
    both = {name: {"choices": list(row[name]), "labels": list(row[name].values())} for name in ("mc1_targets", "mc2_targets")}
    return {"question": row["question"], **both}


def published_rows(pattern: str, folder: Path) -> list[Row]:
    """The rows of a file, read without any of our code."""
    first, *others = sorted(folder.glob(pattern), key=lambda path: path.suffix == ".lst")
    with gzip.open(first, "rt", encoding="utf-8") as lines:
        if ".json." in first.name:
            return list(json.load(lines))
        if ".txt" in first.name:
            tasks = iter([line.rstrip("\n") for line in lines])
            return [{"query": query, "label": next(tasks), "choices": [next(tasks) for _ in range(4)]} for query in tasks]
        found = [json.loads(line) for line in lines]
    for labels in others:
        found = [{**row, "label": int(label)} for row, label in zip(found, labels.read_text().split(), strict=True)]
    return found


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize("name", REAL)
def test_real_items_and_a_real_model(name: str, shared_data: Path) -> None:
    """stories260K, which others trained, on the first published items (MMLU with five examples)."""
    pattern, yaml, on_the_hub = REAL[name]
    folder = shared_data / "models"
    model, tokenizer = load_model(folder / "stories260K.bin"), load_tokenizer(folder / "tok512.bin")
    every = published_rows(pattern, shared_data / "benchmarks")
    shots = 5 if name == "mmlu" else 0
    examples = [row for row in every if row.get("split") == "dev" and row["subject"] == "abstract_algebra"]
    scored = [on_the_hub(row) for row in every if row.get("split") != "dev"][:MANY]
    data = {"train": examples or scored, "dev": examples or scored, "validation": scored, "test": scored}
    changed: dict[str, Any] = {"process_docs": None} if name == "hellaswag" else {}  # the file's contexts are made ready already
    expected = theirs(yaml, data, shots, model, tokenizer, **changed)
    asked = spec.Benchmark(task=name, files=str(shared_data / "benchmarks" / pattern), shots=shots, limit=MANY)
    assert_agree(ours(asked, model, tokenizer, prefix=(BOS,)), expected)
