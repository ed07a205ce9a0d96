"""What the text of the compared cells cost to generate, beside what training on it took: a claim with and without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from ablate.report.frames import Frames


@dataclass(frozen=True)
class Hours:
    """Of a cell, means over its runs. training: GPU-hours, None where it did not run on a GPU. text: GPU-hours that its different
    tokens took to generate, None where a source states no cost."""

    training: float | None
    text: float | None

    @property
    def together(self) -> float | None:
        return None if self.training is None or self.text is None else self.training + self.text


def hours(frames: Frames, runs: list[str]) -> Hours:
    mine = frames.runs.filter(pl.col("run").is_in(runs))
    return Hours(*(_mean(mine[name]) for name in ("gpu_hours", "data_gpu_hours")))


def _mean(column: pl.Series) -> float | None:
    """None where any value is unknown."""
    mean: Any = column.mean()
    return None if mean is None or column.null_count() else float(mean)


def sentence(cell: Hours, reference: Hours) -> str | None:
    """The claim's costs with the text in words; None where no text cost anything."""
    if cell.text is None or reference.text is None:
        return "What the text cost to generate is not known (a source states no cost:), so this is the claim without it."
    if cell.text == reference.text == 0:
        return None
    text = f"The cell's text took {cell.text:.3g} GPU-hours to generate, the reference's {reference.text:.3g}"
    if cell.together is None or reference.together is None:
        return f"{text}; training did not run on a GPU, so it cannot be added to that, and this is the claim without it."
    both, alone = _against(cell.together, reference.together), _against(cell.training, reference.training)
    return f"{text}: with it the cell took {both} the reference's GPU-hours, without it {alone}."


def _against(cell: float | None, reference: float | None) -> str:
    return "an unknown multiple of" if not reference or cell is None else f"{cell / reference:.3g} times"


def planned(costs: Sequence[Mapping[str, float | None]], tokens: Mapping[str, int], epochs: Mapping[str, float]) -> dict[str, float | None]:
    """Source → GPU-hours that the different ones of `tokens` cost to generate, None where its cost is not stated."""
    hours: dict[str, float | None] = {}
    for source, read in tokens.items():
        stated = [own[source] for own in costs if source in own]
        dearest = max((cost for cost in stated if cost is not None), default=None)
        hours[source] = None if dearest is None or None in stated else dearest * read / max(epochs.get(source, 1.0), 1.0) / 1e9
    return hours


def lines(hours: Mapping[str, float | None]) -> list[str]:
    """A line of a plan, where any text costs something or may do so."""
    told = [f"{source} {'unknown (it states no cost:)' if value is None else f'{value:.3g} GPU-hours'}" for source, value in hours.items()]
    return [f"text      cost to generate, of what one run reads at most: {', '.join(told)}"] if any(v != 0 for v in hours.values()) else []
