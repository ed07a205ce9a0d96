"""A family's promises: trunk and branch equal a run alone, nothing is lost to a kill, the bill adds up. Real training throughout."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ablate.errors import DivergedError, Interrupted
from ablate.train.loop import Trained
from ablate.train.schedule import fork_of
from tests.train.family import STEPS, branches, recipe, train, weights, worker


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[int, torch.Tensor]:
    """Each budget's weights, trained by itself and never disturbed."""
    folder = tmp_path_factory.mktemp("alone")
    return {t.branch.steps: weights(t) for t in train(folder, branches(folder), trunk=False)}


def _lines(folder: Path) -> list[dict[str, float]]:
    """The run's metrics without what depends on the clock."""
    text = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in ("seconds", "tokens_per_s")} for line in text]


def test_a_branch_equals_a_run_alone(tmp_path: Path, alone: dict[int, torch.Tensor]) -> None:
    train_alone = tmp_path / "alone"
    list(train(train_alone, branches(train_alone), trunk=False))
    for trained in train(tmp_path, branches(tmp_path)):
        steps = trained.branch.steps
        assert torch.equal(weights(trained), alone[steps])
        assert _lines(trained.branch.folder) == _lines(train_alone / f"run{steps}")
        assert [line["step"] for line in _lines(trained.branch.folder)] == [*range(10, steps, 10), steps]


def test_it_learns(tmp_path: Path) -> None:
    losses = [t.final_loss for t in train(tmp_path, branches(tmp_path))]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 2.5  # ln 96 = 4.6


def test_a_larger_budget_trains_only_the_extension(tmp_path: Path, alone: dict[int, torch.Tensor]) -> None:
    first = list(train(tmp_path, branches(tmp_path, (30, 60))))
    more = list(train(tmp_path, branches(tmp_path, done=(30, 60))))
    assert [t.branch.steps for t in more] == [121]
    assert torch.equal(weights(more[0]), alone[121])
    assert more[0].spent_seconds < more[0].train_seconds
    assert sum(t.spent_seconds for t in first) > more[0].train_seconds - more[0].spent_seconds


def test_a_smaller_budget_afterwards_is_trained_alone(tmp_path: Path, alone: dict[int, torch.Tensor]) -> None:
    list(train(tmp_path, branches(tmp_path, (60,))))
    trunk = (tmp_path / "trunk" / "trunk.safetensors").read_bytes()
    (late,) = train(tmp_path, branches(tmp_path, (30, 60), done=(60,)))
    assert torch.equal(weights(late), alone[30]) and late.spent_seconds == late.train_seconds
    assert (tmp_path / "trunk" / "trunk.safetensors").read_bytes() == trunk


def test_the_shares_add_up_to_what_was_spent(tmp_path: Path) -> None:
    runs = list(train(tmp_path, branches(tmp_path)))
    trunk = json.loads((tmp_path / "trunk" / "metrics.jsonl").read_text().splitlines()[-1])["seconds"]
    spent = sum(t.spent_seconds for t in runs)
    decays = sum(_decay_seconds(tmp_path, t) for t in runs)
    assert spent == pytest.approx(trunk + decays, rel=0.1)
    assert all(t.spent_seconds < t.train_seconds for t in runs[:1]) and all(t.lost_seconds == 0 for t in runs)


def _decay_seconds(folder: Path, trained: Trained) -> float:
    """Seconds after the fork, from the run's own lines (which come every 10 steps)."""
    lines = [json.loads(line) for line in (trained.branch.folder / "metrics.jsonl").read_text().splitlines()]
    fork = fork_of(trained.branch.steps, 0.2)
    before = [line["seconds"] for line in lines if line["step"] <= fork]
    return float(lines[-1]["seconds"] - before[-1])


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_moments_the_result_is_the_same(seed: int, tmp_path: Path, alone: dict[int, torch.Tensor]) -> None:
    processes = multiprocessing.get_context("forkserver")  # a real process each, without 5 s of imports
    processes.set_forkserver_preload([worker.__module__])
    pause, kills = random.Random(seed), 0
    while True:
        victim = processes.Process(target=worker, args=(tmp_path,))
        began = time.time()
        victim.start()
        if kills < 8:
            while victim.is_alive() and _last_write(tmp_path) < began:
                time.sleep(0.002)
            time.sleep(pause.uniform(0.0, 0.1))
            kills += victim.is_alive()
            victim.kill()
        victim.join()
        if victim.exitcode == 0:
            break
        assert victim.exitcode == -signal.SIGKILL
    for steps in STEPS:
        assert torch.equal(load_file(tmp_path / f"run{steps}" / "weights.safetensors")["weights"], alone[steps])
        assert _lines(tmp_path / f"run{steps}")[-1]["step"] == steps
    assert kills > 3


def test_on_a_slow_disk_checkpoints_are_written_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = 0
    fsync = os.fsync

    def slow(fd: int) -> None:
        nonlocal synced
        synced += 1
        time.sleep(0.05)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", slow)
    list(train(tmp_path, branches(tmp_path, (121,)), every=1e-6))
    assert synced < 25, "not one a step: 20 times as long as one takes lie between two"


def _last_write(folder: Path) -> float:
    """When something in a run's or the trunk's folder was last written."""
    times = [0.0]
    for path in list(folder.glob("*/*")):
        with suppress(FileNotFoundError):  # it was renamed into place meanwhile
            times.append(path.stat().st_mtime)
    return max(times)


def test_stopped_between_lines_it_goes_on_to_the_same_lines(tmp_path: Path, alone: dict[int, torch.Tensor]) -> None:
    calls = 0

    def stop_every_seventh() -> bool:
        nonlocal calls
        calls += 1
        return calls % 7 == 0

    finished: dict[int, torch.Tensor] = {}
    losses: dict[int, float] = {}
    for _ in range(200):
        done = tuple(finished)
        try:
            for trained in train(tmp_path, branches(tmp_path, done=done), stop=stop_every_seventh):
                finished[trained.branch.steps], losses[trained.branch.steps] = weights(trained), trained.final_loss
        except Interrupted:
            continue
        break
    for trained in train(tmp_path / "undisturbed", branches(tmp_path / "undisturbed")):
        steps = trained.branch.steps
        assert torch.equal(finished[steps], alone[steps]) and losses[steps] == trained.final_loss
        assert _lines(tmp_path / f"run{steps}") == _lines(trained.branch.folder)


def test_a_damaged_checkpoint_costs_steps_and_nothing_else(tmp_path: Path, alone: dict[int, torch.Tensor]) -> None:
    list(train(tmp_path, branches(tmp_path, (30, 60))))
    trunk = tmp_path / "trunk" / "trunk.safetensors"
    whole = trunk.read_bytes()
    trunk.write_bytes(whole[:-100] + bytes(100))
    (last,) = train(tmp_path, branches(tmp_path, (121,)))
    assert torch.equal(weights(last), alone[121])


@pytest.mark.parametrize("trunk", [True, False])
def test_an_absurd_learning_rate_is_said_so(trunk: bool, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"at step \d+ \(learning rate"):
        list(train(tmp_path, branches(tmp_path), trunk=trunk, recipe=recipe(lr=1e30)))
    assert not list(tmp_path.glob("*/*.safetensors")), "a state that is not finite must not be kept"


def test_nothing_to_do_builds_nothing(tmp_path: Path) -> None:
    assert list(train(tmp_path, branches(tmp_path, done=STEPS))) == []
    assert not (tmp_path / "trunk").exists()


def test_a_decay_over_the_whole_run_needs_no_trunk(tmp_path: Path) -> None:
    whole = recipe(decay=1.0)
    (shared,) = train(tmp_path, branches(tmp_path, (30,)), recipe=whole)
    (single,) = train(tmp_path / "single", branches(tmp_path / "single", (30,)), trunk=False, recipe=whole)
    assert torch.equal(weights(shared), weights(single))
