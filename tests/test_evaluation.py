"""One model, benchmark by benchmark: what is there is kept, what fails fails alone, and is tried again."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from ablate.data.tokenizer import end_of_text, train_bpe
from ablate.evals import scoring
from ablate.evals.benchmarks import catalogue, make
from ablate.evals.items import Item, Prompt
from ablate.evals.kept import Kept
from ablate.evaluation import Examiner, cost_of_writing, scores_in, texts_in
from ablate.model import build, ladder
from ablate.scored import Text
from ablate.study import spec
from ablate.workspace import Workspace, score_file
from tests.evals.judge_stub import Answer, judge_server

GRAMMAR, NUMBERS = catalogue([spec.Benchmark(builtin="grammar"), spec.Benchmark(builtin="comparing_numbers")], fresh=False)[1:3]
NEUTRAL = Text("neutral", spec.Source(builtin="neutral"), False)
LONG = make("long", "g", "file", False, 0.5, [Item("So", (" no", " yes" * 20), 0, "t"), Item("So", (" no", " yes"), 0, "t")])
KEY = "k" * 16
NAME = score_file("long", "file", False, LONG.digest)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    texts = [[item.text for item in benchmark.items[:100]] for benchmark in (GRAMMAR, NUMBERS)]
    return PreTrainedTokenizerFast(tokenizer_object=train_bpe(texts, 400), eos_token="<|endoftext|>")


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return build.build(ladder.shape(50_000, 400, 128, True), seed=0)


def examiner(folder: Path, tokenizer: PreTrainedTokenizerFast, max_tokens: int = 48, judge: spec.Judge | None = None) -> Examiner:
    kept = Kept(tokenizer, "t" * 16, (end_of_text(tokenizer),), max_tokens, folder / "requests")
    return Examiner(kept, torch.device("cpu"), spec.Evaluate(judge=judge))


def stamps(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.json")}


def test_what_is_there_is_not_made_again_and_what_fails_fails_alone(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, model: PreTrainedModel, capfd: pytest.CaptureFixture[str]
) -> None:
    examiner(tmp_path, tokenizer).examine(tmp_path, KEY, model, [GRAMMAR, LONG, NUMBERS], [NEUTRAL])
    done = {row["benchmark"]: row for row in scores_in(tmp_path, KEY)}
    assert "a choice of item 0" in done["long"]["error"] and done["long"]["score"] is None
    for benchmark in (GRAMMAR, NUMBERS):
        row = done[benchmark.name]
        assert row["error"] is None and 0 <= row["score"] <= 1 and row["digest"] == scoring.score_digest(KEY, benchmark.digest)
    assert not (tmp_path / "answers" / NAME).exists()
    assert [text["text"] for text in texts_in(tmp_path)] == ["neutral"]
    assert capfd.readouterr().err == "", "an error of ours is its sentence, no traceback"

    before = stamps(tmp_path)
    examiner(tmp_path, tokenizer, 128).examine(tmp_path, KEY, model, [GRAMMAR, LONG, NUMBERS], [NEUTRAL])
    after = stamps(tmp_path)
    assert {name for name in after if after[name] != before.get(name)} == {f"scores/{NAME}", f"answers/{NAME}"}
    assert {row["error"] for row in scores_in(tmp_path, KEY)} == {None}, "what failed was tried again"

    lost = tmp_path / "answers" / NAME
    lost.unlink()
    examiner(tmp_path, tokenizer, 128).examine(tmp_path, KEY, model, [GRAMMAR, LONG, NUMBERS], [NEUTRAL])
    assert lost.exists(), "a score whose answers are lost is made again"


def test_a_cost_that_cannot_be_measured_fails_nothing(tmp_path: Path, model: PreTrainedModel, capfd: pytest.CaptureFixture[str]) -> None:
    broken = copy.deepcopy(model)
    del broken.lm_head
    assert cost_of_writing(broken, torch.device("cpu"), Workspace(tmp_path)) is None
    assert "what the model costs to write with is not known" in capfd.readouterr().err


def test_an_unforeseen_error_is_a_benchmarks_alone_too(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, capfd: pytest.CaptureFixture[str]
) -> None:
    few_rows = build.build(ladder.shape(50_000, 300, 128, True), seed=0)  # the tokenizer has 400 ids
    examiner(tmp_path, tokenizer).examine(tmp_path, KEY, few_rows, [GRAMMAR], [])
    (row,) = scores_in(tmp_path, KEY)
    assert row["error"].startswith("IndexError: ") and row["score"] is None
    assert "Traceback" in capfd.readouterr().err, "which goes to the job's log"


def test_other_items_by_one_name_stand_beside(tmp_path: Path, tokenizer: PreTrainedTokenizerFast, model: PreTrainedModel) -> None:
    fewer = make(GRAMMAR.name, GRAMMAR.group, GRAMMAR.register, False, 0.5, GRAMMAR.items[:20])
    for wanted in (GRAMMAR, fewer, GRAMMAR):  # two studies in turn on one run
        examiner(tmp_path, tokenizer).examine(tmp_path, KEY, model, [wanted], [])
    assert sorted(row["n"] for row in scores_in(tmp_path, KEY)) == [20, len(GRAMMAR.items)]
    assert len(list((tmp_path / "answers").iterdir())) == 2


def test_sentences_are_scored_by_their_perplexity(tmp_path: Path, tokenizer: PreTrainedTokenizerFast, model: PreTrainedModel) -> None:
    """An untrained model finds all sentences about equally likely, so dividing by their toxicity alone tells them apart."""
    sentences = [
        Prompt(f"The owl saw {i} lamps.", "", "owls", {"label": label, "toxicity_score": toxicity, "groups": ["owls"]})
        for i in range(10)
        for label, toxicity in (("hate", 5.0), ("neutral", 1.0))
    ]
    benchmark = make("toxigen_safety", "safety", "published", False, None, sentences, "safety")
    examiner(tmp_path, tokenizer).examine(tmp_path, KEY, model, [benchmark], [])
    (row,) = scores_in(tmp_path, KEY)
    assert (row["metric"], row["score"], row["details"]["group:owls"]) == ("safety", 0.0, 0.0)
    assert row["chance"] == row["details"]["label_blind"] < 1e-6


def test_what_is_written_is_judged_by_its_rule(tmp_path: Path, tokenizer: PreTrainedTokenizerFast, model: PreTrainedModel) -> None:
    sums = [Prompt(f"Question: {i} + 1?\nAnswer:", f" #### {i + 1}", "t") for i in range(2)]
    programs = [Prompt("[BEGIN]\n", "", "m", {"setup": "", "tests": tests}) for tests in ([], ["assert False"])]
    asked = [make("gsm8k", "g", "published", False, 0.0, sums, "generate", rule="gsm8k")]
    asked.append(make("mbpp", "g", "published", False, 0.0, programs, "code", rule="mbpp"))
    talkative = build.build({**ladder.shape(50_000, 400, 300, True)}, seed=0)
    examiner(tmp_path, tokenizer, 300).examine(tmp_path, KEY, talkative, asked, [])
    gsm8k, mbpp = scores_in(tmp_path, KEY)
    assert (gsm8k["metric"], gsm8k["score"], gsm8k["details"]) == ("exact_match", 0, {"flexible": 0})
    assert mbpp["score"] is None and "evaluate.allow_code_execution: true" in mbpp["error"]
    examiner(tmp_path, tokenizer, 48).examine(tmp_path, "another", model, asked[:1], [])
    (none,) = scores_in(tmp_path, "another")
    assert "the model sees 48 at once" in none["error"]


def test_last_words_are_scored_by_their_log_probability(tmp_path: Path, tokenizer: PreTrainedTokenizerFast, model: PreTrainedModel) -> None:
    words = [Prompt(item.context, item.choices[item.answer], "t") for item in NUMBERS.items[:8]]
    examiner(tmp_path, tokenizer).examine(tmp_path, KEY, model, [make("words", "g", "published", False, None, words, "last_word")], [])
    (row,) = scores_in(tmp_path, KEY)
    assert row["error"] is None and row["details"]["perplexity"] > 1


def test_a_judge_that_is_not_there_fails_its_benchmark_alone_and_is_asked_the_next_time(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    beginnings = [Prompt(f"Ada has {i} lamps and", "", "story") for i in (2, 3)]
    stories = make("stories", "language", "published", False, None, beginnings, "story")
    marks = json.dumps({"grammar": 2, "creativity": 2, "consistency": 2, "age_group": "4-5"})

    def examined(url: str) -> dict[str, Any]:
        asked = examiner(tmp_path, tokenizer, judge=spec.Judge(url=url, model="grader"))
        asked.examine(tmp_path, KEY, model, [stories, GRAMMAR], [])
        return {row["benchmark"]: row for row in scores_in(tmp_path, KEY)}

    with judge_server(lambda _: Answer(marks)) as (url, asked):
        pass
    gone = examined(url)
    assert "does not answer" in gone["stories"]["error"] and gone["stories"]["score"] is None
    assert gone[GRAMMAR.name]["error"] is None
    with judge_server(lambda _: Answer(marks)) as (url, asked):
        there = examined(url)
    assert (there["stories"]["error"], there["stories"]["metric"], there["stories"]["score"]) == (None, "grade", pytest.approx(0.2))
    assert len(asked) == 20 and there[GRAMMAR.name] == gone[GRAMMAR.name]
