"""Training that is broken on purpose: interrupted inside a step, made to diverge, its checkpoints damaged, killed while compiled."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ablate.errors import DivergedError, Interrupted
from ablate.leave import Leave
from ablate.model import memory
from ablate.train.loop import Settings, Trained, train_family
from ablate.train.meter import lines
from tests.train.family import RECIPE, VOCABULARY, batch, branches, train, weights

STEPS = 40


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Passes of one sequence, so that a step has four."""
    with monkeypatch.context() as patched:
        patched.setitem(memory.ACTIVATION_BYTES, "cpu", 1)
        yield


def interrupted(folder: Path, asks: int) -> None:
    """Train until somebody asks for the `asks`th time whether to leave; from then on the answer is yes."""
    asked = 0

    def leave() -> bool:
        nonlocal asked
        asked += 1
        return asked > asks

    with pytest.raises(Interrupted, match="the same command goes on from it"):
        list(train(folder, branches(folder, (STEPS,)), stop=leave))


def finish(folder: Path) -> Trained:
    (done,) = train(folder, branches(folder, (STEPS,)))
    return done


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("asks", [1, 77])
def test_given_up_in_the_middle_of_a_step_it_goes_on_to_the_same_bits(asks: int, tmp_path: Path) -> None:
    whole = weights(finish(tmp_path / "whole"))
    interrupted(tmp_path, asks)  # four questions a step: before it and between its passes
    assert torch.equal(weights(finish(tmp_path)), whole)


def test_a_resumed_run_keeps_its_micro_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(memory.ACTIVATION_BYTES, "cpu", 1)
        whole = finish(tmp_path / "whole")
        small = weights(whole)
        interrupted(tmp_path, 50)
    done = finish(tmp_path)  # with room for all four sequences
    assert (whole.micro_batch, done.micro_batch, done.oom_halvings) == (1, 1, 0)
    assert torch.equal(weights(done), small)


def turns_at(step: int) -> Any:
    """The usual sequences, and noise that nobody can learn from `step` on: the loss rises and stays up."""

    def turning(first: int, count: int) -> NDArray[np.int64]:
        usual = batch(first, count)
        noise = np.random.default_rng(first).integers(0, VOCABULARY, usual.shape)
        return np.where(first < 4 * step, usual, noise)

    return turning


@pytest.mark.parametrize("trunk", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_loss_that_stays_up_stops_the_run_and_leaves_the_evidence(trunk: bool, tmp_path: Path) -> None:
    def diverge() -> str:
        settings = Settings(torch.device("cpu"), checkpoint_every=0.02)
        where = tmp_path / "trunk" if trunk else None
        with pytest.raises(DivergedError) as caught:
            list(train_family(RECIPE, branches(tmp_path, (600,)), turns_at(300), where, settings, Leave()))
        return str(caught.value)

    said = diverge()
    assert "the loss rose from" in said and "from step 300 on" in said and "learning rate 0.004" in said and "lower train.lr" in said
    folder, name = (tmp_path / "trunk", "trunk") if trunk else (tmp_path / "run600", "branch")
    good = folder / f"{name}.before-it-diverged.safetensors"
    assert str(good) in said
    with safe_open(good, framework="pt") as f:
        assert 200 < json.loads(f.metadata()["progress"])["step"] <= 300, "from before the rise"
    kept = lines(folder / "metrics.jsonl")
    assert kept[-1]["step"] >= 340 and kept[-1]["loss"] > kept[29]["loss"] + 2
    assert diverge() == said, "tried again it goes on from the good state, to the same end"


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


DAMAGES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a flipped bit": lambda path: flip(path, -100),
    "empty": lambda path: path.write_bytes(b""),
    "a broken header": lambda path: path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:]),
    "another progress": lambda path: path.write_bytes(path.read_bytes().replace(b'"step\\": ', b'"stop\\": ', 1)),
}


@pytest.mark.parametrize(("damage", "both"), [*((damage, False) for damage in DAMAGES), ("a flipped bit", True)])
def test_damaged_checkpoints_cost_steps_and_nothing_else(damage: str, both: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = weights(finish(tmp_path / "whole"))
    interrupted(tmp_path, 11)
    interrupted(tmp_path, 11)
    files = [tmp_path / "trunk" / "trunk.safetensors", tmp_path / "trunk" / "trunk.previous.safetensors"]
    for path in files if both else files[:1]:
        DAMAGES[damage](path)
    with caplog.at_level(logging.WARNING):
        done = finish(tmp_path)
    assert torch.equal(weights(done), whole)
    assert [str(path) in caplog.text for path in files] == [True, both]


def compiled_worker(folder: Path) -> None:
    torch.set_num_threads(1)
    for trained in train(folder, branches(folder, (STEPS,)), every=0.02, compile=True):
        save_file({"weights": weights(trained)}, folder / "part")
        (folder / "part").rename(folder / "weights.safetensors")


@pytest.mark.slow
def test_a_compiled_run_killed_and_resumed_has_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    processes = multiprocessing.get_context("spawn")

    def start(folder: Path) -> Any:
        process = processes.Process(target=compiled_worker, args=(folder,))
        process.start()
        return process

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    start(whole).join()
    victim = start(killed)
    while victim.is_alive() and not list(killed.glob("*/*.safetensors")):
        time.sleep(0.01)
    assert victim.is_alive(), "it must be killed in the middle"
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    again = start(killed)
    again.join()
    assert again.exitcode == 0
    assert torch.equal(load_file(killed / "weights.safetensors")["weights"], load_file(whole / "weights.safetensors")["weights"])
