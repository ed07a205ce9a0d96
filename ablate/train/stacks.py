"""Where families are trained: on one device, or one model on several."""

from __future__ import annotations

from typing import Any, Literal

import torch

from ablate.model.memory import needs_checkpointing
from ablate.train.lockstep import Single, Stack
from ablate.train.optim import Backend
from ablate.train.parallel import Sharded
from ablate.train.world import World


def stack_of(device: torch.device, compile: bool, backend: Backend, checkpointing: Literal["auto"] | bool, world: World | None) -> Stack:
    """The stack of a job; `checkpointing` is launch.activation_checkpointing. Several devices have torch's optimisers."""
    devices = world.size if world else 1

    def checkpoints(recipe: dict[str, Any]) -> bool:
        if checkpointing != "auto" or device.type != "cuda":
            return checkpointing is True
        room = torch.cuda.get_device_properties(device).total_memory
        return needs_checkpointing(recipe["model"], recipe["train"], recipe["data"]["seq_len"], devices, room)

    return Sharded(world, device, compile, checkpoints) if world else Single(device, compile, backend, checkpoints)
