"""`python -m ablate.measure DEVICE`: recipes as JSON on standard input → tokens a second of each, as JSON.

Plain training steps, not compiled: a lower bound for what a job does.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch

from ablate.model.build import build

MEASURE_SECONDS = 1.0
MOST_SEQUENCES = 8


def tokens_per_s(recipe: dict[str, Any], device: torch.device) -> float:
    """Training speed of one shape; the first step is not counted, for it pays for allocations."""
    model = build(recipe["model"], seed=0).to(device).train()
    seq_len = recipe["data"]["seq_len"]
    rows = max(1, min(recipe["train"]["batch_tokens"] // seq_len, MOST_SEQUENCES))
    ids = torch.randint(recipe["model"]["vocab_size"], (rows, seq_len), device=device)
    optimizer = torch.optim.AdamW(model.parameters())
    _step(model, optimizer, ids)
    steps, began = 0, time.perf_counter()
    while steps < 2 or time.perf_counter() - began < MEASURE_SECONDS:
        _step(model, optimizer, ids)
        steps += 1
    return float(steps * rows * seq_len / (time.perf_counter() - began))


def _step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, ids: torch.Tensor) -> None:
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if ids.is_cuda:
        torch.cuda.synchronize()


if __name__ == "__main__":
    print(json.dumps([tokens_per_s(recipe, torch.device(sys.argv[1])) for recipe in json.load(sys.stdin)]))
