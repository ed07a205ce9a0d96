"""How fast this machine trains a shape: measured once for a second or two, replaced by what real runs took, kept.

Kept in runs/speed.json, so that a second `ablate plan` measures nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from ablate.model import ladder
from ablate.model.build import build
from ablate.study.grid import Run, digest
from ablate.train.device import describe, pick
from ablate.workspace import Workspace, read_json, write_json

MEASURE_SECONDS = 1.0
LARGEST_MEASURED = 20_000_000
"""Parameters; larger shapes are extrapolated at the FLOP/s of the largest measured one."""
MOST_MEASURED = 4


class Speeds:
    """Tokens a second (or seconds of scoring, or of start-up) by what they depend on, in one small file."""

    def __init__(self, space: Workspace, device: Literal["auto", "cpu", "cuda"]) -> None:
        self.path: Path = space.runs / "speed.json"
        self.device = pick(device)
        self.name = describe(self.device)["device"]
        self.kept: dict[str, dict[str, Any]] = read_json(self.path) or {}

    def key(self, recipe: dict[str, Any]) -> str:
        """Everything that speed depends on, and nothing else."""
        train = recipe["train"]
        return digest([self.name, recipe["model"], recipe["data"]["seq_len"], train["batch_tokens"], train["precision"]])

    def learn(self, recipe: dict[str, Any], tokens_per_s: float, score_seconds: float, setup_seconds: float) -> None:
        """Keep what a real run took; the last one counts, for it is the most like the next."""
        row = {
            "flops_per_s": tokens_per_s * _flops(recipe),
            "tokens_per_s": tokens_per_s,
            "score_s": score_seconds,
            "setup_s": setup_seconds,
            "from": "a run",
        }
        self.kept[self.key(recipe)] = row

    def save(self) -> None:
        """Keep it on the disk."""
        write_json(self.path, self.kept)

    def measure(self, runs: Sequence[Run]) -> None:
        """Measure shapes that nothing is known of, small ones first, at most MOST_MEASURED of them."""
        unknown = {self.key(r.recipe): r.recipe for r in sorted(runs, key=lambda r: r.params) if self.key(r.recipe) not in self.kept}
        small = [recipe for recipe in unknown.values() if ladder.count(recipe["model"]).total <= LARGEST_MEASURED]
        for recipe in _spread(small, MOST_MEASURED):
            rate = _measure(recipe, self.device)
            self.kept[self.key(recipe)] = {"flops_per_s": rate * _flops(recipe), "tokens_per_s": rate, "from": "a measurement"}
        if small:
            self.save()

    def tokens_per_s(self, recipe: dict[str, Any]) -> float | None:
        """Of this shape, or by the FLOP/s of the fastest one known; None where nothing is known."""
        if row := self.kept.get(self.key(recipe)):
            return float(row["tokens_per_s"])
        known = [float(row["flops_per_s"]) for row in self.kept.values()]
        return max(known) / _flops(recipe) if known else None

    def score_s(self, recipe: dict[str, Any]) -> float | None:
        """Seconds to score one run of this shape, once one has been."""
        return self.kept.get(self.key(recipe), {}).get("score_s")

    def setup_s(self) -> float:
        """Seconds a process takes before its first step, from real jobs; 15 until there was one."""
        known = [row["setup_s"] for row in self.kept.values() if "setup_s" in row]
        return max(known) if known else 15.0


def _flops(recipe: dict[str, Any]) -> int:
    return ladder.flops_per_token(recipe["model"], recipe["data"]["seq_len"])


def _spread(recipes: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most `most` of them, evenly spaced, first and last included."""
    if len(recipes) <= most:
        return recipes
    return [recipes[round(i * (len(recipes) - 1) / (most - 1))] for i in range(most)]


def _measure(recipe: dict[str, Any], device: torch.device) -> float:
    """Tokens a second of plain training steps on one thread: a lower bound, since jobs may compile."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = build(recipe["model"], seed=0).to(device).train()
        seq_len, batch = recipe["data"]["seq_len"], recipe["train"]["batch_tokens"]
        rows = max(1, min(batch // seq_len, 8))
        ids = torch.randint(recipe["model"]["vocab_size"], (rows, seq_len), device=device)
        optimizer = torch.optim.AdamW(model.parameters())
        steps, began, spent = 0, time.perf_counter(), 0.0
        while spent < MEASURE_SECONDS or steps < 3:
            model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if steps == 0:
                began = time.perf_counter()  # the first step pays for allocations
            steps += 1
            spent = time.perf_counter() - began
        return float((steps - 1) * rows * seq_len / spent)
    finally:
        torch.set_num_threads(threads)
