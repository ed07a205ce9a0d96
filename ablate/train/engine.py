"""One model on one device and what a training step does to it. Knows nothing of budgets, folders or clocks."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from ablate.model.build import initial
from ablate.train import checkpoint, sharded
from ablate.train.forward import Forward
from ablate.train.oom import in_the_update, is_out_of_memory
from ablate.train.optim import Backend, Optimizer
from ablate.train.passes import Passes


class Learner:
    """A model, its optimiser, and the state of both."""

    devices = 1

    def __init__(self, recipe: dict[str, Any], device: torch.device, backend: Backend) -> None:
        self._recipe = recipe
        self.model = initial(recipe).to(device)
        self.model.train()
        self.optimizer = Optimizer(self.model, recipe["train"], backend)

    def update(self, scale: float) -> Tensor:
        """Use up the gradients; returns their norm, not yet waited for. RunError where the update does not fit into memory."""
        try:
            return self.optimizer.step(scale)
        except Exception as e:
            if is_out_of_memory(e):
                raise in_the_update(self.model.device) from e
            raise

    def tensors(self) -> dict[str, Tensor]:
        """Everything that must be restored for the next step to be the same."""
        return {**{f"model/{name}": p for name, p in self.model.named_parameters()}, **self.optimizer.tensors()}

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over a state of `tensors()`; an empty one means the weights before the first step."""
        if tensors or not self.optimizer.is_new:  # else they are still the first ones, and to make them again takes time and room for two
            fresh = None if tensors else dict(initial(self._recipe).named_parameters())
            for name, p in self.model.named_parameters():
                p.copy_(fresh[name] if fresh is not None else tensors[f"model/{name}"])
        self.optimizer.restore(tensors)

    def save(self, folder: Path, name: str, progress: dict[str, Any], suspect: bool = False) -> None:
        """Write a checkpoint (see checkpoint.py). Raises DiskFullError."""
        checkpoint.save(folder, name, self.tensors(), progress, suspect)
        sharded.remove(folder, name)

    def load(self, folder: Path, name: str) -> dict[str, Any] | None:
        """Take over the newest whole checkpoint, of one device or of several, and return its progress; None where there is none."""
        state = checkpoint.load(folder, name) or sharded.load(folder, name, dict(self.model.named_parameters()), None)
        if state is None:
            return None
        self.restore(state[0])
        return state[1]

    def keep_good(self, folder: Path, name: str, steps: int) -> Path | None:
        """Of a run that diverged, the newest state that may be from before (see checkpoint.py)."""
        return checkpoint.keep_good(folder, name, steps) or sharded.keep_good(folder, name, steps)

    def whole(self) -> PreTrainedModel:
        """The model, live."""
        return self.model


class Engine(Passes):
    """A model that is trained alone: the (compiled) forward and backward pass and the update."""

    pack = devices = 1

    def __init__(
        self, recipe: dict[str, Any], device: torch.device, compile: bool, backend: Backend = "torch", checkpointing: bool = False
    ) -> None:
        began = time.perf_counter()
        learner = Learner(recipe, device, backend)
        self.model, self.optimizer, self.tensors, self.restore = learner.model, learner.optimizer, learner.tensors, learner.restore
        self.save, self.load, self.keep_good, self.whole = learner.save, learner.load, learner.keep_good, learner.whole
        self._update = learner.update
        loss = Forward(self.model, recipe["data"]["seq_len"], recipe["train"]["precision"] == "bfloat16", compile, checkpointing)
        super().__init__(recipe, device, self.model.parameters(), loss, may_graph=compile, checkpointing=checkpointing)
        self.book_setup(began)

    def prepare(self) -> None:
        """Compile, so that it is not counted as training."""
        self.warm_up(self._seq_len + 1)

    def step(self, batch: NDArray[np.int64], scale: float, leave: Callable[[], bool] = lambda: False) -> tuple[Tensor, Tensor]:
        """One update on `batch` [sequences, seq_len + 1]; returns (loss before it, gradient norm), not yet waited for.

        Raises what `Passes.summed` and `Learner.update` raise.
        """
        return self.summed(torch.from_numpy(batch), leave), self._update(scale)
