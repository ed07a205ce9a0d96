"""The forward and backward passes of a step, of one model or of several stacked ones: piece by piece, as memory allows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from ablate.errors import Interrupted
from ablate.model import ladder
from ablate.model.memory import divisor, memory, micro_batch
from ablate.train.accounts import Clock
from ablate.train.oom import is_out_of_memory, one_is_too_much

_log = logging.getLogger(__name__)

_GRAPHED_FLOPS = 1e12
"""Of a step's products, below which they are replayed as CUDA graphs: 2 to 3 ms of a fast GPU, which launching kernel by
kernel takes as well. A rule, so that nothing depends on timing."""


class Loss(Protocol):
    """Takes tokens [sequences, ...] to their mean loss: one number, or one for each of several models."""

    graphs: bool
    """Replay the pass as CUDA graphs. Not where a step has more than one pass: gradients are summed, and a replay overwrites them."""

    def __call__(self, tokens: Tensor) -> Tensor: ...


class Passes:
    """Makes gradients; what is then done with them is others' business."""

    def __init__(
        self,
        recipe: dict[str, Any],
        device: torch.device,
        parameters: Iterable[Tensor],
        loss: Loss,
        may_graph: bool,
        checkpointing: bool = False,
    ) -> None:
        self._recipe = recipe
        self._seq_len = recipe["data"]["seq_len"]
        self._sequences = recipe["train"]["batch_tokens"] // self._seq_len
        self.device, self.clock = device, Clock()
        self._parameters, self._loss = list(parameters), loss
        self._may_graph = may_graph and device.type == "cuda" and _waits_for_launches(recipe)
        self.micro_batch = micro_batch(recipe["model"], recipe["train"], self._seq_len, device.type, checkpointing=checkpointing)
        self.activation_checkpointing = checkpointing
        self.oom_halvings = 0
        self._prepared = False
        self._setup_seconds = 0.0

    @property
    def micro_batch(self) -> int:
        """Sequences a pass."""
        return self._micro_batch

    @micro_batch.setter
    def micro_batch(self, sequences: int) -> None:
        self._micro_batch = sequences
        self._loss.graphs = self._may_graph and sequences == self._sequences

    def warm_up(self, *shape: int) -> None:
        """Run the pass once on made-up tokens of that shape, so that compiling is not counted as training. Changes no weight."""
        if self._prepared:
            return
        began = time.perf_counter()
        for _ in range(3 if self._loss.graphs else 1):  # a CUDA graph is recorded in the second pass and replayed from the third on
            self.summed(torch.zeros(self.micro_batch, *shape, dtype=torch.int64), lambda: False)
            self._drop_gradients()
        self._prepared = True
        self.book_setup(began)

    def book_setup(self, began: float) -> None:
        """What was done since `began` (by time.perf_counter) was building or compiling."""
        self._setup_seconds += time.perf_counter() - began

    def take_setup_seconds(self) -> float:
        """Seconds spent on building and compiling since this was last asked."""
        seconds, self._setup_seconds = self._setup_seconds, 0.0
        return seconds

    def summed(self, tokens: Tensor, leave: Callable[[], bool]) -> Tensor:
        """Pass by pass, the loss of a step on `tokens` (on the host); its gradients are then with the parameters.

        Where a pass does not fit into memory, the same gradients are made in smaller ones, and so are all that follow. RunError
        where not even one sequence fits. Interrupted between two passes once `leave()` is true.
        """
        if self.device.type == "cuda":
            tokens = tokens.pin_memory()  # from other memory the copy would wait
        tokens = tokens.to(self.device, non_blocking=True)
        while True:
            try:
                return torch.stack(list(self._pieces(tokens, leave))).sum(0)
            except Exception as e:
                if not is_out_of_memory(e):
                    raise
                if self.micro_batch == 1:
                    one = memory(
                        self._recipe["model"], self._recipe["train"], self._seq_len, 1, 1, self.activation_checkpointing,
                        maps=self.device.type == "cpu",
                    )  # fmt: skip
                    raise one_is_too_much(one, self._seq_len, self.device) from e
            self._halve()  # out here: the error holds on to the frames, and these to the activations

    def _pieces(self, tokens: Tensor, leave: Callable[[], bool]) -> Iterator[Tensor]:
        for number, piece in enumerate(torch.split(tokens, self.micro_batch)):
            if number and leave():
                self._drop_gradients()
                raise Interrupted("given up between two passes of a step")
            yield self._backward(piece)

    def _backward(self, tokens: Tensor) -> Tensor:
        loss: Tensor = self._loss(tokens) * (len(tokens) / self._sequences)
        loss.sum().backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _halve(self) -> None:
        """Make passes of half the sequences (the next smaller divisor of a step's), nothing having happened to the weights."""
        self.micro_batch = divisor(self._sequences, self.micro_batch // 2)
        self.oom_halvings += 1
        self._drop_gradients()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        _log.warning("out of memory: going on with %d of the %d sequences of a step at a time", self.micro_batch, self._sequences)

    def _drop_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None


def _waits_for_launches(recipe: dict[str, Any]) -> bool:
    tokens: int = recipe["train"]["batch_tokens"]
    return tokens * ladder.flops_per_token(recipe["model"], recipe["data"]["seq_len"]) < _GRAPHED_FLOPS
