"""One model on one device and what a training step does to it. Knows nothing of budgets, folders or clocks."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate.model.build import build
from ablate.model.memory import micro_batch
from ablate.train.accounts import Clock
from ablate.train.forward import Forward
from ablate.train.optim import Optimizer


class Engine:
    """The model, its optimiser and the (compiled) forward and backward pass."""

    pack = 1

    def __init__(self, recipe: dict[str, Any], device: torch.device, compile: bool) -> None:
        began = time.perf_counter()
        self._shape, self._seed = recipe["model"], recipe["seed"]
        self._seq_len = recipe["data"]["seq_len"]
        self.device = device
        self.clock = Clock()
        self.model = build(self._shape, self._seed).to(device)
        self.model.train()
        self._optimizer = Optimizer(self.model, recipe["train"])
        self._sequences = recipe["train"]["batch_tokens"] // self._seq_len
        self._micro = micro_batch(self._shape, recipe["train"], self._seq_len, device.type)
        self._loss = Forward(self.model, self._seq_len, recipe["train"]["precision"] == "bfloat16", compile)
        self._prepared = False
        self._setup_seconds = time.perf_counter() - began

    def prepare(self) -> None:
        """Run the pass once on made-up tokens, so that compiling is not counted as training. Changes no weight."""
        if self._prepared:
            return
        began = time.perf_counter()
        self._backward(torch.zeros(self._micro, self._seq_len + 1, dtype=torch.int64, device=self.device))
        for parameter in self.model.parameters():
            parameter.grad = None
        self._prepared = True
        self._setup_seconds += time.perf_counter() - began

    def take_setup_seconds(self) -> float:
        """Seconds spent on building and compiling since this was last asked."""
        seconds, self._setup_seconds = self._setup_seconds, 0.0
        return seconds

    def step(self, batch: NDArray[np.int64], scale: float) -> tuple[Tensor, Tensor]:
        """One update on `batch` [sequences, seq_len + 1]; returns (loss before it, gradient norm), not yet waited for."""
        tokens = torch.from_numpy(batch).to(self.device, non_blocking=True)
        losses = [self._backward(tokens[first : first + self._micro]) for first in range(0, self._sequences, self._micro)]
        return torch.stack(losses).sum(), self._optimizer.step(scale)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that must be restored for the next step to be the same."""
        return {**{f"model/{name}": p for name, p in self.model.named_parameters()}, **self._optimizer.tensors()}

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over a state of `tensors()`; an empty one means the weights before the first step."""
        fresh = None if tensors else dict(build(self._shape, self._seed).named_parameters())
        for name, p in self.model.named_parameters():
            p.copy_(fresh[name] if fresh is not None else tensors[f"model/{name}"])
        self._optimizer.restore(tensors)

    def _backward(self, tokens: Tensor) -> Tensor:
        loss: Tensor = self._loss(tokens) * (self._micro / self._sequences)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
