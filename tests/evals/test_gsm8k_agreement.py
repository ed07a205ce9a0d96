"""How GSM8K's answers are found and compared: against lm-eval's own filters and metric, output by output."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from ablate.evals import gsm8k, lm_eval
from ablate.evals.benchmarks import catalogue
from ablate.evals.generate import Writer
from ablate.study import spec
from tests.evals.small_model import build
from tests.evals.test_agreement import logged, written

pytest.importorskip("lm_eval", reason="the extra `lm-eval` is not installed")

OUTPUTS = [
    ("He has 3 + 4 = <<3+4=7>>7 lamps.\n#### 7", "#### 7"),
    ("#### 1,234", "So many.\n#### 1234"),
    ("#### -5\n\n#### 6", "#### 6"),
    ("#### -5\n\n#### 6", "#### -5"),
    ("#### 12.", "#### 12"),
    ("#### 12.50", "#### 12.5"),
    ("#### $15", "#### 15"),
    ("The answer is $15.", "#### 15"),
    ("The answer is 15 lamps, not 16", "#### 15"),
    ("15,", "#### 15"),
    ("none at all", "#### 3"),
    ("", "#### 3"),
    ("####7", "#### 7"),
    ("a. b, c", "#### ."),
    ("5 %", "#### 5"),
    ("#### 1,000,000 owls", "#### 1000000"),
]


def test_answers_are_found_and_compared_alike() -> None:
    harness = lm_eval.harness()
    with lm_eval.contained():
        config = harness.tasks._yaml_loader.load_yaml(Path(harness.tasks.__file__).parent / "gsm8k" / "gsm8k.yaml")
        from lm_eval.api.metrics import exact_match_hf_evaluate
        from lm_eval.filters import build_filter_ensemble
    (metric,) = config["metric_list"]
    rules = {key: value for key, value in metric.items() if key not in ("metric", "aggregation", "higher_is_better")}
    for named, ours in (("strict-match", gsm8k.strict), ("flexible-extract", gsm8k.flexible)):
        (pipeline,) = [one["filter"] for one in config["filter_list"] if one["name"] == named]
        parts = [[one["function"], {key: value for key, value in one.items() if key != "function"}] for one in pipeline]
        filters = build_filter_ensemble(named, parts).filters
        outputs = [[output] for output, _ in OUTPUTS]
        for part in filters:
            outputs = list(part().apply(outputs, [None] * len(OUTPUTS)))
        for (output, reference), found in zip(OUTPUTS, outputs, strict=True):
            assert ours(output) == found, f"{named}: {output!r}"
            same = exact_match_hf_evaluate(predictions=[found], references=[reference], **rules)["exact_match"]
            assert gsm8k.same(found, reference) == bool(same), f"{named}: {output!r} for {reference!r}"


def test_a_model_writes_and_is_graded_alike(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """Greedy, after five examples: the same text and the same grade for each problem through lm-eval's own loop."""
    sums = [{"question": f"Ben has {i} lamps and Ada {i + 2}. How many?", "answer": f"#### {2 * i + 2}"} for i in range(11)]
    model = build("sdpa", seed=2, context=1024)
    model.generation_config.eos_token_id = tokenizer.eos_token_id  # as in every model of a study
    (benchmark,) = catalogue([spec.Benchmark(task="gsm8k", files=written(tmp_path / "test.jsonl", sums[5:]),
                                             shots_from=written(tmp_path / "train.jsonl", sums[:5]))], fresh=False)  # fmt: skip
    result = gsm8k.score(Writer(model, tokenizer, torch.device("cpu"), (), 1024), benchmark)
    samples = logged("gsm8k/gsm8k.yaml", {"train": sums[:5], "test": sums[5:]}, 5, model, tokenizer)
    strict, flexible = ([one for one in samples if one["filter"] == named] for named in ("strict-match", "flexible-extract"))
    assert list(result.answers["output"]) == [one["resps"][0][0] for one in strict]
    assert len(set(result.answers["output"])) > 1
    assert list(result.answers["correct"]) == [one["exact_match"] for one in strict]
    assert result.details["flexible"] == sum(one["exact_match"] for one in flexible) / len(flexible)
