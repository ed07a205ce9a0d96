"""The price of a study, and what is refused before anything starts."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from ablate import plan
from ablate.errors import StudyError
from ablate.model import ladder
from ablate.study.load import load
from ablate.workspace import Workspace
from tests.studies import TINY, ablate, write


@pytest.fixture(scope="module")
def price(tmp_path_factory: pytest.TempPathFactory) -> plan.Price:
    folder = tmp_path_factory.mktemp("plan")
    return plan.price(load(write(folder)), Workspace(folder))


def test_sharing_saves_what_the_arithmetic_says(price: plan.Price) -> None:
    # budgets 1 and 2 with 20% decay: one trunk of 1.6 and branches of 0.2 and 0.4, instead of 3 alone
    assert price.flops / price.flops_alone == pytest.approx(2.2 / 3, rel=0.01)


def test_flops_are_those_of_the_ladder(price: plan.Price) -> None:
    shape = ladder.shape(50_000, 512, 64, True)
    steps = (117 + 234) * 2
    assert price.flops_alone == steps * 512 * ladder.flops_per_token(shape, 64)


def test_a_measurement_is_kept(price: plan.Price, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert price.device_hours is not None and price.device_hours > 0
    kept = json.loads(next(tmp_path_factory.getbasetemp().glob("plan*/runs/speed.json")).read_text())
    assert [row["from"] for row in kept.values()] == ["a measurement"]


def test_share_none_costs_more(tmp_path: Path, price: plan.Price) -> None:
    alone = plan.price(load(write(tmp_path), None, ["launch.share=none"]), Workspace(tmp_path))
    assert alone.flops == alone.flops_alone == price.flops_alone


def test_a_thousand_runs_are_planned_in_seconds(tmp_path: Path) -> None:
    tokens = ", ".join(f"{60 + i}k" for i in range(50))
    write(tmp_path, TINY.replace("[60k, 120k]", f"[{tokens}]").replace("seeds: [0]", "seeds: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"))
    ablate("plan", "tiny.yaml", cwd=tmp_path)
    began = time.monotonic()
    out = ablate("plan", "tiny.yaml", cwd=tmp_path)
    assert "1000 runs in 20 families" in out
    assert time.monotonic() - began < 10  # 5 s alone on two cores; tests share them


def test_epochs_of_a_source_that_ends(tmp_path: Path) -> None:
    for name in ("a", "b"):
        rows = "\n".join(json.dumps({"text": f"{name} {i}: " + "the cat sat on the mat and saw the dog. " * 20}) for i in range(200))
        (tmp_path / f"{name}.jsonl").write_text(rows)
    text = TINY.replace("builtin:textbook", f"{{files: {tmp_path}/a.jsonl}}").replace("builtin:web", f"{{files: {tmp_path}/b.jsonl}}")
    study = load(write(tmp_path, text.replace("train_bpe: 512", "train_bpe: 300")), None, ["data.max_epochs=100"])
    price = plan.price(study, Workspace(tmp_path))
    assert set(price.epochs) == {"synthetic", "web"} and all(0 < e < 100 for e in price.epochs.values())
    with pytest.raises(StudyError, match=r"epochs, more than data.max_epochs 0.01"):
        plan.price(load(tmp_path / "tiny.yaml", None, ["data.max_epochs=0.01"]), Workspace(tmp_path))


def test_the_sum_behind_a_refusal(tmp_path: Path) -> None:
    study = load(write(tmp_path), None, ["grid.params=[7B]", "grid.tokens=[1B]", "train.batch_tokens=1048576"])
    with pytest.raises(StudyError, match=r"7B needs .* GB of memory .* x 16 bytes"):
        plan.price(study, Workspace(tmp_path))
