"""Tasks that lm-eval runs on our models: against our own scorer, groups, what is refused; once end to end from a hub."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ablate.errors import NetworkError, RunError, StudyError
from ablate.evals import lm_eval
from ablate.evals.result import Result
from ablate.prefetch import known
from ablate.study import spec
from ablate.study.load import load
from tests.data.hub_stub import hub
from tests.evals.made_up import Row, rows
from tests.evals.small_model import build
from tests.evals.test_agreement import ours, written
from tests.studies import TINY, write

pytest.importorskip("lm_eval", reason="the extra `lm-eval` is not installed")

CONTEXT = 384
SPLITS = ("train", "validation", "test")
Local = dict[str, dict[str, list[Row]]]
"""Hub id → split → rows."""


@pytest.fixture(scope="module")
def wide() -> LlamaForCausalLM:
    return build("sdpa", seed=1, context=CONTEXT)


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> Iterator[Local]:
    """Data sets that the library `datasets` finds; no network is asked."""
    known: Local = {}

    def load(path: str, name: str | None = None, **_: object) -> datasets.DatasetDict:
        if path not in known:
            raise ConnectionError(f"no network, and no {path}")
        return datasets.DatasetDict({split: datasets.Dataset.from_list(some) for split, some in known[path].items()})

    monkeypatch.setattr(datasets, "load_dataset", load)
    lm_eval.loaded.cache_clear()
    yield known
    lm_eval.loaded.cache_clear()


def scored(task: str, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, max_tokens: int = CONTEXT) -> Result:
    (benchmark,) = lm_eval.benchmarks([task])
    return lm_eval.score(model, tokenizer, benchmark, max_tokens, prefix=(tokenizer.eos_token_id,))


def test_a_task_of_choices(wide: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, local: Local, tmp_path: Path) -> None:
    """Equal to our own scorer on the same rows, with <|endoftext|> before every text as in training."""
    some = rows("sciq", 12)
    local["allenai/sciq"] = {"train": rows("sciq", 2, "train"), "validation": rows("sciq", 2, "validation"), "test": some}
    result = scored("sciq", wide, tokenizer)
    row = result.row()
    expected = ours(spec.Benchmark(task="sciq", files=written(tmp_path / "sciq.jsonl", some)), wide, tokenizer, (tokenizer.eos_token_id,))
    assert result.answers["correct"] == [answer.correct for answer in expected]
    assert row["acc_norm"] == np.mean([answer.correct_norm for answer in expected])
    assert (row["register"], row["metric"], row["chance"], row["n"], row["shots"]) == ("lm_eval", "acc", 0.25, 12, 0)
    assert row["stderr"] == pytest.approx(np.std(result.answers["correct"], ddof=1) / 12**0.5)
    for item, logprob, answer in zip(some, result.answers["logprob"], expected, strict=True):
        assert logprob == pytest.approx(next(v for text, v in answer.logprobs.items() if text.endswith(item["correct_answer"])), abs=1e-4)
    assert 0 < row["score"] < 1


def test_last_words_and_perplexity(wide: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, local: Local) -> None:
    local["EleutherAI/lambada_openai"] = {"test": rows("lambada_openai", 5)}
    result = scored("lambada_openai", wide, tokenizer)
    assert result.metric == "acc"
    assert result.chance is None
    assert result.details["perplexity"] == pytest.approx(np.exp(-np.mean(result.answers["logprob"])))
    local["EleutherAI/wikitext_document_level"] = dict.fromkeys(SPLITS, [{"page": "the owl sees = 3 @-@ lamps ."}] * 3)
    result = scored("wikitext", wide, tokenizer)
    assert result.metric == "word_perplexity"
    assert result.score > 1
    assert set(result.details) == {"byte_perplexity", "bits_per_byte"}


def test_what_a_model_writes(wide: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, local: Local) -> None:
    """The few-shot examples are the same for each model; random numbers go on as if nothing had been scored."""
    sums = [{"question": f"How many are {i} and 2?", "answer": f"#### {i + 2}"} for i in range(9)]
    local["openai/gsm8k"] = {"train": sums, "test": sums[:3]}
    numbers = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    first = scored("gsm8k", wide, tokenizer, 320)
    assert numbers == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    assert (first.metric, first.benchmark.shots, first.chance) == ("exact_match,strict-match", 5, None)
    assert "exact_match,flexible-extract" in first.details
    assert scored("gsm8k", wide, tokenizer, 320).answers == first.answers
    assert all(isinstance(output, str) for output in first.answers["output"])
    with pytest.raises(StudyError, match=r"gsm8k lets a model write 256 tokens, and these models see 128 at once; raise data\.seq_len"):
        lm_eval.check(["gsm8k"], 128)


def test_a_group_has_one_score(wide: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, local: Local) -> None:
    """Its parts' scores are details; what is too long is cut and counted."""
    local["cais/mmlu"] = {"test": rows("mmlu", 3), "dev": rows("mmlu", 3, "dev")}
    result = scored("mmlu_stem", wide, tokenizer, 48)
    parts = [value for name, value in result.details.items() if name.startswith("mmlu_") and name.endswith(" acc")]
    assert len(parts) == len(set(result.answers["template"])) > 10
    assert result.score == pytest.approx(np.mean(parts)) == pytest.approx(np.mean(result.answers["correct"]))
    assert (result.chance, result.truncated) == (0.25, len(result.answers["correct"]))


def test_a_score_that_is_no_number(wide: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, local: Local) -> None:
    local["EleutherAI/wikitext_document_level"] = {split: [{"page": ""}] for split in SPLITS}
    with pytest.raises(RunError, match="lm-eval's task wikitext"):
        scored("wikitext", wide, tokenizer)


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        pytest.param("arc_eassy", "has no task 'arc_eassy'; nearest: arc_easy", marks=pytest.mark.slow),  # 10 s to read all names
        pytest.param("ai2_arc", "ai2_arc is no task but a tag of several; name them: arc_challenge, arc_easy", marks=pytest.mark.slow),
        ("humaneval", "humaneval runs what the model writes outside of any sandbox"),
        ("mmmu_val", "is about images or sounds"),
        ("polemo2_in", "the metric of the task polemo2_in is code that the hub would send"),
        ("careqa_open", "task careqa_open: the metric bleu is code that the hub would send, which is not run here"),
        ("ifeval", r"ifeval cannot be loaded \(ModuleNotFoundError: .*\); install what its code imports, or leave the task out"),
    ],
)
def test_refused(task: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langdetect", None)  # which ifeval imports: as if it were not installed
    with pytest.raises(StudyError, match=sentence):
        lm_eval.check([task], 2048)


def test_data_that_are_not_here(local: Local, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"the task sciq cannot be loaded \(ConnectionError: no network.*run `ablate prefetch STUDY`"):
        lm_eval.check(["sciq"], 64)
    local["EleutherAI/lambada_openai"] = {"test": rows("lambada_openai", 5)}
    found = known(load(write(tmp_path), None, ["evaluate.lm_eval=[sciq, lambada_openai]"]))
    assert (found.absent_benchmarks, found.evaluate.lm_eval) == (("sciq",), ["lambada_openai"])


def test_data_of_which_another_part_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As once another task of the same data set was fetched: `datasets` itself then speaks of its cache, and of no network."""
    (tmp_path / "cais___mmlu" / "astronomy" / "0.0.0" / "abc").mkdir(parents=True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(NetworkError, match=r"mmlu_anatomy cannot be loaded \(ValueError: .*run `ablate prefetch STUDY`"):
        lm_eval.check(["mmlu_anatomy"])
    assert not lm_eval.is_to_be_had("mmlu_anatomy")


def test_a_digest_is_of_the_name_and_of_the_version() -> None:
    a, b = lm_eval.benchmarks(["arc_easy", "arc_challenge"])
    assert a.digest != b.digest
    assert a == lm_eval.benchmarks(["arc_easy"])[0]


def test_without_lm_eval(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    lm_eval.version.cache_clear()
    with pytest.raises(StudyError, match=r"evaluate\.lm_eval needs the package lm-eval: pip install 'ablate\[lm-eval\]'"):
        lm_eval.benchmarks(["arc_easy"])


def ablate(folder: Path, *arguments: str, status: int = 0, **env: str) -> str:
    command = [sys.executable, "-m", "ablate", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **env}
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, timeout=300)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_prefetched_once_a_study_is_scored_without_a_network(tmp_path: Path) -> None:
    """The data of a task come from a hub on this machine; then the study runs offline, with nothing but the task to be scored on."""
    data = tmp_path / "hub" / "datasets" / "allenai" / "sciq"
    data.mkdir(parents=True)
    for split in SPLITS:
        written(data / f"{split}.jsonl", rows("sciq", 8, split))
    files = ", ".join(f"{{split: {split}, path: {split}.jsonl}}" for split in SPLITS)
    (data / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files: [{files}]\n---\n")
    study = str(write(tmp_path, TINY.replace("[builtin:grammar, builtin:which_kind]}", "[], lm_eval: [sciq]}")))
    home, one_run = {"HF_HOME": str(tmp_path / "hf")}, ("grid.tokens=[60k]", "grid.synthetic_ratio=[1]", "launch.with=inline")
    offline = {**home, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    with hub(tmp_path / "hub") as (address, _):
        assert "lm-eval's task sciq" in ablate(tmp_path, "prefetch", study, **home, HF_ENDPOINT=address)
    ablate(tmp_path, "run", study, *one_run, **offline)
    db = sqlite3.connect(tmp_path / "results.db")
    (found,) = db.execute("select register, metric, n, chance, score, error from scores where benchmark = 'sciq'").fetchall()
    db.close()
    assert found[:4] == ("lm_eval", "acc", 8, 0.25)
    assert found[4] is not None and found[5] is None
