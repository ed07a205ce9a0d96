"""Names written beside points so that no name covers another: on a logarithmic x axis, in the free room left and right of all points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

SIZE = 7.0
"""Points; a line of text is about 1.35 of its size high."""
POINTS_AN_INCH = 72
_PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 0.3}
"""Behind a name, so that no line of the figure strikes it through."""


@dataclass(frozen=True)
class Named:
    """A point with the name to write beside it."""

    x: float
    y: float
    text: str
    colour: str
    bold: bool = False


def make_room(axis: Axes, xs: Sequence[float], share: float = 0.33) -> None:
    """Limits of the x axis that leave `share` of its width free on each side of the points."""
    low, high = math.log10(min(xs)), math.log10(max(xs))
    span = max(high - low, 0.5)
    middle, width = (low + high) / 2, span / (1 - 2 * share)
    axis.set_xlim(10 ** (middle - width / 2), 10 ** (middle + width / 2))


def write(axis: Axes, points: Sequence[Named], xs: Sequence[float], height: float) -> None:
    """Write the names left and right of all points, those at `xs` without a name included. The limits of both axes must stand
    (`make_room`). height: of the axes, inches."""
    if not points:
        return
    (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
    logs = [math.log10(p.x) for p in points]
    edges, middle = (math.log10(min(xs)), math.log10(max(xs))), (min(logs) + max(logs)) / 2
    gap = 1.35 * SIZE / POINTS_AN_INCH / height * (high - low)
    away = 0.02 * (math.log10(right) - math.log10(left))
    for side, edge, align in ((-1, edges[0], "right"), (1, edges[1], "left")):
        mine = [p for p, x in zip(points, logs, strict=True) if (x < middle) == (side < 0)]
        at = 10 ** (edge + side * 2.5 * away)
        for point, y in zip(mine, spread([p.y for p in mine], gap, low + gap / 2, high - gap / 2), strict=True):
            style: dict[str, Any] = {"color": point.colour, "fontsize": SIZE, "fontweight": "bold" if point.bold else "normal"}
            axis.plot([point.x, 10 ** (edge + side * 2 * away)], [point.y, y], color=point.colour, linewidth=0.5, alpha=0.5, zorder=1)
            axis.text(at, y, point.text, ha=align, va="center", bbox=_PAPER, **style)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places in the order of `wanted`, at least `gap` apart and as near to it as that allows (least squares, by pooling adjacent
    violators), shifted into [low, high] where they fit there."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    blocks: list[tuple[float, int]] = []
    for k, i in enumerate(order):
        total, count = wanted[i] - k * gap, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / count:
            before = blocks.pop()
            total, count = total + before[0], count + before[1]
        blocks.append((total, count))
    starts = [total / count for total, count in blocks for _ in range(count)]
    top = high - (len(wanted) - 1) * gap
    places = [0.0] * len(wanted)
    for k, i in enumerate(order):
        places[i] = max(min(starts[k], top), low) + k * gap
    return places
