"""SQuAD against lm-eval's `squadv2`: what is asked, what a model writes, and how it is graded, answer by answer.

lm-eval has the hub send its metric, a script, which is not run here. The rules are those of SQuAD's official script, which others have too:
lm-eval in its task `qasper`, transformers 5.17.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from ablate.evals import lm_eval, squad
from ablate.evals.benchmarks import catalogue
from ablate.evals.generate import Writer
from ablate.study import spec
from tests.evals.made_up import Row, say
from tests.evals.small_model import build
from tests.evals.test_agreement import written

pytest.importorskip("lm_eval", reason="the extra `lm-eval` is not installed")

Graded = tuple[float, float]
"""Exact match, F1."""
CONTEXT = 512
PIECES = ["the", "The", "a", "an", "A.", "owl", "Owl,", "OWL", "owls", "café", "1,000", "1000", "red-owl", "“old”", "'s", "U.S.", "…"]
SPACES = [" ", "  ", "\t", "\u00a0", ""]


def by_lm_eval(answer: str, references: Sequence[str]) -> Graded:
    lm_eval.harness()
    from lm_eval.tasks.qasper.metrics import f1_abstractive, normalize_answer

    wanted = [reference for reference in references if normalize_answer(reference)] or [""]
    exact = float(max(normalize_answer(answer) == normalize_answer(reference) for reference in wanted))
    return exact, max(exact, *(f1_abstractive([answer], [reference]) for reference in wanted))  # of nothing for nothing it makes 0


def by_transformers(answer: str, references: Sequence[str]) -> Graded:
    metrics = pytest.importorskip("transformers.data.metrics.squad_metrics", reason="this transformers no longer carries it")
    example = SimpleNamespace(qas_id="one", answers=[{"text": reference} for reference in references])
    exact, f1 = metrics.get_raw_scores([example], {"one": answer})
    return exact["one"], f1["one"]


def drawn(draw: Random, most: int) -> str:
    return "".join(draw.choice(PIECES) + draw.choice(SPACES) for _ in range(draw.randint(0, most)))


@pytest.mark.parametrize("graded", [by_lm_eval, by_transformers])
def test_answers_are_graded_alike(graded: Callable[[str, Sequence[str]], Graded]) -> None:
    draw = Random(0)
    found = []
    for _ in range(3000):
        answer, references = drawn(draw, 3), [drawn(draw, 3) for _ in range(draw.randint(1, 3))]
        ours = squad.exact_match(answer, references), squad.f1(answer, references)
        assert ours == pytest.approx(graded(answer, references), abs=1e-12), (answer, references)
        found.append(ours)
    exact, partly = sum(e for e, _ in found), sum(0 < f < 1 for _, f in found)
    assert min(exact, partly, len(found) - exact - partly) > 200, "answers of every kind"


def rows(count: int) -> list[Row]:
    """In the hub's columns; the last passage is longer than the model reads."""
    draw = Random("squad")
    made = []
    for number in range(count):
        passage = ". ".join(say(draw) for _ in range(3 if number < count - 1 else 60))
        asked = {"id": str(number), "title": say(draw), "context": passage, "question": say(draw) + "?"}
        made.append({**asked, "answers": {"text": ["an owl"], "answer_start": [0]}})
    return made


def task(some: Sequence[Row]) -> Any:
    """lm-eval's own, with nothing replaced but where its rows come from."""
    import datasets

    tasks = lm_eval.harness().tasks
    theirs = tasks._yaml_loader.load_yaml(Path(tasks.__file__).parent / "squadv2" / "squadv2.yaml")["class"]

    def download(self: Any, *_: object, **__: object) -> None:
        self.dataset = datasets.DatasetDict({split: datasets.Dataset.from_list(list(some)) for split in ("train", "validation")})

    return type("Squad", (theirs,), {"download": download})()


def test_a_model_is_asked_and_writes_and_is_graded_alike(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    some = rows(6)
    model = build("sdpa", seed=2, context=CONTEXT)
    model.generation_config.eos_token_id = tokenizer.eos_token_id  # as in every model of a study
    with lm_eval.contained():
        theirs = task(some)
        theirs.build_all_requests()
        asked = [one for one in theirs.instances if one.request_type == "generate_until"]
        judged = lm_eval.harness().models.huggingface.HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4, max_length=CONTEXT)
        texts = judged.generate_until(asked, disable_tqdm=True)
    assert [one.args[1] for one in asked] == [{"until": list(squad.DECODING.stop)}] * len(some)

    for number, (row, text) in enumerate(zip(some, texts, strict=True)):
        accepted = ([text.upper() + " .", "a bat"], [" ".join(text.split()[:3]), "owl"], ["bat"])[number % 3]
        row["answers"] = {"text": accepted, "answer_start": [0] * len(accepted)}
    (benchmark,) = catalogue([spec.Benchmark(task="squad", files=written(tmp_path / "dev.jsonl", some))], fresh=False)
    assert [prompt.context for prompt in benchmark.prompts] == [one.args[0] for one in asked]
    result = squad.score(Writer(model, tokenizer, torch.device("cpu"), (), CONTEXT), benchmark)
    assert list(result.answers["output"]) == texts
    assert result.truncated == 1 and len(set(texts)) > 1

    answers = [theirs.process_results(row, [text, (-1.0, False)])["exact"] for row, text in zip(some, texts, strict=True)]
    graded = [by_lm_eval(found["prediction_text"], reference["answers"]["text"]) for found, reference in answers]
    assert list(result.answers["correct"]) == [exact for exact, _ in graded]
    assert result.details["f1"] == pytest.approx(math.fsum(f1 for _, f1 in graded) / len(graded), abs=1e-12)
    assert 0 < result.score < result.details["f1"] < 1
