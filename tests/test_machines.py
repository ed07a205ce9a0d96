"""What runs are predicted for: the machine here, whose known speeds win over a stated MFU."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ablate import plan, resolve, speed
from ablate.machines import READ_TO_TRAIN, Elsewhere, Here, machine_for
from ablate.model import ladder
from ablate.plan_text import as_text
from ablate.study.load import load
from ablate.workspace import Workspace
from tests.studies import write

STATED = ["launch.mfu=0.4", "train.precision=float32"]


@pytest.fixture
def h100(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch says where there is one."""
    properties = SimpleNamespace(total_memory=85_000_000_000)
    said = {"is_available": True, "current_device": 0, "device_count": 1, "get_device_name": "NVIDIA H100 80GB HBM3"}
    for name, value in {**said, "get_device_properties": properties}.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)


@pytest.mark.usefixtures("h100")
def test_of_the_gpu_that_is_here_the_stated_mfu_counts_where_nothing_is_known(tmp_path: Path) -> None:
    write(tmp_path)
    study = load(tmp_path / "tiny.yaml", None, [*STATED, "grid.params=[50k, 1B]", "launch.gpu=H100"])
    small, large = {run.params: run.recipe for run in resolve.runs(study, Workspace(tmp_path))}.values()
    machine = machine_for(study, Workspace(tmp_path))
    assert isinstance(machine, Here)
    for recipe in (small, large):
        rate = machine.rate(recipe)
        assert rate is not None and rate.how == "from the MFU"
        assert rate.tokens_per_s == pytest.approx(0.4 * 989.4e12 / ladder.flops_per_token(recipe["model"], 64))
        assert machine.reading(recipe) == machine.reading_of(recipe["model"], 64) == READ_TO_TRAIN * rate.tokens_per_s
    machine.speeds.learn(small, {"tokens_per_s": 1000.0, "read_tokens_per_s": 4000.0, "setup_s": 5.0, "job_bytes": 6e8})
    rates = [machine.rate(recipe) for recipe in (small, large)]
    assert [rate and rate.how for rate in rates] == ["as a run took", "from the MFU"]
    assert rates[0] is not None and rates[0].tokens_per_s == 1000.0 and machine.reading(small) == 4000.0


@pytest.mark.usefixtures("h100")
def test_an_mfu_that_is_stated_of_another_gpu_says_nothing_of_this_one(tmp_path: Path) -> None:
    write(tmp_path)
    recipe = resolve.runs(load(tmp_path / "tiny.yaml", None, STATED), Workspace(tmp_path))[0].recipe
    for asked, known in ((STATED, True), ([*STATED, "launch.gpu=A100-80GB"], False), (STATED[1:], False)):
        study = load(tmp_path / "tiny.yaml", None, asked)
        assert (Here(study, Workspace(tmp_path)).rate(recipe) is not None) == known
    assert isinstance(machine_for(load(tmp_path / "tiny.yaml", None, ["launch.gpu=A100-80GB"]), Workspace(tmp_path)), Elsewhere)


@pytest.mark.usefixtures("h100")
def test_a_plan_of_unknown_speed_has_hours_once_the_mfu_is_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(speed.LARGEST_MEASURED, "cuda", 0)  # nothing is small enough to be measured
    write(tmp_path)
    unstated, stated = (
        plan.price(load(tmp_path / "tiny.yaml", None, ["train.precision=float32", *asked]), Workspace(tmp_path))
        for asked in ([], ["launch.mfu=0.4"])
    )
    assert unstated.device_hours is None and "name a GPU in launch.gpu and its MFU in launch.mfu" in as_text(unstated)
    assert stated.device_hours is not None and stated.device_hours == stated.least_device_hours
    assert "at 989 TFLOP/s at an MFU of 40% (launch.mfu) where no speed is known" in as_text(stated)
