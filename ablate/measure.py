"""`python -m ablate.measure`: one shape, and how to train it, on standard input → how fast this machine trains and reads it.

It runs what a job on one device runs, compiled where jobs are, with kernels from the cache of the jobs and left there for them;
where jobs are forked from a process that has made their imports, so is this.
The process says `{"ready": ...}` once it has built and compiled, waits for a line, so that several can be timed at the same
moment, and answers with its figures.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch

from ablate.evals import texts
from ablate.model.build import fresh
from ablate.train import device as devices
from ablate.train.lockstep import Step
from ablate.train.optim import Backend, backend_of
from ablate.train.stacks import stack_of

SECONDS = 1.5
"""Least time of each timing; one step at least, however long that takes."""
READ_TOKENS, READ_LENGTH = 1024, 64
"""A batch as scoring has it: rows of about this length, as many as make that many tokens (evals/requests.py)."""


class Shape:
    """One shape on one device, ready to be timed. A step is of one pass, so that one of a large batch need not be waited for."""

    def __init__(
        self,
        recipe: dict[str, Any],
        device: torch.device,
        compile: bool,
        backend: Backend = "torch",
        checkpointing: Literal["auto"] | bool = False,
    ) -> None:
        self._stack = stack_of(device, compile, backend, checkpointing, None)
        self.seat = self._stack.seat(0, fresh(recipe))
        self.seat.prepare()
        self.setup_seconds = self.seat.take_setup_seconds()
        self.seq_len, self.vocabulary, self.device = recipe["data"]["seq_len"], recipe["model"]["vocab_size"], device
        self.tokens = self.seat.micro_batch * self.seq_len
        self._batch = np.random.default_rng(0).integers(self.vocabulary, size=(self.tokens // self.seq_len, self.seq_len + 1))
        self._step()

    def training(self) -> float:
        """Tokens a second of training steps."""
        tokens: int = self.tokens
        return tokens * _times_a_second(self._step)

    def reading(self) -> float:
        """Tokens a second of plain forward passes, as scoring makes them."""
        length = min(READ_LENGTH, self.seq_len)
        rows = np.random.default_rng(0).integers(self.vocabulary, size=(READ_TOKENS // length, length + 1))
        windows = texts.Windows((rows,), rows.shape[0] * length, 1)
        self.seat.model.eval()
        return windows.tokens * _times_a_second(lambda: texts.bits_per_byte(self.seat.model, windows, self.device))

    def _step(self) -> None:
        ((loss, _),) = self._stack.step([Step(self._batch, 1.0, lambda: False)])
        float(loss)


def _times_a_second(work: Callable[[], object]) -> float:
    done, began = 0, time.perf_counter()
    while done == 0 or time.perf_counter() - began < SECONDS:
        work()
        done += 1
    return done / (time.perf_counter() - began)


def main() -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    asked = json.loads(sys.stdin.readline())
    device = torch.device(asked["device_type"])
    shape = Shape(asked["recipe"], device, asked["compile"], backend_of(asked["backend"], device), asked["checkpointing"])
    devices.free_unreferenced(device)  # another shape may be measured before this one
    print(json.dumps({"ready": shape.setup_seconds}), flush=True)
    if not sys.stdin.readline():
        return  # whoever wanted to know has gone
    figures = {"tokens_per_s": shape.training(), "read_tokens_per_s": shape.reading(), "process_bytes": devices.peak_memory(device)}
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
