"""What of a study is not on this machine: the plan names it and prices and checks all the rest; the run refuses before it trains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ablate import plan
from ablate.errors import UsageError
from ablate.plan_text import as_text
from ablate.study.load import load
from ablate.workspace import Workspace
from tests.studies import TINY, typed, write
from tests.test_baselines import saved

GONE = "[builtin:grammar, arc_easy, {task: piqa, name: goals, shots: 2}]"
ELSEWHERE = ("launch.gpu=H100", "launch.mfu=0.4")
"""So that nothing is measured."""


@pytest.fixture(autouse=True)
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "hf"))


def priced(folder: Path, *overrides: str, text: str = TINY) -> plan.Price:
    return plan.price(load(write(folder, text), None, [*ELSEWHERE, *overrides]), Workspace(folder))


def test_benchmarks_that_are_not_here_are_named_and_the_rest_is_priced(tmp_path: Path) -> None:
    price = priced(tmp_path, f"evaluate.benchmarks={GONE}")
    alone = priced(tmp_path, "evaluate.benchmarks=[builtin:grammar]")
    assert price.absent_benchmarks == ("arc_easy", "goals") and alone.absent_benchmarks == ()
    told = "benchmarks that are not on this machine: arc_easy, goals: `ablate prefetch` fetches them; times are without them"
    assert told in as_text(price) and "absent" not in as_text(alone)
    of_price, of_alone = (json.loads(json.dumps(plan.as_json(one))) for one in (price, alone))
    assert of_price.pop("absent_benchmarks") == ["arc_easy", "goals"]
    del of_alone["absent_benchmarks"], of_price["disk_here"], of_alone["disk_here"]
    assert of_price == of_alone, "what can be priced is: times, what a difference can be told by, everything"


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("[arc_easy, arc_eassy]", "unknown task arc_eassy; nearest: arc_easy"),
        ("[arc_easy, arc_easy]", "two are called arc_easy"),
        ("[{task: arc_easy, name: grammar}]", "two are called grammar"),
        ("[gsm8k]", "gsm8k: up to 256 tokens are to be written, and the model sees 64 at once"),
        ("[arc_easy, humaneval]", r"evaluate\.allow_code_execution"),
        ("[arc_easy, tinystories_judge]", r"evaluate\.judge"),
        ("[toxigen_safety]", "toxigen_safety is not on the hub"),
        ("[{task: agieval_sat_en, shots: 3}]", "agieval_sat_en has no few-shot split on the hub"),
        ("[arc_easy, {task: hellaswag, files: nowhere/*.jsonl}]", r"nowhere/\*\.jsonl"),
    ],
)
def test_what_can_be_checked_is_whatever_else_is_not_here(tmp_path: Path, asked: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        priced(tmp_path, f"evaluate.benchmarks={asked}", text=TINY.replace("builtin:web", "{hf: owner/pages}"))


def test_a_text_to_measure_is_read_though_another_is_not_here(tmp_path: Path) -> None:
    text = TINY.replace("builtin:web", "{hf: owner/pages}\n  held_out: {other: {hf: owner/more}}\n  neutral: {files: nowhere.txt}")
    with pytest.raises(UsageError, match=r"nowhere\.txt"):
        priced(tmp_path, text=text)
    assert priced(tmp_path, text=text.replace("\n  neutral: {files: nowhere.txt}", "")).absent == ("hf: owner/pages", "hf: owner/more")


def test_text_that_benchmarks_are_kept_out_of_is_not_known_without_them(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": f"{i}: the cat sat on the mat. " * 30}) for i in range(300)))
    text = TINY.replace("builtin:textbook", f"{{files: {tmp_path}/a.jsonl}}").replace("train_bpe: 512", "train_bpe: 300")
    price = priced(tmp_path, "data.decontaminate={against: [piqa, builtin:grammar]}", "data.max_epochs=0.001", text=text)
    assert (price.absent, price.epochs) == (("hf: baber/piqa",), {})
    assert "hf: baber/piqa is not on this machine: `ablate prefetch` fetches it, then epochs can be counted" in as_text(price)
    assert not (tmp_path / "runs" / "data").exists(), "nothing is built that the run would not read"


def test_what_a_level_of_a_factor_needs_is_named_too(tmp_path: Path) -> None:
    levels = "  data.decontaminate: [null, {against: [piqa]}]\n  data.web: [builtin:web, {hf: owner/pages}]\n"
    price = priced(tmp_path, text=TINY.replace("seeds: [0]", f"{levels}seeds: [0]"))
    assert price.absent == ("hf: baber/piqa", "hf: owner/pages") and price.runs == 16


def test_a_run_is_refused_in_one_sentence_before_it_trains(tmp_path: Path) -> None:
    write(tmp_path)
    asked = f"evaluate.benchmarks={GONE}"
    said = typed("run", "tiny.yaml", asked, cwd=tmp_path, status=2)
    assert said.count("\n") == 1 and "hf:allenai/ai2_arc is not on this machine" in said and "run `ablate prefetch STUDY`" in said
    assert not list((tmp_path / "runs").rglob("train.json")) and not list((tmp_path / "runs" / "jobs").glob("*"))
    said = typed("run", "tiny.yaml", asked, *ELSEWHERE, "--budget", "1000h", cwd=tmp_path, status=2)
    assert "what scoring takes is not known while these are not on this machine: arc_easy, goals;" in said


def test_a_baseline_that_sees_too_little_for_a_benchmark_that_is_not_here_is_refused(tmp_path: Path) -> None:
    asked = ("evaluate.benchmarks=[gsm8k]", "data.seq_len=512", f"baselines=[{saved(tmp_path / 'base')}]")
    with pytest.raises(UsageError, match=r"baselines: .*base: evaluate\.benchmarks: gsm8k: up to 256 .* the model sees 96 at once"):
        priced(tmp_path, *asked)
