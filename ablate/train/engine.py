"""One model on one device and what a training step does to it. Knows nothing of budgets, folders or clocks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate.errors import Interrupted
from ablate.model import ladder
from ablate.model.build import initial
from ablate.model.memory import divisor, memory, micro_batch
from ablate.train.accounts import Clock
from ablate.train.forward import Forward
from ablate.train.oom import in_the_update, is_out_of_memory, one_is_too_much
from ablate.train.optim import Backend, Optimizer

_log = logging.getLogger(__name__)

_GRAPHED_FLOPS = 1e12
"""Of a step's products, below which they are replayed as CUDA graphs: 2 to 3 ms of a fast GPU, which launching kernel by
kernel takes as well. A rule, so that nothing depends on timing."""


class Engine:
    """The model, its optimiser and the (compiled) forward and backward pass."""

    pack = 1

    def __init__(self, recipe: dict[str, Any], device: torch.device, compile: bool, backend: Backend = "torch") -> None:
        began = time.perf_counter()
        self._recipe, self._shape, self._train = recipe, recipe["model"], recipe["train"]
        self._seq_len = recipe["data"]["seq_len"]
        self.device = device
        self.clock = Clock()
        self.model = initial(recipe).to(device)
        self.model.train()
        self.optimizer = Optimizer(self.model, recipe["train"], backend)
        self._sequences = recipe["train"]["batch_tokens"] // self._seq_len
        self.micro_batch = micro_batch(self._shape, recipe["train"], self._seq_len, device.type)
        self.oom_halvings = 0
        self._loss = Forward(self.model, self._seq_len, recipe["train"]["precision"] == "bfloat16", compile)
        self._loss.graphs = compile and device.type == "cuda" and self.micro_batch == self._sequences and _waits_for_launches(recipe)
        self._prepared = False
        self._setup_seconds = time.perf_counter() - began

    def prepare(self) -> None:
        """Run the pass once on made-up tokens, so that compiling is not counted as training. Changes no weight."""
        if self._prepared:
            return
        began = time.perf_counter()
        for _ in range(3 if self._loss.graphs else 1):  # a CUDA graph is recorded in the second pass and replayed from the third on
            self._summed(torch.zeros(self.micro_batch, self._seq_len + 1, dtype=torch.int64, device=self.device), lambda: False)
            self._drop_gradients()
        self._prepared = True
        self._setup_seconds += time.perf_counter() - began

    def take_setup_seconds(self) -> float:
        """Seconds spent on building and compiling since this was last asked."""
        seconds, self._setup_seconds = self._setup_seconds, 0.0
        return seconds

    def step(self, batch: NDArray[np.int64], scale: float, leave: Callable[[], bool] = lambda: False) -> tuple[Tensor, Tensor]:
        """One update on `batch` [sequences, seq_len + 1]; returns (loss before it, gradient norm), not yet waited for.

        Where a pass does not fit into memory, the same update is made in smaller ones, and so are all that follow. RunError
        where not even one sequence fits, or the update itself does not. Interrupted between two passes once `leave()` is true.
        """
        tokens = torch.from_numpy(batch)
        if self.device.type == "cuda":
            tokens = tokens.pin_memory()  # from other memory the copy would wait
        loss = self._summed(tokens.to(self.device, non_blocking=True), leave)
        try:
            return loss, self.optimizer.step(scale)
        except Exception as e:
            if is_out_of_memory(e):
                raise in_the_update(self.device) from e
            raise

    def tensors(self) -> dict[str, Tensor]:
        """Everything that must be restored for the next step to be the same."""
        return {**{f"model/{name}": p for name, p in self.model.named_parameters()}, **self.optimizer.tensors()}

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over a state of `tensors()`; an empty one means the weights before the first step."""
        fresh = None if tensors else dict(initial(self._recipe).named_parameters())
        for name, p in self.model.named_parameters():
            p.copy_(fresh[name] if fresh is not None else tensors[f"model/{name}"])
        self.optimizer.restore(tensors)

    def _summed(self, tokens: Tensor, leave: Callable[[], bool]) -> Tensor:
        """Pass by pass, the loss of a step (of the share of it that is given); its gradients are then with the parameters."""
        while True:
            try:
                return torch.stack(list(self._passes(tokens, leave))).sum()
            except Exception as e:
                if not is_out_of_memory(e):
                    raise
                if self.micro_batch == 1:
                    one = memory(self._shape, self._train, self._seq_len, 1, maps=self.device.type == "cpu")
                    raise one_is_too_much(one, self._seq_len, self.device) from e
            self._halve()  # out here: the error holds on to the frames, and these to the activations

    def _passes(self, tokens: Tensor, leave: Callable[[], bool]) -> Iterator[Tensor]:
        for number, piece in enumerate(torch.split(tokens, self.micro_batch)):
            if number and leave():
                self._drop_gradients()
                raise Interrupted("given up between two passes of a step")
            yield self._backward(piece)

    def _halve(self) -> None:
        """Make passes of half the sequences (the next smaller divisor of a step's), nothing having happened to the weights."""
        self.micro_batch = divisor(self._sequences, self.micro_batch // 2)
        self.oom_halvings += 1
        self._loss.graphs = False  # they cannot sum passes
        self._drop_gradients()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        _log.warning("out of memory: going on with %d of the %d sequences of a step at a time", self.micro_batch, self._sequences)

    def _drop_gradients(self) -> None:
        for parameter in self.model.parameters():
            parameter.grad = None

    def _backward(self, tokens: Tensor) -> Tensor:
        loss: Tensor = self._loss(tokens) * (len(tokens) / self._sequences)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()


def _waits_for_launches(recipe: dict[str, Any]) -> bool:
    tokens: int = recipe["train"]["batch_tokens"]
    return tokens * ladder.flops_per_token(recipe["model"], recipe["data"]["seq_len"]) < _GRAPHED_FLOPS
