"""The processes that train one model together, one a device: how they find each other and how the first leads the others.

The first process does everything that one process does: it walks the families, reads data, writes files, scores. The
others hold their shards and repeat each operation on the model that they are told. So whatever is decided (when to
save, when to stop, that a run diverged) is decided in one place, and nobody can disagree about it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

FOREVER = timedelta(days=365)
"""Nobody waits in vain: a process that died breaks the connections to it, or torchrun ends the others. But scoring may take hours."""


@dataclass(frozen=True)
class World:
    """This process among `size` of them. What is told is JSON."""

    rank: int
    size: int
    last_words: Path
    """Where the first process to fail says why."""

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def tell(self, words: Sequence[Any]) -> None:
        """Say to the others what they `hear`."""
        text = torch.frombuffer(bytearray(json.dumps(words).encode()), dtype=torch.uint8)
        dist.broadcast(torch.tensor([len(text)]), 0)
        dist.broadcast(text, 0)

    def hear(self) -> list[Any]:
        """What the first process tells next."""
        length = torch.zeros(1, dtype=torch.int64)
        dist.broadcast(length, 0)
        text = torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(text, 0)
        words: list[Any] = json.loads(text.numpy().tobytes())
        return words

    def deal(self, batch: NDArray[np.int64] | None, sequences: int, width: int) -> Tensor:
        """This process's `sequences` of the first one's batch [size · sequences, width], in its order."""
        own = torch.empty(sequences, width, dtype=torch.int64)
        dist.scatter(own, None if batch is None else list(torch.split(torch.from_numpy(batch), sequences)))
        return own

    def mean(self, value: Tensor) -> Tensor:
        """The mean of everybody's; not waited for on a GPU."""
        dist.all_reduce(value)
        return value / self.size

    @torch.no_grad()
    def spread(self, targets: Sequence[Tensor], values: Sequence[Tensor] | None) -> None:
        """Fill everybody's targets with the first one's values."""
        for i, target in enumerate(targets):
            if values is not None:
                target.copy_(values[i])
            dist.broadcast(target, 0)

    def report(self, sentence: str) -> None:
        """Leave word of why this process ends, unless another did first."""
        with contextlib.suppress(OSError), self.last_words.open("x", encoding="utf-8") as f:
            f.write(sentence)

    def worst(self, code: int) -> int:
        """The largest of everybody's codes."""
        codes = torch.tensor([code])
        dist.all_reduce(codes, dist.ReduceOp.MAX)
        return int(codes)

    def sum(self, values: Sequence[int]) -> list[int]:
        """Of each value, the sum of everybody's."""
        sums = torch.tensor(values, dtype=torch.int64)
        dist.all_reduce(sums)
        return [int(value) for value in sums]


def join(device_type: str, last_words: Path) -> World:
    """Meet the others that torchrun started; on CUDA this process takes the GPU of its place on this machine."""
    if device_type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo", timeout=FOREVER)
    return World(dist.get_rank(), dist.get_world_size(), last_words)


def part() -> None:
    """Leave the others, who leave too; nobody goes while another still listens to it."""
    dist.barrier()
    dist.destroy_process_group()
