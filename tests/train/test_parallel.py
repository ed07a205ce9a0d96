"""Two processes, one model: against one process. Real processes over gloo on a CPU; one start for all that can share it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ablate.model.build import build
from ablate.train import sharded
from ablate.train.engine import Engine
from tests.train.family import batch, recipe
from tests.train.two_processes import OTHERWISE, SEQUENCES, STEPS

# Gradients are summed in another order, in float32; AdamW divides by their size, so a sum near zero may differ by a step.
LOSS_TOLERANCE, WEIGHT_TOLERANCE = 1e-5, 1e-4
# Several devices round the weights of the norms to 8 bits of mantissa too.
BFLOAT16_TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that two processes left, and what they said."""
    folder = tmp_path_factory.mktemp("together")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", "2"]
    root = Path(__file__).parents[2]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    script = Path(__file__).with_name("two_processes.py")
    done = subprocess.run([*command, str(script), str(folder)], cwd=root, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


@pytest.fixture(scope="module")
def seen(together: tuple[Path, str]) -> dict[str, Any]:
    return json.loads((together[0] / "seen.json").read_text())


def _engine() -> Engine:
    return Engine(recipe(), torch.device("cpu"), compile=False)


def _steps(engine: Engine, first: int, count: int) -> list[tuple[float, float]]:
    taken = [engine.step(batch(step * SEQUENCES, SEQUENCES), 1.0) for step in range(first, first + count)]
    return [(float(loss), float(norm)) for loss, norm in taken]


def test_the_weights_before_the_first_step_are_the_same_bits(together: tuple[Path, str]) -> None:
    fresh = dict(build(recipe()["model"], recipe()["seed"]).named_parameters())
    for name in ("before", "restored"):
        found = load_file(together[0] / f"{name}.safetensors")
        assert found.keys() == fresh.keys()
        assert all(torch.equal(found[key], value) for key, value in fresh.items())


def test_losses_and_weights_are_those_of_one_process(together: tuple[Path, str], seen: dict[str, Any]) -> None:
    engine = _engine()
    losses = _steps(engine, 0, STEPS)
    assert [norm for _, norm in seen["losses"]] == pytest.approx([norm for _, norm in losses], rel=10 * LOSS_TOLERANCE)
    assert [loss for loss, _ in seen["losses"]] == pytest.approx([loss for loss, _ in losses], rel=LOSS_TOLERANCE)
    found = load_file(together[0] / "after.safetensors")
    for name, p in engine.model.named_parameters():
        assert float((found[name] - p.detach()).abs().max()) < WEIGHT_TOLERANCE, name


@pytest.mark.parametrize(("name", "tolerance"), [("lamb", LOSS_TOLERANCE), ("bfloat16", BFLOAT16_TOLERANCE)])
def test_with_recomputed_activations_so_are_those_of_lamb_and_of_bfloat16(seen: dict[str, Any], name: str, tolerance: float) -> None:
    alone = _steps(Engine(OTHERWISE[name], torch.device("cpu"), compile=False), 0, STEPS)
    assert [norm for _, norm in seen[name]] == pytest.approx([norm for _, norm in alone], rel=10 * tolerance)
    assert [loss for loss, _ in seen[name]] == pytest.approx([loss for loss, _ in alone], rel=tolerance)


def test_a_checkpoint_restores_the_same_bits(seen: dict[str, Any]) -> None:
    assert seen["progress"] == {"step": STEPS}
    assert seen["again"] == seen["on"]
    assert seen["fresh"] == seen["losses"][:2]


def test_one_process_goes_on_from_the_checkpoint_of_two(together: tuple[Path, str], seen: dict[str, Any], tmp_path: Path) -> None:
    engine = _engine()
    assert engine.load(together[0], "branch") == {"step": STEPS}
    found = load_file(together[0] / "after.safetensors")
    assert all(torch.equal(found[name], p) for name, p in engine.model.named_parameters())
    on = _steps(engine, STEPS, 2)
    assert [loss for loss, _ in on] == pytest.approx([loss for loss, _ in seen["on"]], rel=LOSS_TOLERANCE)


def test_what_fails_in_one_process_is_raised_in_both_and_overwrites_nothing(together: tuple[Path, str]) -> None:
    for rank in (0, 1):
        assert f"process {rank}: a checkpoint could not be written to {together[0]}" in together[1]


def test_of_a_run_that_diverged_the_state_before_is_kept(seen: dict[str, Any]) -> None:
    risen, left, kept, progress = seen["kept"]
    assert risen == ["trunk.before-it-diverged.sharded", "trunk.previous.sharded", "trunk.sharded"]
    assert left == [kept] == ["trunk.before-it-diverged.sharded"] and progress == {"step": 2}


def test_a_step_is_given_up_between_two_passes(seen: dict[str, Any]) -> None:
    assert seen["stopped"] == ["given up between two passes of a step", True]


def test_weights_that_cannot_be_read_fail_the_run_and_nobody_waits(seen: dict[str, Any]) -> None:
    said, loss = seen["unreadable"]
    assert "nowhere" in said and loss == pytest.approx(seen["losses"][0][0], rel=LOSS_TOLERANCE)


@pytest.mark.parametrize("damage", ["flip", "truncate", "lose", "state", "state of no text"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(together: tuple[Path, str], tmp_path: Path, damage: str) -> None:
    newest, previous, _ = sharded.paths(tmp_path, "branch")
    for path, step in ((previous, 3), (newest, 5)):
        path.mkdir(parents=True)
        state = json.loads((together[0] / "branch.sharded" / "state.json").read_text())
        (path / "state.json").write_text(json.dumps({**state, "progress": {"step": step}}))
        for file in (together[0] / "branch.sharded").glob("*.safetensors"):
            (path / file.name).write_bytes(file.read_bytes())
    assert _engine().load(tmp_path, "branch") == {"step": 5}
    shard = sorted(newest.glob("*.safetensors"))[1]
    if damage == "flip":
        content = bytearray(shard.read_bytes())
        content[-1] ^= 1
        shard.write_bytes(bytes(content))
    elif damage == "truncate":
        shard.write_bytes(shard.read_bytes()[:-10])
    elif damage == "lose":
        shard.unlink()
    else:
        (newest / "state.json").write_bytes(b'{"progress"' if damage == "state" else b"\xff\xfe\x00")
    assert _engine().load(tmp_path, "branch") == {"step": 3}


def test_nothing_is_pickled(together: tuple[Path, str]) -> None:
    assert {path.suffix for path in (together[0] / "branch.sharded").iterdir()} == {".safetensors", ".json"}
