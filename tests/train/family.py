"""A small family on made-up tokens, for the tests of training, and the worker that they kill. Not a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from ablate.leave import Leave
from ablate.model.ladder import shape
from ablate.train.loop import Branch, Settings, Trained, forget, train_family

SEQ_LEN, VOCABULARY = 16, 96
STEPS = (30, 60, 121)


def recipe(lr: float = 0.004, batch_tokens: int = 64, precision: str = "float32", decay: float = 0.2) -> dict[str, Any]:
    return {
        "seed": 0,
        "params": 50_000,
        "model": shape(50_000, VOCABULARY, SEQ_LEN, tie_word_embeddings=True),
        "data": {"seq_len": SEQ_LEN},
        "train": {
            "optimizer": {"name": "adamw", "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1},
            "lr": lr,
            "batch_tokens": batch_tokens,
            "schedule": "wsd",
            "warmup_steps": 5,
            "decay": decay,
            "clip": 1.0,
            "precision": precision,
        },
    }


def batch(first: int, count: int) -> NDArray[np.int64]:
    """Sequences that count upwards by a step of their own: learnable, and a function of their index alone."""
    index = np.arange(first, first + count, dtype=np.int64)[:, None]
    return (index * 7 + (1 + index % 3) * np.arange(SEQ_LEN + 1)) % VOCABULARY


def branches(folder: Path, steps: tuple[int, ...] = STEPS, done: tuple[int, ...] = ()) -> list[Branch]:
    return [Branch(f"run{n}", n, folder / f"run{n}", done=n in done) for n in steps]


def train(
    folder: Path,
    todo: list[Branch],
    *,
    trunk: bool = True,
    recipe: dict[str, Any] | None = None,
    every: float = 60.0,
    compile: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Trained]:
    settings = Settings(torch.device("cpu"), compile=compile, checkpoint_every=every)
    return train_family(recipe or RECIPE, todo, batch, folder / "trunk" if trunk else None, settings, Leave(stop))


def weights(trained: Trained) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trained.model.parameters()])


RECIPE = recipe()


def worker(folder: Path) -> None:
    """Train what is missing of the family in `folder` and leave each run's weights there."""
    torch.set_num_threads(1)
    done = tuple(n for n in STEPS if (folder / f"run{n}" / "weights.safetensors").exists())
    for trained in train(folder, branches(folder, done=done), every=0.02):
        save_file({"weights": weights(trained)}, trained.branch.folder / "part")
        (trained.branch.folder / "part").rename(trained.branch.folder / "weights.safetensors")
        forget(trained.branch)
