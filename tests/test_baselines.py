"""Models from elsewhere beside a study's runs: scored by the same code, once, whatever is killed; and a sentence for what cannot be."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from ablate import baselines, drive, job
from ablate.cli import cli
from ablate.data.tokenizer import train_bpe
from ablate.errors import StudyError
from ablate.evals.benchmarks import catalogue
from ablate.evals.requests import requests
from ablate.evals.scoring import score
from ablate.evaluation import examine_baseline
from ablate.fit import refuse_weights
from ablate.launch.inline import InlineLauncher
from ablate.model import build, ladder
from ablate.scored import Wanted
from ablate.store.store import Store
from ablate.study import spec
from ablate.study.load import load
from ablate.workspace import Workspace, read_json, write_json
from tests.data.hub_stub import COMMIT, hub
from tests.evals.judge_stub import Answer, judge_server
from tests.studies import ablate, start
from tests.test_start_from import Silent

STUDY = """
name: compared
grid: {params: [50k], tokens: [13k], synthetic_ratio: [1]}
data: {synthetic: builtin:textbook, tokenizer: {train_bpe: 512}, seq_len: 64}
train: {lr: 0.004, batch_tokens: 128, warmup_steps: 10, precision: float32}
evaluate: {benchmarks: [builtin:grammar]}
baselines: [base, broken]
launch: {with: inline, device: cpu, compile: false}
"""
SEVERAL = ["builtin:grammar", "builtin:which_kind", "builtin:comparing_numbers"]
GRAMMAR = catalogue([spec.Benchmark(builtin="grammar")], fresh=False)


def saved(folder: Path, seed: int = 0, params: int = 50_000) -> Path:
    """A checkpoint as somebody else would publish it: its tokenizer begins every text with <s>."""
    texts = [[item.text for item in GRAMMAR[0].items]]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=train_bpe(texts, 400), eos_token="<|endoftext|>", bos_token="<s>")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)])
    tokenizer.save_pretrained(folder)
    build.build(ladder.shape(params, len(tokenizer), 96, True), seed).save_pretrained(folder)
    return folder


def broken(folder: Path) -> Path:
    """A checkpoint that lacks a tensor, which nobody sees before it is loaded."""
    tensors = load_file(saved(folder, seed=1) / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def select(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    db = sqlite3.connect(f"file:{folder / 'results.db'}?mode=ro", uri=True)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def stamps(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}


def walk(folder: Path) -> drive.Result:
    study = load(folder / "compared.yaml")
    order = drive.Order(study, "compared.yaml", None, Workspace(folder), InlineLauncher(), "cpu", compile=False, processes=1)
    return drive.drive(order, Silent())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, drive.Result]:
    """A folder in which the study ran to its end, and how that ended."""
    folder = tmp_path_factory.mktemp("compared")
    saved(folder / "base"), broken(folder / "broken")
    (folder / "compared.yaml").write_text(STUDY)
    with contextlib.chdir(folder):
        return folder, walk(folder)


@pytest.fixture
def compared(finished: tuple[Path, drive.Result], monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder, which is the working directory too."""
    monkeypatch.chdir(finished[0])
    return finished[0]


def test_a_study_scores_its_baselines_by_the_same_code_and_once(compared: Path, finished: tuple[Path, drive.Result]) -> None:
    result = finished[1]
    assert not result.failed and len(result.runs) == 1
    ((what, why),) = result.unscored
    assert what == "the baseline broken" and "model.norm.weight" in why
    good, _ = baselines.resolve(["base", "broken"], Workspace(compared))
    assert select(compared, "select name, status from baselines order by name") == [("base", "done"), ("broken", "failed")]

    tokenizer = good.tokenizer()
    prefix = baselines.prefix_of(tokenizer)
    assert tokenizer.convert_ids_to_tokens(list(prefix)) == ["<s>"]
    model, cpu = good.load(torch.device("cpu")).eval(), torch.device("cpu")
    plain = {b.register: score(model, requests(b, tokenizer, 96, prefix=prefix), cpu) for b in GRAMMAR}
    rows = select(compared, f"select register, score, mean_logprob from baseline_scores where baseline = '{good.digest}' and not fresh")
    assert {row[0]: row[1:] for row in rows} == {register: (found.score, found.mean_logprob) for register, found in plain.items()}
    measured = select(compared, f"select text, is_primary from baseline_texts where baseline = '{good.digest}' order by 1")
    assert measured == [("neutral", 1), ("synthetic", 0)]
    assert select(compared, "select count(*) from trials") == [(1,)], "a baseline is no run and no trial"

    before = stamps(compared / "baselines" / good.digest)
    again = walk(compared)
    assert again.trained == 0 and [what for what, _ in again.unscored] == ["the baseline broken"], "it is tried again, like a failed run"
    assert stamps(compared / "baselines" / good.digest) == before, "what is scored is not scored again"


def test_a_score_that_fails_fails_alone_and_is_tried_by_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    marks = json.dumps({"grammar": 2, "creativity": 2, "consistency": 2, "age_group": "4-5"})
    answer = [Answer("no such key", status=401)]
    with judge_server(lambda _: answer[0]) as (url, asked):
        stories = "[builtin:grammar, {task: tinystories_judge, limit: 2}], judge: {url: URL, model: grader}".replace("URL", url)
        text = STUDY.replace("[base, broken]", "[]").replace("[builtin:grammar]", stories)
        (tmp_path / "compared.yaml").write_text(f"{text}seeds: [0, 1]\nkeep_models: best\n")
        result = walk(tmp_path)
        (what, why), _ = result.unscored
        assert result.trained == 2 and not result.failed and what == "tinystories_judge" and "401" in why
        sql = "select status, score is null, b.error like '%401%' from runs join benchmark_scores b using (run) where not fresh order by 2"
        assert select(tmp_path, sql) == [("done", 0, None)] * 4 + [("done", 1, 1)] * 2, "the runs are done all the same"
        answer[0] = Answer(marks)
        trained, refused = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/model/model.safetensors")}, len(asked)
        assert len(trained) == 2, "a model that is owed a score is kept, the best or not"
        again = walk(tmp_path)
    assert not again.unscored and len(asked) - refused == 40
    ((best, when),) = ((path, path.stat().st_mtime_ns) for path in tmp_path.glob("runs/*/model/model.safetensors"))
    assert trained[best] == when, "scored, not trained again"
    assert select(tmp_path, "select score, error from benchmark_scores where metric = 'grade'") == [(pytest.approx(0.2), None)] * 2


@pytest.mark.parametrize("named", ["run:{}", "runs/{}/model"])
def test_eval_is_the_same_for_a_run_as_the_study_s_own_scores(compared: Path, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the run and by its folder: the tokenizer that lies there begins every text as it began in training."""
    monkeypatch.chdir(compared)
    (run,) = (path.parent.name for path in compared.glob("runs/*/train.json"))
    found = CliRunner().invoke(cli, ["eval", named.format(run), "--benchmarks", "builtin:grammar", "--format", "json"])
    assert found.exit_code == 0, found.output
    scores = {row["register"]: row["score"] for row in json.loads(found.stdout)["scores"]}
    assert scores == dict(select(compared, f"select register, score from benchmark_scores where run = '{run}' and not fresh"))


def test_eval_prints_a_table_keeps_what_is_there_and_says_what_is_wrong(compared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(compared)
    (good,) = baselines.resolve(["base"], Workspace(compared))
    before = stamps(compared / "baselines" / good.digest / "float32" / "scores")
    assert before
    found = CliRunner().invoke(cli, ["eval", "base", "--study", "compared.yaml", "--benchmarks", "builtin:grammar"])
    assert found.exit_code == 0, found.output
    assert [line.split()[:4] for line in found.stdout.splitlines() if line.startswith("grammar")] == [
        ["grammar", "textbook", str(len(GRAMMAR[0].items)), "acc"], ["grammar", "page", str(len(GRAMMAR[1].items)), "acc"],
    ]  # fmt: skip
    assert "in float32, on " in found.stdout
    assert "at chance" in found.stdout and "neutral: " in found.stdout and "bits per byte" in found.stdout
    assert {path: stamp for path, stamp in stamps(compared / "baselines" / good.digest).items() if path in before} == before
    for arguments, sentence in (
        (["nowhere"], "ablate eval: 'nowhere' is no folder here, no run:DIGEST and no hub id"),
        (["base", "--benchmarks", "builtin:gramar"], "unknown benchmark builtin:gramar; nearest: grammar"),
        (["base", "--benchmarks", "no such"], "'no such' is not a benchmark"),
        (["base", "--study", "compared.yaml", "--benchmarks", "which_kind"], "the study has no which_kind; it has: builtin:grammar"),
        (["broken", "--benchmarks", "builtin:grammar"], "broken: the weights in .* lack model.norm.weight"),
    ):
        refused = CliRunner().invoke(cli, ["eval", *arguments])
        assert refused.exit_code != 0 and re.search(sentence, str(refused.exception)), refused.exception


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["owner/model"], "baselines: 'owner/model' .* neither in the cache nor to be had"),
        (["pickled"], "baselines: pickled: .* a pickle, which can run code and is never opened"),
        (["unknown"], "baselines: unknown: .* no causal language model of the type 'replit_lm'"),
        (["mute"], "baselines: mute: there is no tokenizer in"),
        (["base", "copy"], "baselines: base and copy are the same model"),
        (["eight"], "baselines: eight: its weights are float8_e4m3fn"),
    ],
)
def test_what_cannot_be_a_baseline_gets_a_sentence(
    tmp_path: Path, names: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    saved(tmp_path / "base")
    for name in ("copy", "pickled", "unknown", "mute", "eight"):
        shutil.copytree("base", name)
    (tmp_path / "pickled" / "model.safetensors").rename(tmp_path / "pickled" / "pytorch_model.bin")
    for name, change in (("unknown", {"model_type": "replit_lm"}), ("eight", {"dtype": "float8_e4m3fn"})):
        config = tmp_path / name / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), **change}))
    for path in (tmp_path / "mute").glob("*token*"):
        path.unlink()
    with pytest.raises(StudyError, match=sentence):
        baselines.resolve(names, Workspace(tmp_path))


def test_what_does_not_fit_is_refused_and_what_is_absent_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (base,) = baselines.resolve([str(saved(tmp_path / "base"))], Workspace(tmp_path))
    refuse_weights([base], torch.device("cpu"))
    with pytest.raises(StudyError, match=r"its 1T parameters take 4,000.0 GB in float32, and there is .* on this cpu"):
        refuse_weights([replace(base, params_total=10**12)], torch.device("cpu"))
    assert (base.dtype("cpu"), replace(base, saved_as="bfloat16").dtype("cuda")) == (torch.float32, torch.bfloat16)
    assert baselines.absent(["base", "owner/never-heard-of", "run:abc"]) == ["owner/never-heard-of"]


class AsOnAGpu(baselines.Baseline):
    """Scored as it was saved, here too."""

    def precision(self, device_type: str) -> str:
        return self.saved_as


def test_scores_in_two_number_formats_are_never_taken_for_one_another(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(saved(tmp_path / "base"), dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "base")
    space, cpu = Workspace(tmp_path), torch.device("cpu")
    (base,) = baselines.resolve([str(tmp_path / "base")], space)
    wanted = Wanted(spec.Evaluate.model_validate({"benchmarks": ["builtin:grammar"]}), None)
    exact = examine_baseline(space, base, wanted, cpu)
    before = stamps(space.baselines / base.digest / "float32")
    asked = {path: path.stat().st_mtime_ns for path in space.requests.iterdir()}
    rounded = examine_baseline(space, AsOnAGpu(**asdict(base)), wanted, cpu)
    assert {path: path.stat().st_mtime_ns for path in space.requests.iterdir()} == asked, "its benchmarks are tokenised once"
    assert len(asked) == 2
    assert (exact["precision"], rounded["precision"], exact["error"], rounded["error"]) == ("float32", "bfloat16", None, None)
    assert wanted.is_met(exact, False) and wanted.is_met(rounded, False)
    one, other = ({row["digest"]: row["mean_logprob"] for row in outcome["scores"]} for outcome in (exact, rounded))
    assert len(one) == len(other) == 2 and not one.keys() & other.keys() and not {*one.values()} & {*other.values()}
    assert exact["texts"][0]["bits_per_byte"] != rounded["texts"][0]["bits_per_byte"]
    with Store.open(space.database) as store:
        for outcome in (rounded, exact):
            store.record_baseline(outcome, space.baselines / base.digest)
            _, rows = store.query("select distinct precision, digest from baseline_results join baseline_scores on id = score_id")
            assert {digest for _, digest in rows} == {row["digest"] for row in outcome["scores"]}
            assert {precision for precision, _ in rows} == {outcome["precision"]}
    again = examine_baseline(space, base, wanted, cpu)
    assert again["scores"] == exact["scores"] and stamps(space.baselines / base.digest / "float32") == before


def baseline_job(folder: Path) -> Path:
    """A job that carries one baseline, scored on six benchmarks: three names in two registers."""
    space = Workspace(folder)
    (base,) = baselines.resolve([str(folder / "base")], space)
    launch = {"share": "trunk", "pack": "auto", "activation_checkpointing": "auto"}
    write_json(space.job("one") / "job.json", {
        "root": str(folder), "study": {"evaluate": {"benchmarks": SEVERAL}, "launch": launch, "keep_models": "all"},
        "families": [], "device": "cpu",
        "baselines": [{"digest": base.digest, "baseline": asdict(base), "data": {"web": {"builtin": "web"}}}],
        "compile": False, "launcher": "test", "optimizer_backend": "auto",
    })  # fmt: skip
    return space.job("one")


def test_a_killed_evaluation_goes_on_where_it_stopped(tmp_path: Path) -> None:
    saved(tmp_path / "base")
    command = [sys.executable, "-m", "ablate.job", str(baseline_job(tmp_path))]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    (base,) = baselines.resolve([str(tmp_path / "base")], Workspace(tmp_path))
    folder = Workspace(tmp_path).baselines / base.digest
    deadline = time.monotonic() + 120
    while len(list(folder.glob("float32/scores/*.json"))) < 2:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = stamps(folder / "float32" / "scores")
    assert 2 <= len(before) < 6 and not (folder / "outcome.json").exists(), "it was killed in the middle"

    job.work(Workspace(tmp_path).job("one"))
    after = stamps(folder / "float32" / "scores")
    assert {path: after[path] for path in before} == before and len(after) == 6
    outcome = read_json(folder / "outcome.json")
    assert outcome["status"] == "done" and {row["error"] for row in outcome["scores"]} == {None}
    wanted = {(row["benchmark"], row["register"]): row["score"] for row in outcome["scores"]}
    shutil.rmtree(folder)
    job.work(Workspace(tmp_path).job("one"))
    assert wanted == {(row["benchmark"], row["register"]): row["score"] for row in read_json(folder / "outcome.json")["scores"]}


@pytest.mark.slow
def test_a_baselines_job_is_started_once_more_and_adopted_like_any_other(tmp_path: Path) -> None:
    saved(tmp_path / "base")
    text = STUDY.replace("[base, broken]", "[base]").replace("with: inline", "slots: 1")
    text = text.replace("[builtin:grammar]", "[builtin:grammar], fresh_twins: false")
    (tmp_path / "compared.yaml").write_text(text)

    def worker() -> int:
        deadline = time.monotonic() + 100
        while time.monotonic() < deadline:
            for lock in tmp_path.glob("runs/jobs/*/lock"):
                if lock.read_text() and (lock.parent / "job.json").exists() and read_json(lock.parent / "job.json")["baselines"]:
                    return int(json.loads(lock.read_text())["pid"])
            time.sleep(0.02)
        raise AssertionError("no worker started")

    driver = start("run", "compared.yaml", cwd=tmp_path)
    first = worker()
    os.kill(first, signal.SIGSTOP)  # so that it lives until it is adopted, however busy the machine is
    driver.kill()
    driver.communicate()
    driver = start("run", "compared.yaml", cwd=tmp_path)
    assert driver.stdout is not None
    assert any("training: 2 jobs" in line for line in driver.stdout), "the run's job, and the adopted one"
    os.kill(first, signal.SIGKILL)
    out, err = driver.communicate(timeout=200)
    assert driver.returncode == 0, out + err
    assert "started once more" in out and "the baseline base: score" in out


@pytest.mark.slow
def test_a_model_of_the_hub_is_fetched_once_and_a_pickle_never(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "hub" / "models" / "owner" / "base")
    pickled = shutil.copytree(tmp_path / "hub" / "models" / "owner" / "base", tmp_path / "hub" / "models" / "owner" / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    asked_for = ("--benchmarks", "builtin:grammar")
    with hub(tmp_path / "hub") as (address, asked):
        monkeypatch.setenv("HF_ENDPOINT", address)
        assert "owner/base (" in ablate("eval", "owner/base", *asked_for, cwd=tmp_path)
        refused = ablate("eval", "owner/pickled", *asked_for, cwd=tmp_path, status=2)
        assert "it has no model.safetensors on the hub, and weights as pickles" in refused
        assert not [one for one in asked if "pytorch_model.bin" in one]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "owner/base (" in ablate("eval", "owner/base", *asked_for, cwd=tmp_path)
    assert select(tmp_path, "select name, revision from baselines") == [("owner/base", COMMIT)]
