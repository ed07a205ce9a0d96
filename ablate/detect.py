"""The smallest difference that a study can detect: from how much its own finished runs vary, or from what is usual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ablate.report import cells, frames
from ablate.report.effects import block_variance, smallest_detectable_difference
from ablate.store.store import Store
from ablate.study import grid, spec
from ablate.workspace import Workspace

SEED_SD, ITEM_SE = 0.08, 0.02
"""Assumed: s.d. over seeds of a paired difference, standard error of the items (about those of the shipped study)."""
FEWEST_DF = 4
"""Degrees of freedom below which an estimate of the spread says less than the assumption."""


@dataclass(frozen=True)
class Detectable:
    """A difference in mean score between two cells, with 80% power at the 5% level."""

    difference: float
    seed_sd: float
    measured: bool
    """Whether seed_sd is that of finished runs of this study."""


def detectable(study: spec.Study, runs: Sequence[grid.Run], space: Workspace) -> Detectable:
    """For the study as it is written."""
    found = _spread(study.name, space)
    seed_sd = SEED_SD if found is None else found
    groups = len({(r.params, r.factors["synthetic_ratio"]) for r in runs})
    difference = smallest_detectable_difference(groups, len(study.seeds), seed_sd, ITEM_SE)
    return Detectable(difference, seed_sd, found is not None)


def _spread(study: str, space: Workspace) -> float | None:
    """S.d. over seeds of the difference of two single runs, √2 times a run's own; None where too few runs repeat a seed."""
    if not space.database.exists():
        return None
    answers = [grid.answers for grid in cells.grids(frames.read(Store.read_only(space.database), study)) if grid.cells]
    variances = [v for v in (block_variance(a.scores, a.groups) for a in answers) if v is not None and v.df >= FEWEST_DF]
    best = max(variances, key=lambda v: v.df, default=None)
    return None if best is None else float((2 * best.value) ** 0.5)
