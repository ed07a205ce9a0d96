"""How fast this machine trains a shape: measured once for a second or two, replaced by what real runs took, kept.

Kept in runs/speed.json, so that a second `ablate plan` measures nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from ablate.errors import RunError
from ablate.model import ladder
from ablate.study.grid import Run, digest
from ablate.train.device import describe, pick
from ablate.workspace import Workspace, read_json, write_json

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
        before = self.kept.get(self.key(recipe), {})
        setup_seconds = max(setup_seconds, before.get("setup_s", 0.0))  # charged to the first run of a process only
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
        chosen = _spread(small, MOST_MEASURED)
        for recipe, rate in zip(chosen, _measured(chosen, self.device), strict=True):
            self.kept[self.key(recipe)] = {"flops_per_s": rate * _flops(recipe), "tokens_per_s": rate, "from": "a measurement"}
        if chosen:
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


def _measured(recipes: list[dict[str, Any]], device: torch.device) -> list[float]:
    """In a process of its own on one thread, as jobs have, so that the driver need not load the modelling code."""
    if not recipes:
        return []
    process = subprocess.run(
        [sys.executable, "-m", "ablate.measure", device.type],
        input=json.dumps(recipes), capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if process.returncode:
        raise RunError(f"measuring the speed of this machine failed: {process.stderr.strip().splitlines()[-1:]}")
    return [float(rate) for rate in json.loads(process.stdout)]
