"""Packed against single: every model of a pack has the numbers of its own single training, whatever happens to the others.

Tolerances: eager, on a CPU, all numbers of a run are within 1e-5 of those of its single training, relatively (float32; found:
1e-7). What happens to the other models of a pack changes no bit.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.func import vmap

from ablate.errors import Interrupted
from ablate.leave import Leave
from ablate.model.memory import LOGITS_AT_ONCE
from ablate.train.device import can_compile
from ablate.train.engine import Engine
from ablate.train.lockstep import Seat, Single, Stack, Step, Steps, drive
from ablate.train.loop import Family
from ablate.train.meter import lines
from ablate.train.pack import Pack, measured_gain, most_that_fit
from tests.train.family import batch, branches, recipe, weights

CPU = torch.device("cpu")
BUDGETS = {0: (30, 60), 1: (60,), 2: (40,), 3: (30, 121)}
"""Family → its steps. With three places they end at different times, so that a place is taken again and places are idle."""


def recipe_of(number: int, precision: str = "float32") -> dict[str, Any]:
    made = recipe(lr=0.004 * (1 + number / 2), precision=precision)
    train = {**made["train"], "warmup_steps": 3 + number, "decay": 0.2 + number / 10, "clip": 1.0 - number / 10}
    return {**made, "seed": number, "train": train}


def data_of(number: int) -> Callable[[int, int], NDArray[np.int64]]:
    return lambda first, count: batch(first + 1000 * number, count)


class Study:
    """Four families in a folder, and what came of each run: its weights, its lines without the clock's, or why it failed."""

    def __init__(self, folder: Path, lr: float = 0.004) -> None:
        self.folder, self.lr = folder, lr
        self.weights: dict[str, torch.Tensor] = {}
        self.lines: dict[str, list[dict[str, float]]] = {}
        self.failed: dict[int, str] = {}
        self.spent, self.packs = 0.0, set[int]()

    def carry(self, stack: Stack, leave: Leave | None = None) -> Study:
        drive(stack, [partial(self._family, number, leave or Leave()) for number in BUDGETS])
        return self

    def _family(self, number: int, leave: Leave, seat: Callable[[dict[str, Any]], Seat]) -> Steps[None]:
        made, own = recipe_of(number), self.folder / str(number)
        if number == 2:
            made["train"]["lr"] = self.lr
        todo = [branch for branch in branches(own, BUDGETS[number]) if f"{number}/{branch.digest}" not in self.weights]
        try:
            family = Family(made, todo, data_of(number), own / "trunk", seat(made), 0.05, leave)
            for branch in family.todo:
                trained = yield from family.train(branch)
                name = f"{number}/{branch.digest}"
                self.weights[name], self.lines[name] = weights(trained), _lines(branch.folder)
                self.spent += trained.spent_seconds
                self.packs.add(trained.pack)
        except Interrupted:
            raise
        except Exception as e:
            self.failed[number] = str(e)

    def distance(self, other: Study) -> float:
        """Largest relative difference of any run's weights and of any number in its lines."""
        assert self.weights.keys() == other.weights.keys()
        apart = [0.0]
        for name, mine in self.weights.items():
            apart.append(float((mine - other.weights[name]).norm() / mine.norm()))
            for x, y in zip(self.lines[name], other.lines[name], strict=True):
                apart += [abs(x[k] - y[k]) / max(abs(x[k]), 1e-12) for k in x]
        return max(apart)


def never() -> bool:
    return False


def _lines(folder: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in line.items() if k not in ("seconds", "tokens_per_s")} for line in lines(folder / "metrics.jsonl")]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(tmp_path_factory.mktemp("single")).carry(Single(CPU, False, "torch"))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    began = time.perf_counter()
    study = Study(tmp_path_factory.mktemp("packed")).carry(Pack(3, CPU, False, "torch"))
    assert 0 < study.spent < time.perf_counter() - began, "each second is paid for once"
    return study


def test_each_model_has_the_numbers_of_its_single_training(single: Study, packed: Study) -> None:
    assert len(single.weights) == 6 and single.distance(packed) < 1e-5
    assert (single.packs, packed.packs) == ({1}, {3})


def test_what_fails_touches_no_other(packed: Study, tmp_path: Path) -> None:
    (tmp_path / "1").write_text("a file where the folder should be")
    study = Study(tmp_path, lr=1e30).carry(Pack(3, CPU, False, "torch"))
    assert study.failed.keys() == {1, 2} and "became" in study.failed[2]
    for name, mine in study.weights.items():
        assert torch.equal(mine, packed.weights[name]) and study.lines[name] == packed.lines[name]
    assert len(study.weights) == 4


def test_stopped_and_gone_on_the_numbers_are_the_same(packed: Study, tmp_path: Path) -> None:
    study, rounds = Study(tmp_path), 0
    while True:
        calls = itertools.count(1)
        try:
            study.carry(Pack(3, CPU, False, "torch"), Leave(lambda calls=calls: next(calls) > 50))  # type: ignore[misc]
            break
        except Interrupted:
            rounds += 1
    assert rounds > 4 and study.distance(packed) == 0.0


def test_checkpoints_of_packed_and_single_are_the_same(single: Study, tmp_path: Path) -> None:
    study = Study(tmp_path)
    for stack in (Single(CPU, False, "torch"), Pack(3, CPU, False, "torch"), Single(CPU, False, "torch"), Pack(2, CPU, False, "torch")):
        calls = itertools.count(1)
        try:
            study.carry(stack, Leave(lambda calls=calls: next(calls) > 90))  # type: ignore[misc]
        except Interrupted:
            continue
    study.carry(Single(CPU, False, "torch"))
    assert study.distance(single) < 1e-5


def _apart(precision: str, compile: bool, steps: int) -> float:
    """Largest relative difference of a loss or gradient norm between two packed models, compiled or not, and eager single ones."""
    made = [recipe_of(number, precision) for number in range(2)]
    stack, engines = Pack(2, CPU, compile, "torch"), [Engine(one, CPU, compile=False) for one in made]
    for place, one in enumerate(made):
        stack.seat(place, one).prepare()
    apart = []
    for step in range(steps):
        batches = [data_of(number)(4 * step, 4) for number in range(2)]
        taken = stack.step([Step(own, 1.0, never) for own in batches])
        for own, engine, ours in zip(batches, engines, taken, strict=True):
            apart += [abs(float(x) / float(y) - 1) for x, y in zip(ours, engine.step(own, 1.0), strict=True)]
    return max(apart)


def test_bfloat16_agrees() -> None:
    assert _apart("bfloat16", compile=False, steps=20) < 1e-5


def test_a_vocabulary_that_goes_chunk_by_chunk_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOGITS_AT_ONCE, "cpu", 20 * recipe()["model"]["vocab_size"])  # 64 rows in four unequal chunks
    assert _apart("float32", compile=False, steps=5) < 1e-5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
@pytest.mark.skipif(not can_compile(), reason="torch.compile needs a C++ compiler, and there is none on the PATH")
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("bfloat16", 3e-2)])
def test_compiled_agrees(precision: str, tolerance: float) -> None:
    assert _apart(precision, compile=True, steps=5) < tolerance


def test_in_a_pack_attention_is_not_told_that_gradients_are_wanted() -> None:
    """Why it takes only kernels that keep what their backward pass needs without being told (train/forward.py)."""
    told = []

    def product(x: torch.Tensor) -> torch.Tensor:
        told.append(x.requires_grad)
        return (x * x).sum()

    vmap(product)(torch.ones(2, 3, requires_grad=True)).sum().backward()
    assert told == [False]


def test_the_gain_is_measured_and_the_fit_is_a_sum() -> None:
    assert 0.1 < measured_gain(recipe(), 2, CPU, False, "torch") < 10
    few, many = (most_that_fit(recipe(), room, "cpu") for room in (10**7, 10**8))
    assert 1 <= few < many and many == pytest.approx(10 * few, abs=10)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores")
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("bfloat16", 3e-2)])
def test_on_a_gpu_packed_agrees_with_single(precision: str, tolerance: float, compile: bool) -> None:
    """Losses and norms of the gradients step by step, and in the end what the gradients have made of the weights."""
    gpu, made = torch.device("cuda"), [recipe_of(number, precision) for number in range(2)]
    stack, engines = Pack(2, gpu, compile, "torch"), [Engine(one, gpu, compile=False) for one in made]
    seats = [stack.seat(number, one) for number, one in enumerate(made)]
    for seat in seats:
        seat.prepare()
    for step in range(5):
        own = [Step(data_of(number)(4 * step, 4), 1.0, never) for number in range(2)]
        for ours, engine, one in zip(stack.step(own), engines, own, strict=True):
            plain = [float(value) for value in engine.step(one.batch, 1.0)]
            assert [float(value) for value in ours] == pytest.approx(plain, rel=tolerance)
    for seat, engine in zip(seats, engines, strict=True):
        for mine, plain in zip(seat.model.parameters(), engine.model.parameters(), strict=True):
            assert float((mine - plain).norm() / plain.norm()) < tolerance
