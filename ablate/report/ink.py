"""What all figures share: style, panels, legends, axes, and how a figure is written. Ink only; the numbers come from tables.

Colours are the arm (seaborn's colour-blind-safe palette) or, where sizes are told apart, a size; shape always repeats the size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import polars as pl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ablate.study.quantities import format_count
from ablate.workspace import renamed_into_place

DPI = 160
CHANCE: dict[str, Any] = {"color": "#444444", "linewidth": 1, "linestyle": (0, (4, 3))}
MARKERS = "osD^vPX*"
STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e6e6e6",
    "svg.hashsalt": "ablate",
}
TITLE: dict[str, Any] = {"x": 0.005, "ha": "left", "fontsize": 12}
SCORE = "score (0 = chance, 1 = all right)"
OTHERS = "#555555"
"""Colour of what was not trained by the study: baselines, and (hollow) what others published."""


@contextmanager
def style() -> Iterator[None]:
    base: dict[Any, Any] = sns.axes_style("whitegrid")
    base.update(STYLE)
    with matplotlib.rc_context(base):
        yield


def write(stem: Path, figure: Figure, table: pl.DataFrame) -> list[Path]:
    """The figure as PNG and SVG and its table as CSV, each renamed into place; their paths."""
    FigureCanvasAgg(figure)
    if engine := figure.get_layout_engine():
        engine.execute(figure)
    figure.set_layout_engine("none")  # laid out once, so that PNG and SVG agree
    paths = [stem.with_suffix(suffix) for suffix in (".png", ".svg", ".csv")]
    for path in paths[:2]:
        metadata: dict[str, Any] = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        with renamed_into_place(path) as part:
            figure.savefig(part, format=path.suffix[1:], dpi=DPI, metadata=metadata)
    with renamed_into_place(paths[2]) as part:
        table.write_csv(part)
    return paths


def panels(many: int, title: str, width: float = 3.3, height: float = 3.8, rows: int = 1, sharey: bool = True) -> tuple[Figure, list[Axes]]:
    """A figure with room for a legend at its right, and `many` axes in `rows` rows."""
    columns = -(-many // rows)
    figure = Figure(figsize=(max(width * columns, 5.2) + 2.2, height * rows), layout="constrained")
    figure.suptitle(title, **TITLE)
    grid = figure.subplots(rows, columns, sharey=sharey, squeeze=False)
    for spare in list(grid.flat)[many:]:
        spare.set_axis_off()
    return figure, list(grid.flat)[:many]


def line(axis: Axes, points: pl.DataFrame, x: str, y: str, colour: Any, markers: Sequence[str]) -> None:
    """A line with its band from `low` to `high`; a marker for all points, or one for each."""
    axis.plot(points[x], points[y], color=colour, linewidth=1.4)
    for i, (at, value) in enumerate(zip(points[x], points[y], strict=True)):
        shape = markers[i % len(markers)]
        axis.plot([at], [value], color=colour, marker=shape, markersize=6.5, markeredgecolor="white", markeredgewidth=0.6)
    if len(points) > 1:
        axis.fill_between(points[x], points["low"], points["high"], color=colour, alpha=0.15, linewidth=0)
    else:
        axis.vlines(points[x], points["low"], points["high"], color=colour, alpha=0.4, linewidth=3)


def heatmap(axis: Axes, grid: Sequence[Sequence[float]], columns: Sequence[str], rows: Sequence[str], **options: Any) -> None:
    """One colour a cell, each annotated with its value; nan stays grey."""
    notes = [["" if x != x else f"{x:z.2f}" for x in row] for row in grid]
    sns.heatmap(
        grid, ax=axis, annot=notes, fmt="", cmap="YlGnBu", linewidths=1, xticklabels=columns, yticklabels=rows,
        cbar_kws={"label": "score"}, **options,
    )  # fmt: skip
    axis.set_facecolor("#d9d9d9")


def arm(ratio: float) -> str:
    """How legends and titles call an arm."""
    return f"synthetic_ratio {ratio:.3g}" + {0.0: " (web)", 1.0: " (synthetic)"}.get(ratio, "")


def arm_colours(table: pl.DataFrame) -> dict[float, Any]:
    """synthetic_ratio → colour; the first and the last arm keep theirs whatever lies between."""
    arms = table["synthetic_ratio"].unique().sort().to_list()
    palette = sns.color_palette("colorblind")
    if len(arms) > 6:
        return dict(zip(arms, sns.color_palette("viridis", len(arms)), strict=True))
    between = [palette[i] for i in (2, 4, 7, 9)]
    return {a: palette[0] if i == 0 else palette[1] if i == len(arms) - 1 else between[i - 1] for i, a in enumerate(arms)}


def size_colours(sizes: Sequence[int]) -> dict[int, Any]:
    return dict(zip(sizes, sns.color_palette("viridis", len(sizes)), strict=True))


def size_markers(table: pl.DataFrame) -> dict[int, str]:
    return {size: MARKERS[i % len(MARKERS)] for i, size in enumerate(table["params"].unique().sort())}


def legend(figure: Figure, colours: dict[float, Any], markers: dict[int, str], extra: Sequence[tuple[Any, str]], note: str) -> None:
    """The legend of arms and sizes at the right, with `extra` entries and a note above."""
    handles: list[tuple[Any, str]] = [(Line2D([], [], color=c, linewidth=2.5), arm(a)) for a, c in reversed(colours.items())]
    shapes = ((s, Line2D([], [], color="#555555", marker=m, linestyle="none")) for s, m in reversed(markers.items()))
    handles += [(shape, f"{format_count(s)} params") for s, shape in shapes]
    outside(figure, [*handles, *extra], note)


def outside(figure: Figure, handles: Sequence[tuple[Any, str]], note: str) -> None:
    lines, labels = [h for h, _ in handles], [label for _, label in handles]
    box = figure.legend(lines, labels, loc="outside right upper", frameon=False, title=note, alignment="left", labelspacing=0.6)
    box.get_title().set(fontsize=8.5, color="#555555")


def ring(colour: str) -> Line2D:
    return Line2D([], [], marker="o", markersize=13, markerfacecolor="none", markeredgecolor=colour, markeredgewidth=1.8, linestyle="none")


def hollow(marker: str, colour: Any = OTHERS) -> Line2D:
    return Line2D([], [], marker=marker, markersize=6, markerfacecolor="white", markeredgecolor=colour, linestyle="none")


def chance() -> Line2D:
    return Line2D([], [], **CHANCE)


def score_axis(axis: Axes, table: pl.DataFrame) -> None:
    """The chance line and room around it, so that scores at chance do not fill the figure."""
    low, high = float(table["low"].min()), float(table["high"].max())  # type: ignore[arg-type]
    axis.axhline(0, **CHANCE)
    axis.set(ylabel=SCORE, ylim=(min(low, 0) - 0.05, max(high, 0.1) + 0.05))


def count_axis(axis: Axes, counts: Sequence[int]) -> None:
    """A logarithmic x axis whose ticks are the counts that occur, as people write them."""
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(sorted(set(counts))))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: format_count(x)))
    axis.set_xlim(min(counts) / 1.5, max(counts) * 1.5)


def flops_axis(axis: Axes, values: list[float]) -> None:
    """A logarithmic x axis with three ticks or more, also over less than a decade."""
    low, high = min(values) / 1.35, max(values) * 1.35
    log_ticks(axis, low, high, sorted(set(values)), lambda x: f"{x:.2g}".replace("e+", "e"))
    axis.set_xlim(low, high)


def log_ticks(axis: Axes, low: float, high: float, otherwise: Sequence[float], text: Callable[[float], str], most: int = 5) -> None:
    """A logarithmic x axis with up to `most` ticks between `low` and `high`, or, where no round number lies there, `otherwise`."""
    exponents = range(int(f"{low:e}".split("e")[1]), int(f"{high:e}".split("e")[1]) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5)):
        ticks = [m * 10.0**e for e in exponents for m in steps if low <= m * 10.0**e <= high]
        if len(ticks) >= 3:
            break
    axis.set_xscale("log")
    ticks = ticks[:: -(-len(ticks) // most)] if ticks else ticks
    axis.xaxis.set_major_locator(FixedLocator(ticks or otherwise))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: text(x)))
