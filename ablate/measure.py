"""`python -m ablate.measure DEVICE COMPILE`: one shape on standard input → how fast this machine trains and reads it.

It runs what a job runs: the engine, compiled where jobs are, with kernels from the cache of the jobs and left there for them.
The process says `{"ready": ...}` once it has built and compiled, waits for a line, so that several can be timed at the same
moment, and answers with its figures.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ablate.evals import texts
from ablate.model.build import fresh
from ablate.model.memory import micro_batch
from ablate.train import device as devices
from ablate.train.engine import Engine

SECONDS = 1.5
"""Least time of each timing; one step at least, however long that takes."""
READ_TOKENS, READ_LENGTH = 1024, 64
"""A batch as scoring has it: rows of about this length, as many as make that many tokens (evals/requests.py)."""


class Shape:
    """One shape on one device, ready to be timed."""

    def __init__(self, recipe: dict[str, Any], device: torch.device, compile: bool) -> None:
        recipe = one_pass(fresh(recipe), device.type)
        self.seq_len, self.tokens = recipe["data"]["seq_len"], recipe["train"]["batch_tokens"]
        self.vocabulary, self.device = recipe["model"]["vocab_size"], device
        self.engine = Engine(recipe, device, compile)
        self.engine.prepare()
        self.setup_seconds = self.engine.take_setup_seconds()
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
        self.engine.model.eval()
        return windows.tokens * _times_a_second(lambda: texts.bits_per_byte(self.engine.model, windows, self.device))

    def _step(self) -> None:
        float(self.engine.step(self._batch, 1.0)[0])


def one_pass(recipe: dict[str, Any], device_type: str) -> dict[str, Any]:
    """The recipe with a batch of one pass, so that a step of a large batch need not be waited for; the pass, and so its kernels, stay."""
    seq_len, train = recipe["data"]["seq_len"], recipe["train"]
    pass_tokens = seq_len * micro_batch(recipe["model"], train, seq_len, device_type)
    return {**recipe, "train": {**train, "batch_tokens": pass_tokens}}


def _times_a_second(work: Callable[[], object]) -> float:
    done, began = 0, time.perf_counter()
    while done == 0 or time.perf_counter() - began < SECONDS:
        work()
        done += 1
    return done / (time.perf_counter() - began)


def main(device_type: str, compile: bool) -> None:
    torch.set_num_threads(1)
    device = torch.device(device_type)
    shape = Shape(json.loads(sys.stdin.readline()), device, compile)
    print(json.dumps({"ready": shape.setup_seconds}), flush=True)
    sys.stdin.readline()
    figures = {"tokens_per_s": shape.training(), "read_tokens_per_s": shape.reading(), "process_bytes": devices.peak_memory(device)}
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] == "compile")
