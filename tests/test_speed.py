"""What is known of a machine's speed, and what may be concluded from it."""

from __future__ import annotations

import json
import math
import os
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ablate import speed
from ablate.errors import RunError
from ablate.launch.forking import ForkServer, can_fork
from ablate.launch.local import environment
from ablate.measure import Shape
from ablate.model import ladder
from ablate.speed import Setting, Speeds
from ablate.train.device import can_compile
from ablate.workspace import Workspace

HERE = Setting(torch.device("cpu"), compile=False, slots=1)
TOOK = {"read_tokens_per_s": 5000.0, "setup_s": 9.0, "job_bytes": 5e8}


def recipe(params: int, batch_tokens: int = 512) -> dict[str, Any]:
    optimizer = {"name": "adamw", "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1}
    train = {"optimizer": optimizer, "lr": 0.004, "batch_tokens": batch_tokens, "clip": 1.0, "precision": "float32"}
    return {"seed": 0, "params": params, "model": ladder.shape(params, 512, 64, True), "data": {"seq_len": 64}, "train": train}


def flops(params: int) -> int:
    return ladder.flops_per_token(recipe(params)["model"], 64)


def test_a_real_run_replaces_a_measurement_and_is_kept(tmp_path: Path) -> None:
    speeds = Speeds(Workspace(tmp_path), HERE)
    assert speeds.rate(recipe(100_000)) is None
    speeds.learn(recipe(100_000), {"tokens_per_s": 1000.0, **TOOK, "tasks": {"a": 30.0}})
    speeds.learn(recipe(100_000), {"tokens_per_s": 2000.0, **TOOK, "setup_s": 0.0, "job_bytes": 4e8})
    speeds.save()
    again = Speeds(Workspace(tmp_path), HERE)
    assert again.rate(recipe(100_000)) == speed.Rate(1500.0, "as a run took"), "one run on a busy machine is not the last word"
    assert again.known(recipe(100_000), "job_bytes") == 5e8, "the peak of a job is that of its hungriest run"
    assert again.known(recipe(100_000), "setup_s") == 9.0, "a later run of a process pays for no start"
    assert again.task_seconds(recipe(100_000), "a") == 30.0 and again.task_seconds(recipe(100_000), "b") is None
    assert again.rate(recipe(100_000, batch_tokens=1024)) != again.rate(recipe(100_000)), "another batch is another speed"


@pytest.mark.parametrize(
    "other",
    [
        {"compile": True},
        {"slots": 2},
        {"threads": 2},
        {"gpus": 2},
        {"devices": 2},
        {"backend": "apex"},
        {"checkpointing": True},
        {"pack": 4},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_is_known_under_one_setting_says_nothing_of_another(tmp_path: Path, other: dict[str, Any]) -> None:
    speeds = Speeds(Workspace(tmp_path), HERE)
    speeds.learn(recipe(100_000), {"tokens_per_s": 1000.0, **TOOK})
    speeds.save()
    assert Speeds(Workspace(tmp_path), HERE).known(recipe(100_000), "job_bytes") == 5e8
    again = Speeds(Workspace(tmp_path), replace(HERE, **other))
    assert again.rate(recipe(100_000)) is None and again.known(recipe(100_000), "job_bytes") is None


def test_each_slot_is_measured_with_the_threads_and_on_the_gpu_of_its_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    setting = replace(HERE, slots=2, threads=3, gpus=2)
    for slot, gpu in enumerate(("4", "7")):
        with speed.Process(recipe(100_000), setting, tmp_path, slot) as process:
            environ = Path(f"/proc/{process.pid}/environ")
            while not (given := environ.read_bytes().split(b"\0"))[0]:  # the kernel fills it in just after the parent goes on
                time.sleep(0.01)
            assert {f"CUDA_VISIBLE_DEVICES={gpu}".encode(), b"OMP_NUM_THREADS=3"} <= {*given}


@pytest.mark.skipif(not can_fork(0, 1), reason="jobs are forked on Linux only")
def test_measurements_are_forked_as_jobs_are_and_start_by_themselves_without_their_server(tmp_path: Path) -> None:
    with closing(ForkServer(environment(1, tmp_path, 0, 0), compile=False)) as server:
        for forked in (True, False):
            with speed.Process(recipe(50_000), HERE, tmp_path, 0, server) as process:
                assert (os.getsid(process.pid) != os.getsid(0)) is forked
                assert process.is_ready()
                process.go()
                assert process.figures()["tokens_per_s"] > 0
            with pytest.raises(ProcessLookupError):  # nor is it left as a zombie
                os.kill(process.pid, 0)
            server.close()


@pytest.mark.parametrize("checkpointing", [True, False])
def test_a_shape_is_measured_as_jobs_train_it(checkpointing: bool) -> None:
    shape = Shape(recipe(100_000, batch_tokens=640), torch.device("cpu"), compile=False, checkpointing=checkpointing)
    assert shape.seat.activation_checkpointing is checkpointing and shape.seat.optimizer.backend == "torch"
    assert shape.tokens == 64 * shape.seat.micro_batch and shape.training() > 0


def test_a_measurement_for_several_devices_says_that_it_was_made_on_one(tmp_path: Path) -> None:
    speeds = Speeds(Workspace(tmp_path), replace(HERE, devices=2, checkpointing=True))
    speeds.measure([recipe(50_000)], lambda line: None)
    rate = speeds.rate(recipe(50_000))
    assert rate is not None and rate.how == "from one device"


def test_the_optimiser_asked_for_is_the_one_measured(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="backend: apex is asked for, but"):
        speed.measured([recipe(50_000)], replace(HERE, backend="apex"), tmp_path)


def test_between_two_shapes_the_speed_lies_between_and_far_from_all_it_is_not_known(tmp_path: Path) -> None:
    speeds = Speeds(Workspace(tmp_path), HERE)
    for params, flops_per_s in ((100_000, 1e9), (1_000_000, 4e9)):
        speeds.learn(recipe(params), {"tokens_per_s": flops_per_s / flops(params), **TOOK})
    middle = speeds.rate(recipe(300_000))
    share = math.log(flops(300_000) / flops(100_000)) / math.log(flops(1_000_000) / flops(100_000))
    assert middle is not None and middle.how == "between others"
    assert middle.tokens_per_s == pytest.approx(1e9 * 4**share / flops(300_000))
    beyond = speeds.rate(recipe(5_000_000))
    assert beyond is not None and beyond.how == "beyond others" and beyond.tokens_per_s == pytest.approx(4e9 / flops(5_000_000))
    assert speeds.rate(recipe(1_000_000_000)) is None


def test_a_measurement_that_fails_says_why(tmp_path: Path) -> None:
    broken = recipe(100_000)
    broken["model"]["num_attention_heads"] = 3
    with pytest.raises(RunError, match=r"measuring the speed of this machine failed: \w*Error: .*"):
        speed.measured([broken], HERE, tmp_path)


@pytest.mark.long
@pytest.mark.skipif(not can_compile(), reason="torch.compile needs a C++ compiler, and there is none on the PATH")
def test_what_a_measurement_compiled_is_compiled_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    setting = Setting(torch.device("cpu"), compile=True, slots=1)

    def kernels() -> set[Path]:
        return set(tmp_path.rglob("*.so"))

    (first,) = speed.measured([recipe(50_000)], setting, tmp_path)
    compiled = kernels()
    (second,) = speed.measured([recipe(50_000)], setting, tmp_path)
    assert compiled and kernels() == compiled
    assert second["compile_s"] < first["compile_s"]
    assert json.dumps(second) and second["process_bytes"] == pytest.approx(first["process_bytes"], rel=0.1)
