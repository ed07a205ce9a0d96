"""The price of a study, and what is refused before anything starts."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ablate import baselines, plan, prepare, resolve
from ablate.errors import StudyError, UsageError
from ablate.launch.forking import can_fork
from ablate.machines import START_SECONDS, Elsewhere, Here, slots_of
from ablate.model import ladder
from ablate.model.memory import RESERVED, memory
from ablate.plan_text import as_text
from ablate.predict import parts
from ablate.reading import Scoring
from ablate.report import generation
from ablate.study import spec
from ablate.study.load import load
from ablate.workspace import Workspace
from tests.studies import TINY, typed, write
from tests.test_baselines import saved

SAID: list[str] = []
STARTS = 0.0 if can_fork(gpus=0, devices=1) else START_SECONDS
"""What each process pays that is known to have no devices but the CPU."""


@pytest.fixture(scope="module")
def price(tmp_path_factory: pytest.TempPathFactory) -> plan.Price:
    folder = tmp_path_factory.mktemp("plan")
    return plan.price(load(write(folder), None, ["launch.slots=1"]), Workspace(folder), SAID.append)


def known(folder: Path, study: spec.Study, **figures: float) -> Workspace:
    """A workspace in which the speed of every shape of the study is known, so that nothing is measured."""
    space = Workspace(folder)
    speeds = Here(study, space).speeds
    for run in resolve.runs(study, space):
        speeds.learn(run.recipe, {"tokens_per_s": 1000.0, "read_tokens_per_s": 4000.0, "setup_s": 5.0, "job_bytes": 6e8, **figures})
    speeds.save()
    return space


def test_sharing_saves_what_the_arithmetic_says(price: plan.Price) -> None:
    # budgets 1 and 2 with 20% decay: one trunk of 1.6 and branches of 0.2 and 0.4, instead of 3 alone
    assert price.flops / price.flops_alone == pytest.approx(2.2 / 3, rel=0.01)


def test_flops_are_those_of_the_ladder(price: plan.Price) -> None:
    shape = ladder.shape(50_000, 512, 64, True)
    steps = (117 + 234) * 2
    assert price.flops_alone == steps * 512 * ladder.flops_per_token(shape, 64)


def test_a_measurement_is_said_kept_and_not_made_again(price: plan.Price, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert SAID == ["measuring how fast this machine trains 0.05M params"]
    assert price.device_hours is not None and price.device_hours > 0
    file = next(tmp_path_factory.getbasetemp().glob("plan*/runs/speed.json"))
    (row,) = json.loads(file.read_text()).values()
    assert row["from"] == "measured" and min(row[key] for key in ("tokens_per_s", "read_tokens_per_s", "start_s", "setup_s")) > 0
    study = load(file.parents[1] / "tiny.yaml", None, ["launch.slots=1"])
    again = plan.price(study, Workspace(file.parents[1]), lambda line: pytest.fail(line))
    assert (again.device_hours, again.sizes) == (price.device_hours, price.sizes)


def test_share_none_costs_more(tmp_path: Path, price: plan.Price) -> None:
    study = load(write(tmp_path), None, ["launch.share=none"])
    alone = plan.price(study, known(tmp_path, study))
    assert alone.flops == alone.flops_alone == price.flops_alone


def test_a_thousand_runs_are_planned_in_seconds(tmp_path: Path) -> None:
    tokens = ", ".join(f"{60 + i}k" for i in range(50))
    text = TINY.replace("[60k, 120k]", f"[{tokens}]").replace("seeds: [0]", "seeds: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]")
    known(tmp_path, load(write(tmp_path, text)))
    began = time.process_time()
    assert "1000 runs in 20 families" in typed("plan", "tiny.yaml", cwd=tmp_path)
    assert time.process_time() - began < 6  # of CPU, so that what else the machine does counts for nothing


def test_epochs_of_a_source_that_ends(tmp_path: Path) -> None:
    for name in ("a", "b"):
        rows = "\n".join(json.dumps({"text": f"{name} {i}: " + "the cat sat on the mat and saw the dog. " * 20}) for i in range(200))
        (tmp_path / f"{name}.jsonl").write_text(rows)
    text = TINY.replace("builtin:textbook", f"{{files: {tmp_path}/a.jsonl}}").replace("builtin:web", f"{{files: {tmp_path}/b.jsonl}}")
    study = load(write(tmp_path, text.replace("train_bpe: 512", "train_bpe: 300")), None, ["data.max_epochs=100"])
    space = known(tmp_path, study)
    price = plan.price(study, space)
    assert set(price.epochs) == {"synthetic", "web"} and all(0 < e < 100 for e in price.epochs.values())
    with pytest.raises(StudyError, match=r"epochs, more than data.max_epochs 0.01"):
        plan.price(load(tmp_path / "tiny.yaml", None, ["data.max_epochs=0.01"]), space)


def test_epochs_of_a_source_that_ends_beside_one_that_does_not(tmp_path: Path) -> None:
    rows = "\n".join(json.dumps({"text": f"{i}: " + "the cat sat on the mat and saw the dog. " * 20}) for i in range(200))
    (tmp_path / "a.jsonl").write_text(rows)
    text = TINY.replace("builtin:textbook", f"{{files: {tmp_path}/a.jsonl}}").replace("train_bpe: 512", "train_bpe: 300")
    study = load(write(tmp_path, text), None, ["grid.synthetic_ratio=[0.5, 0.25]", "data.max_epochs=100"])
    space = known(tmp_path, study)
    price = plan.price(study, space)
    run = max(resolve.runs(study, space), key=lambda run: (run.tokens, run.factors["synthetic_ratio"]))
    a, web = prepare.streams_of(run, space).values()
    assert price.epochs == {"synthetic": pytest.approx(60_000 / a.open(space).tokens.size, rel=2e-3)}
    assert not web.is_built(1, space), "nothing endless is built for a plan"
    with pytest.raises(StudyError, match=r"reads .* tokens of data.synthetic, .* epochs, more than data.max_epochs 0.01"):
        plan.price(load(tmp_path / "tiny.yaml", None, ["grid.synthetic_ratio=[0.5]", "data.max_epochs=0.01"]), space)


def test_the_sum_behind_a_refusal(tmp_path: Path) -> None:
    study = load(write(tmp_path), None, ["grid.params=[7B]", "grid.tokens=[1B]", "train.batch_tokens=1048576"])
    with pytest.raises(
        StudyError, match=r"7B needs .* GB of memory \(.* GB parameters \+ .* GB optimizer .*\), .* it fits on .*2 x .*H100"
    ):
        plan.price(study, Workspace(tmp_path))


def test_the_price_of_a_run_is_its_tokens_at_the_known_rate(tmp_path: Path) -> None:
    study = load(write(tmp_path))
    price = plan.price(study, known(tmp_path, study, tokens_per_s=512.0))
    assert [run.device_hours for run in price.each] == [pytest.approx(steps / 3600) for steps in (117, 117, 234, 234)]
    assert {run.memory_bytes for run in price.each} == {600_000_000}
    trunks = 2 * (187 + 47 + 117 - 93)  # fork of 234 steps, both decays: one trunk and two branches, twice
    read = 2 * sum(
        Scoring(study.evaluate).tokens(run.data, fresh)
        for run, fresh in zip(resolve.runs(study, Workspace(tmp_path)), (False, True), strict=False)
    )
    assert price.device_hours == pytest.approx((trunks + read / 4000 + 2 * (5 + STARTS)) / 3600, rel=1e-3)
    assert price.wall_seconds is not None and price.wall_seconds > price.device_hours * 3600 / 2


def test_memory_of_a_pack_is_said_to_be_of_one_model(tmp_path: Path) -> None:
    studies = [load(write(tmp_path), None, [f"launch.pack={pack}"]) for pack in ("auto", "none", 1, 4)]
    texts = [as_text(plan.price(study, known(tmp_path, study))) for study in studies]
    assert ["of one model a slot; launch.pack: 4 has up to 4 in each" in text for text in texts] == [False, False, False, True]


def test_the_text_has_a_line_for_each_size_and_budget(tmp_path: Path) -> None:
    study = load(write(tmp_path))
    lines = as_text(plan.price(study, known(tmp_path, study))).splitlines()
    assert [line.split() for line in lines if line.startswith(" ")][1:] == [
        [
            "0.05M",
            "50,368",
            "83,136",
            "64x1",
            "4",
            "0.004",
            "512",
            lines[3].split()[7],
            "1.45e+11",
            lines[3].split()[9],
            "as",
            "a",
            "run",
            "took",
        ],
        ["params", "tokens", "runs", "FLOPs", "a", "run", "memory", "hours", "a", "run", "alone"],
        ["0.05M", "0.06M", "2", "3.28e+10", "600", "MB", "0.017"],
        ["0.05M", "0.12M", "2", "6.57e+10", "600", "MB", "0.033"],
    ]


SEVEN = ["grid.params=[7B]", "grid.tokens=[1T]", "train.batch_tokens=4194304", "data.seq_len=2048", "data.tokenizer.train_bpe=32000",
         "train.precision=bfloat16", "launch.gpu=A100-80GB"]  # fmt: skip


def test_a_gpu_that_is_not_here_is_priced_at_the_stated_mfu(tmp_path: Path) -> None:
    study = load(write(tmp_path), None, [*SEVEN, "launch.gpu=H200", "launch.mfu=0.5", "grid.synthetic_ratio=[0]"])
    price = plan.price(study, Workspace(tmp_path))
    flops = ladder.flops_per_token(ladder.shape(7_000_000_000, 32_000, 2048, True), 2048)
    (run,) = price.each
    assert run.device_hours == pytest.approx(1e12 * flops / (0.5 * 989.4e12) / 3600, rel=1e-3)
    assert price.device_hours == price.least_device_hours == pytest.approx(run.device_hours, rel=1e-3)
    assert price.device == "H200" and price.assumption is not None and "989 TFLOP/s at an MFU of 50% (launch.mfu)" in price.assumption
    assert not (tmp_path / "runs" / "speed.json").exists(), "nothing is measured for a GPU that is not here"


def test_an_assumed_mfu_is_a_range_and_says_so(tmp_path: Path) -> None:
    study = load(write(tmp_path), None, ["launch.gpu=H100"])
    price = plan.price(study, Workspace(tmp_path))
    assert price.assumption is not None and "30% to 50% (assumed: state launch.mfu)" in as_text(price)
    assert price.device_hours is not None and price.least_device_hours == pytest.approx(price.device_hours * 0.3 / 0.5)


def test_devices_share_what_a_run_holds(tmp_path: Path) -> None:
    study = load(write(tmp_path), None, [*SEVEN, "launch.devices=8"])
    eight, two = (plan.price(s, Workspace(tmp_path)) for s in (study, load(tmp_path / "tiny.yaml", None, SEVEN)))
    assert eight.memory < two.memory and eight.device_hours == two.device_hours
    assert eight.wall_seconds is not None and two.wall_seconds is not None and eight.wall_seconds < two.wall_seconds / 7
    with pytest.raises(
        StudyError, match=r"7B needs .* of memory on each of 2 devices \(.*, and there is 24.0 GB on L4: .*raise launch.devices"
    ):
        plan.price(load(tmp_path / "tiny.yaml", None, [*SEVEN, "launch.devices=2", "launch.gpu=L4"]), Workspace(tmp_path))


def test_more_devices_than_gpus_are_refused_whatever_the_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("is_available", True), ("current_device", 0), ("device_count", 4)):
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    for slots in ("auto", "1"):
        study = load(write(tmp_path), None, ["launch.devices=8", f"launch.slots={slots}"])
        with pytest.raises(StudyError, match="each job is to have 8, and there are 4 GPUs here"):
            slots_of(study)


def test_compiling_without_a_compiler_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(StudyError, match=r"launch.compile: true needs a C\+\+ compiler"):
        plan.price(load(write(tmp_path), None, ["launch.compile=true"]), Workspace(tmp_path))


def test_several_devices_share_the_training_and_neither_start_up_nor_scoring(tmp_path: Path) -> None:
    one, two = (load(write(tmp_path), None, [f"launch.devices={n}", "launch.device=cpu", "launch.slots=1"]) for n in (1, 2))
    alone, together = (plan.price(study, known(tmp_path, study)) for study in (one, two))
    trained = 2 * (187 + 47 + 117 - 93) * 512 / 1000  # two families of 258 steps
    assert alone.wall_seconds is not None and together.wall_seconds is not None
    started = START_SECONDS - STARTS  # processes of several devices are not forked
    assert alone.wall_seconds - together.wall_seconds == pytest.approx(trained / 2 - started, rel=1e-6)
    assert together.device_hours is not None and alone.device_hours is not None
    assert together.device_hours - alone.device_hours == pytest.approx(started / 3600, rel=1e-6)


def test_a_pass_that_does_not_fit_is_made_of_the_next_divisor_of_the_step(tmp_path: Path) -> None:
    study = load(write(tmp_path), None, ["launch.gpu=L4", "train.batch_tokens=576"])
    recipe, machine = resolve.runs(study, Workspace(tmp_path))[0].recipe, Elsewhere("L4", study.launch)
    nine, three = (memory(recipe["model"], recipe["train"], 64, sequences) for sequences in (9, 3))
    assert parts(recipe, machine) == nine
    machine.memory_bytes = nine.total + RESERVED - 1
    assert parts(recipe, machine) == three, "4 sequences would fit, and do not divide 9"


def test_of_a_gpu_that_is_too_small_alone_there_are_as_many_as_it_takes(tmp_path: Path) -> None:
    price = plan.price(load(write(tmp_path), None, SEVEN), Workspace(tmp_path))
    assert price.sizes[0].memory <= 80_000_000_000 - RESERVED and price.memory == price.sizes[0].memory
    assert "fits      7B on 1 x H200" in as_text(price) and "2 x A100-80GB or H100" in as_text(price)


def test_what_text_costs_and_what_repeating_it_is_worth(price: plan.Price) -> None:
    assert "generate" not in as_text(price), "embedded corpora cost nothing"
    told = replace(price, epochs={"web": 5.0}, data_gpu_hours={"synthetic": 12.5, "web": None})
    text = as_text(told)
    assert "(5 epochs, worth 90% of as many new tokens)" in text
    assert "synthetic 12.5 GPU-hours, web unknown (it states no cost:)" in text
    costs = [{"web": 1000.0}, {"web": 3000.0}, {"other": None}]
    assert generation.planned(costs, {"web": 2 * 10**9, "other": 5}, {"web": 4.0}) == {"web": 1500.0, "other": None}


def test_scoring_that_takes_much_of_a_run_is_warned_of(tmp_path: Path) -> None:
    study = load(write(tmp_path))
    slow = as_text(plan.price(study, known(tmp_path, study, read_tokens_per_s=500.0)))
    assert "scoring   more than 20% of the time of 4 of 4 runs, up to " in slow and "limit:" in slow
    fast = plan.price(study, known(tmp_path / "fast", study, read_tokens_per_s=1e6))
    assert "more than 20%" not in as_text(fast)
    run = next(run for run in resolve.runs(study, Workspace(tmp_path)) if run.tokens == 60_000)
    scored = Scoring(study.evaluate).tokens(run.data, fresh=False) / 1e6
    priced = next(each for each in fast.each if each.run == run.digest)
    assert priced.scoring == pytest.approx(scored / (scored + 117 * 512 / 1000), rel=1e-6)


def test_a_baseline_that_is_not_here_is_named(tmp_path: Path) -> None:
    study = load(write(tmp_path), None, ["baselines=[owner/never-heard-of]"])
    priced = plan.price(study, known(tmp_path, study))
    assert priced.absent_baselines == ("owner/never-heard-of",)
    assert "the baseline owner/never-heard-of is not on this machine: `ablate prefetch` fetches it" in as_text(priced)
    with pytest.raises(StudyError, match=r"--budget: .* not on this machine: owner/never-heard-of; run `ablate prefetch STUDY` first"):
        plan.refuse_over_budget(priced, "1000h")


def test_a_benchmark_whose_time_nobody_knows_is_named_and_one_that_a_run_was_scored_on_is_priced(tmp_path: Path) -> None:
    judged = ["evaluate.benchmarks=[builtin:grammar, {task: tinystories_judge, limit: 5}]", "evaluate.judge={url: http://a/v1, model: m}"]
    read, both = (load(write(tmp_path), None, asked) for asked in (["evaluate.benchmarks=[builtin:grammar]"], judged))
    (stories,) = Scoring(both.evaluate).timed
    alone, unknown = (plan.price(study, known(tmp_path, study)) for study in (read, both))
    assert unknown.untimed == ("tinystories_judge",) and "unpriced  tinystories_judge: how long that takes" in as_text(unknown)
    assert alone.untimed == () and "unpriced" not in as_text(alone) and alone.device_hours == unknown.device_hours
    timed = plan.price(both, known(tmp_path, both, tasks={stories.digest: 90.0}))
    assert timed.untimed == () and timed.device_hours is not None and alone.device_hours is not None
    assert timed.device_hours - alone.device_hours == pytest.approx(4 * 90 / 3600)
    assert all(long.scoring > short.scoring for long, short in zip(timed.each, alone.each, strict=True) if long.scoring and short.scoring)


def test_baselines_are_priced_by_their_flops_and_named_where_nothing_is_known_of_their_size(tmp_path: Path) -> None:
    near, far = saved(tmp_path / "near"), saved(tmp_path / "far", params=3_000_000)
    alone, compared = (load(write(tmp_path), None, asked) for asked in (["baselines=[]"], [f"baselines=[{near}, {far}]"]))
    space = known(tmp_path, alone)
    without, priced = plan.price(alone, space), plan.price(compared, space)
    assert priced.unpriced_baselines == (str(far),) and f"unpriced  scoring the baseline {far}: nothing is known" in as_text(priced)
    assert priced.device_hours is not None and without.device_hours is not None
    (base,) = baselines.resolve([str(near)], space)
    ours, theirs = (ladder.flops_per_token(shape, 64) for shape in (ladder.shape(50_000, 512, 64, True), base.model))
    read = Scoring(alone.evaluate).tokens(alone.data, fresh=False)
    assert 3600 * (priced.device_hours - without.device_hours) == pytest.approx(STARTS + read * theirs / ours / 4000, rel=1e-6)


def test_a_baseline_that_sees_too_little_for_an_answer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "g.jsonl").write_text('{"question": "1 + 1?", "answer": "#### 2"}\n{"question": "1 + 2?", "answer": "#### 3"}\n')
    asked = [f"evaluate.benchmarks=[{{task: gsm8k, files: {tmp_path}/g.jsonl, shots: 0}}]", "data.seq_len=512"]
    study = load(write(tmp_path), None, [*asked, f"baselines=[{saved(tmp_path / 'base')}]"])
    for refuses in (plan.price, plan.refuse_bad_fit):
        with pytest.raises(StudyError, match=r"baselines: .*base: evaluate\.benchmarks: gsm8k: up to 256 .* the model sees 96 at once"):
            refuses(study, known(tmp_path, study))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("[{task: hellaswag, files: nowhere/*.jsonl}]", r"nowhere/\*\.jsonl"),
        ("[humaneval]", "allow_code_execution"),
        ("[tinystories_judge]", "evaluate.judge"),
    ],
)
def test_what_scoring_lacks_is_found_by_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, sentence: str) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "hf"))
    study = load(write(tmp_path), None, [f"evaluate.benchmarks={asked}"])
    with pytest.raises(UsageError, match=sentence):
        plan.price(study, Workspace(tmp_path))
