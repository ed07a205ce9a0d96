"""Simulated studies: the tables of a study whose truth is known. Not a test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from ablate.report.effects import Answers
from ablate.report.frames import ANSWERS, ATTEMPTS, BASELINES, CURVES, RUNS, SCORES, TEXTS, USAGE, Frames, table

SIZES, BUDGETS = (100_000, 300_000, 1_000_000), (250_000, 500_000, 1_000_000)
TEXTBOOK = ((0.11, 0.31, 0.58), (0.17, 0.36, 0.59), (0.18, 0.47, 0.70))
WEB = ((-0.02, 0.05, 0.15), (0.03, 0.09, 0.23), (0.05, 0.13, 0.30))
"""True scores by size and budget: a prototype's, measured on small embedded corpora."""
BENCHMARKS = {"kinds": 0.25, "stories": 0.5, "sums": 0.25, "grammar": 0.5, "compare": 0.5}


def study(
    sizes: Sequence[int] = SIZES,
    budgets: Sequence[int] = BUDGETS,
    ratios: Sequence[float] = (0.0, 0.5, 1.0),
    seeds: Sequence[int] = (0, 1),
    sd: float = 0.04,
    null: bool = False,
    unfinished: Sequence[tuple[int, int, float, int]] = (),
    extra: Sequence[Mapping[str, Any]] = ({},),
) -> Frames:
    """A study like the shipped one; `null` gives every arm the web's scores; unfinished: (params, tokens, ratio, seed) left pending."""
    rng = np.random.default_rng(7)
    parts: dict[str, list[Any]] = {k: [] for k in ("runs", "scores", "answers", "curves", "texts", "usage", "attempts")}
    hard = {name: rng.normal(0, 0.05, 12) for name in BENCHMARKS}
    for more, (i, params), (j, tokens), ratio, seed in product(extra, enumerate(sizes), enumerate(budgets), ratios, seeds):
        run = f"{len(parts['runs']):016x}"
        web, textbook = WEB[i % 3][j % 3], TEXTBOOK[i % 3][j % 3]
        skill = web + (0 if null else ratio**0.7 * (textbook - web)) + rng.normal(0, sd)
        factors = {"params": params, "tokens": tokens, "synthetic_ratio": ratio, **more}
        flops = 6.0 * (params * 1.1 + 90_000) * tokens
        done = (params, tokens, ratio, seed) not in unfinished
        bits = 2.6 - 0.5 * skill + 0.3 * abs(np.log10(more.get("train.lr", 0.004) / 0.004))
        ended = [flops, flops / 2e14, skill, bits, "done", "CPU", None, 0.0, params * 2] if done else [*[None] * 4, "pending", *[None] * 4]
        parts["runs"].append([run, params, tokens, ratio, seed, json.dumps(factors), *ended])
        if done:
            _finished(parts, rng, hard, run, skill, (params, tokens, ratio), tokens == max(budgets))
    schemas = {"runs": RUNS, "scores": SCORES, "answers": ANSWERS, "curves": CURVES, "texts": TEXTS, "usage": USAGE, "attempts": ATTEMPTS}
    tables = {name: table(schemas[name], rows) for name, rows in parts.items()}
    return Frames("simulated", clean=tables["answers"], baselines=table(BASELINES), **tables)


def _finished(parts: Any, rng: Any, hard: Any, run: str, skill: float, cell: tuple[int, int, float], largest: bool) -> None:
    params, tokens, ratio = cell
    for (name, chance), register, fresh in product(BENCHMARKS.items(), ("textbook", "page"), (False, True) if largest else (False,)):
        style = 0.04 if (register == "textbook") == (ratio > 0.5) else -0.02
        p = np.clip(chance + (1 - chance) * (skill + style + hard[name]), 0.02, 0.98)
        right = rng.binomial(25, p)
        score = right.sum() / 300
        bits = 1.5 - 0.9 * skill
        row = [run, name, register, fresh, score, (score * (1 - score) / 300) ** 0.5, chance, 300, score, 300]
        parts["scores"].append([*row, "acc", -5 * bits, bits, f"{name} {register}{' fresh' * fresh}"])
        if not fresh:
            parts["answers"] += [[run, name, register, f"{name} {k}", int(r), 25] for k, r in enumerate(right)]
    steps = np.unique(np.linspace(1, tokens // 512, 200).astype(int))
    floor = 3.2 - 1.2 * skill - 0.15 * np.log10(params / 1e5)
    losses = floor + 4 * np.exp(-steps / 60) + 1.2 * (steps + 1.0) ** -0.3 + rng.normal(0, 0.06, len(steps))
    parts["curves"] += [[run, int(s), int(s) * 512, float(x)] for s, x in zip(steps, losses, strict=True)]
    for text, own in (("neutral", 0.0), ("synthetic", -0.4 * ratio), ("web", 0.3 * ratio)):
        parts["texts"].append([run, text, 2.6 - 0.5 * skill + own])
    parts["attempts"].append([run, "local", 1, True, 1, False, "torch", "2.13.0", '{"torch": "2.13.0"}'])
    for source, share in (("synthetic", ratio), ("web", 1 - ratio)):
        if share:
            parts["usage"].append([run, source, int(tokens * share), int(tokens * share * 2.9), 1.0])


def answers(rng: np.random.Generator, seeds: int, gain: float = 0.0, sizes: int = 3, arms: int = 3) -> tuple[Answers, int, int]:
    """Arrays of a simulated study, its dearest synthetic cell and its reference, truly `gain` apart.

    A run's skill is its cell's mean + its seed's block effect + noise, 70% of it shared by the three budgets of a trunk and
    larger where more was learned; then items are drawn, templates differing in difficulty and in what each (size, arm) makes of them."""
    budget, group = np.tile(np.arange(3), sizes * arms), np.repeat(np.arange(sizes * arms), 3)
    noise = 0.7**0.5 * rng.normal(0, 1, (sizes * arms, seeds))[group] + 0.3**0.5 * rng.normal(0, 1, (len(group), seeds))
    spread = np.array([0.04, 0.06, 0.08])[budget, None]
    skill = (0.25 + 0.1 * budget + gain * (group % arms > 0))[:, None] + rng.normal(0, 0.05, seeds) + spread * noise
    gains, items = [], []
    for _ in range(5):
        template = rng.normal(0, 0.08, 12) + rng.normal(0, 0.05, (sizes * arms, 12))[group]
        right = rng.binomial(25, np.clip(0.25 + 0.75 * (skill[:, :, None] + template[:, None, :]), 0.02, 0.98))
        gains.append((right - 0.25 * 25) / 0.75)
        items.append(np.full(12, 25.0))
    return Answers(tuple(gains), tuple(items), group, budget), len(group) - 1, len(group) - 3 * (arms - 1) - 1
