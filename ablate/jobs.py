"""Which families go into one job, and in what order jobs start."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ablate.study import grid


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
