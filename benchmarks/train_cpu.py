"""Training steps on one CPU thread: ours (compiled, bf16 where the CPU multiplies it) against transformers' Llama as it comes.

The rival is an eager float32 loop with torch's fused AdamW and gradient clipping, on the same shapes, batch and tokens.
Both sides take turns in one process; medians of the rounds. Last come the lines `NAME ratio VALUE`.

    python benchmarks/train_cpu.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ablate.model import ladder
from ablate.model.build import build
from ablate.train import device
from ablate.train.engine import Engine

SIZES = (100_000, 300_000, 1_000_000)
SEQ_LEN, BATCH_TOKENS, VOCABULARY = 128, 512, 1024
ROUNDS, ROUND_SECONDS = 5, 2.0
CPU = torch.device("cpu")


def recipe(params: int) -> dict[str, Any]:
    return {
        "seed": 0,
        "model": ladder.shape(params, VOCABULARY, SEQ_LEN, tie_word_embeddings=True),
        "data": {"seq_len": SEQ_LEN},
        "train": {
            "optimizer": {"name": "adamw", "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1},
            "lr": 0.004,
            "batch_tokens": BATCH_TOKENS,
            "clip": 1.0,
            "precision": device.precision(params, CPU),
        },
    }


def ours(made: dict[str, Any]) -> Callable[[], None]:
    engine = Engine(made, CPU, compile=device.can_compile())
    batch = np.random.default_rng(0).integers(VOCABULARY, size=(BATCH_TOKENS // SEQ_LEN, SEQ_LEN + 1))
    engine.prepare()
    return lambda: float(engine.step(batch, 1.0)[0]) and None


def rival(made: dict[str, Any]) -> Callable[[], None]:
    model = build(made["model"], seed=0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.004, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    ids = torch.randint(VOCABULARY, (BATCH_TOKENS // SEQ_LEN, SEQ_LEN))

    def step() -> None:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def tokens_per_s(step: Callable[[], None]) -> float:
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < ROUND_SECONDS:
        step()
        steps += 1
    return steps * BATCH_TOKENS / (time.perf_counter() - began)


def main() -> None:
    torch.set_num_threads(1)
    lines = []
    for params in SIZES:
        made = recipe(params)
        a, b = ours(made), rival(made)
        pairs = [(tokens_per_s(a), tokens_per_s(b)) for _ in range(ROUNDS)]
        mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        print(f"{params:>9,} params: ours {mine:,.0f} tokens/s ({made['train']['precision']}), transformers eager {theirs:,.0f} tokens/s")
        lines.append(f"train_cpu_{params} ratio {statistics.median(x / y for x, y in pairs):.2f}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
