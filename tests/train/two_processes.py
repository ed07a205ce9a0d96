"""What test_parallel.py runs under torchrun, in every process: `python -m torch.distributed.run ... two_processes.py FOLDER`.

The first process leaves in FOLDER what it saw (seen.json) and the weights before, after and when a checkpoint was taken.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from ablate.errors import Interrupted, RunError
from ablate.train import sharded
from ablate.train.lockstep import Seat, Step
from ablate.train.parallel import Sharded
from ablate.train.world import World, join, part
from tests.train.family import batch, recipe

STEPS = 5
OTHERWISE = {"bfloat16": recipe(precision="bfloat16"), "lamb": recipe()}
OTHERWISE["lamb"]["train"]["optimizer"]["name"] = "lamb"
SEQUENCES = recipe()["train"]["batch_tokens"] // recipe()["data"]["seq_len"]


def lead(stack: Sharded, folder: Path) -> dict[str, Any]:
    """Train, save, train on, go back and train on again; two passes a step and device, so that gradients are summed."""
    seat = stack.seat(0, recipe())
    seat.micro_batch = SEQUENCES // stack.devices // 2
    keep(seat.whole(), folder / "before.safetensors")
    losses = steps(stack, 0, STEPS)
    seat.save(folder, "branch", {"step": STEPS})
    keep(seat.whole(), folder / "after.safetensors")
    on = steps(stack, STEPS, 2)
    progress = seat.load(folder, "branch")
    again = steps(stack, STEPS, 2)
    seat.restore({})
    keep(seat.whole(), folder / "restored.safetensors")
    seen = {"losses": losses, "on": on, "again": again, "progress": progress, "fresh": steps(stack, 0, 2)}
    seen |= {"kept": diverged(seat, folder / "diverged"), "stopped": stopped(stack), "unreadable": unreadable(stack)}
    return seen | {name: otherwise(stack, made) for name, made in OTHERWISE.items()}


def otherwise(stack: Sharded, made: dict[str, Any]) -> list[tuple[float, float]]:
    """The first steps of another recipe, each layer computed twice, in two passes a step and device."""
    stack._checkpointing = lambda _: True
    stack.seat(0, made).micro_batch = SEQUENCES // stack.devices // 2
    return steps(stack, 0, STEPS)


def diverged(seat: Seat, folder: Path) -> list[Any]:
    """What is there after a rise of the loss, after the run was given up for it, and what the run then goes on from."""
    for step, suspect in ((1, False), (2, False), (3, True), (4, True)):
        seat.save(folder, "trunk", {"step": step}, suspect)
    risen = sorted(path.name for path in folder.iterdir())
    kept = seat.keep_good(folder, "trunk", 2)
    return [risen, [path.name for path in folder.iterdir()], kept and kept.name, seat.load(folder, "trunk")]


def stopped(stack: Sharded) -> list[Any]:
    """What a step of two passes says that is to be given up, and whether the weights are as before."""
    before = [p.clone() for p in stack.whole().parameters()]
    try:
        stack.step([Step(batch(0, SEQUENCES), 1.0, lambda: True)])
    except Interrupted as e:
        return [str(e), all(torch.equal(a, b) for a, b in zip(before, stack.whole().parameters(), strict=True))]
    return ["nothing", True]


def unreadable(stack: Sharded) -> list[Any]:
    """What a start from weights that are not there says, and the first loss of the model that is seated next."""
    made = recipe()
    try:
        stack.seat(0, {**made, "model": {**made["model"], "weights": "of nothing"}, "weights": "nowhere"})
    except RunError as e:
        stack.seat(0, made)
        return [str(e), steps(stack, 0, 1)[0][0]]
    return ["nothing", 0.0]


def steps(stack: Sharded, first: int, count: int) -> list[tuple[float, float]]:
    asked = [Step(batch(step * SEQUENCES, SEQUENCES), 1.0, lambda: False) for step in range(first, first + count)]
    taken = [stack.step([one])[0] for one in asked]
    return [(float(loss), float(norm)) for loss, norm in taken]


def keep(model: nn.Module, path: Path) -> None:
    save_file({name: p.detach().clone() for name, p in model.named_parameters()}, path)


def fail_in_one(world: World, folder: Path) -> str:
    """What a save raises here when the second process may not write files of that size."""
    if not world.leads:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    try:
        sharded.save(folder, "branch", {"model/a": torch.zeros(1000) + world.rank, f"model/{world.rank}": torch.zeros(1000)}, {}, world)
    except RunError as e:
        return str(e)
    return "nothing"


def main(folder: Path) -> None:
    world = join("cpu", folder / "error.txt")
    stack = Sharded(world, torch.device("cpu"), compile=False)
    if world.leads:
        seen = lead(stack, folder)
        world.tell([])
        (folder / "seen.json").write_text(json.dumps(seen))
    else:
        stack.follow()
    before = (folder / "branch.sharded" / "state.json").read_bytes()
    failure = fail_in_one(world, folder)
    assert (folder / "branch.sharded" / "state.json").read_bytes() == before
    print(f"process {world.rank}: {failure}", flush=True)
    part()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
