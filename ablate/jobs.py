"""Which families go into one job, in what order jobs start, and which families of a job are trained at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ablate.study import grid
from ablate.workspace import Workspace, read_json, write_json

Rows = list[dict[str, Any]]
"""The runs of one family, as they stand in job.json."""


_PACK = "pack.json"


def jobs_of(runs: Sequence[grid.Run], slots: int) -> list[list[grid.Family]]:
    """Jobs in the order to start them: families of one shape share a process, so that its kernels are compiled once.

    Each shape is cut into as many jobs as there are slots, filled evenly, and the longest start first, so that no
    slot idles at the end; but the first ones are of different shapes, so that no two compile the same kernels at once.
    """
    shapes: dict[str, list[grid.Family]] = {}
    for family in grid.families(runs):
        shapes.setdefault(grid.digest(family.runs[0].recipe["model"]), []).append(family)
    jobs = sorted((job for families in shapes.values() for job in _cut(families, slots)), key=_cost, reverse=True)
    first = {grid.digest(job[0].runs[0].recipe["model"]): job for job in reversed(jobs)}
    openers = sorted(first.values(), key=_cost, reverse=True)[:slots]
    return openers + [job for job in jobs if job not in openers]


def packs_of(
    families: Sequence[Rows], asked: str | int, device: str, space: Workspace, choose: Callable[[dict[str, Any], int], int]
) -> Iterator[tuple[int, list[Rows]]]:
    """(models at once, families) of each pack; a pack of 1 is one family, and one of k takes the next where one has ended.

    `choose(recipe, families)` is what `auto` does on a GPU. What was decided for a family is kept in its folder while
    launch.pack and the kind of device stay as they were, so that a job which goes on after a kill makes the same numbers.
    """
    if asked == "none" or (asked, device) == ("auto", "cpu"):
        yield from ((1, [runs]) for runs in families)
        return
    groups: dict[tuple[str, int | None], list[Rows]] = {}
    for runs in families:
        kept = read_json(space.family(runs[0]["family"]) / _PACK) or {}
        fixed = kept.get("pack") if (kept.get("asked"), kept.get("device")) == (asked, device) else None
        groups.setdefault((_stack(runs[0]["recipe"]), fixed), []).append(runs)
    for (_, fixed), group in groups.items():
        pack = fixed or (min(asked, len(group)) if isinstance(asked, int) else choose(group[0][0]["recipe"], len(group)))
        for runs in group:
            write_json(space.family(runs[0]["family"]) / _PACK, {"pack": pack, "asked": asked, "device": device})
        yield from [(pack, group)] if pack > 1 else [(1, [runs]) for runs in group]


def _stack(recipe: dict[str, Any]) -> str:
    """What families must agree in to be stacked: shape, batch and precision. Seeds, rates, decay and data may differ."""
    train = recipe["train"]
    return grid.digest([recipe["model"], recipe["data"]["seq_len"], train["batch_tokens"], train["precision"]])


def _cut(families: Sequence[grid.Family], slots: int) -> list[list[grid.Family]]:
    bins: list[list[grid.Family]] = [[] for _ in range(min(slots, len(families)))]
    for family in sorted(families, key=lambda f: _cost([f]), reverse=True):
        min(bins, key=_cost).append(family)
    return bins


def _cost(job: Sequence[grid.Family]) -> float:
    """In proportion to its FLOPs, near enough to order jobs by."""
    return sum(float(family.runs[-1].params * family.runs[-1].tokens) for family in job)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
