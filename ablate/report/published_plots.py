"""`ablate plot --figure published`: the article's comparison redrawn from published results, one figure an axis. Ink only."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablate.report import ink, labels, published
from ablate.study.quantities import format_count

PHI, REST, UNNAMED = "#d55e00", "#4a5560", "#b8bfc6"
AGAINST = {"params": "parameters", "tokens": "training tokens", "flops": "6ND"}
MARKERS = {"phi-1.5": "o", "phi-1": "s", "article": "D"}
SMALL: dict[str, Any] = {"fontsize": 10, "handletextpad": 0.4}
COLUMNS = 4
HEIGHT = 2.9
SPAN = 0.2
"""Least difference of scores that a panel shows from bottom to top: a gap of .01 must not look like one of .3."""


def draw(folder: Path) -> list[Path]:
    """published_params, published_tokens and published_flops into `folder`; the paths written. Needs no results.db."""
    paths = []
    for axis in published.AXES:
        table, missing = published.along(axis)
        with ink.style():
            paths += ink.write(folder / f"published_{axis}", figure(table, axis, missing), table.drop("x"))
    return paths


def figure(table: pl.DataFrame, axis: str, missing: list[str]) -> Figure:
    """Published scores against one of published.AXES: a panel a benchmark, one metric a panel, the phi models highlighted."""
    rows = -(-len(published.PANELS) // COLUMNS)
    caption = _caption(axis, missing)
    foot = 0.6 + 0.16 * (caption.count("\n") + 1)
    width, height = 4.1 * COLUMNS, HEIGHT * rows + 0.35 + foot
    drawn = Figure(figsize=(width, height))
    drawn.suptitle(f"Published by others, not measured here: scores against {AGAINST[axis]}", y=1 - 0.08 / height, **ink.TITLE)
    grid = drawn.subplots(rows, COLUMNS, squeeze=False)
    drawn.subplots_adjust(left=0.5 / width, right=1 - 0.1 / width, top=1 - 0.7 / height, bottom=foot / height, wspace=0.15, hspace=0.25)
    panels, spare = list(grid.flat)[: len(published.PANELS)], list(grid.flat)[len(published.PANELS) :]
    for panel, (benchmark, (title, metric, chance)) in zip(panels, published.PANELS.items(), strict=True):
        _panel(panel, table.filter(pl.col("benchmark") == benchmark), axis, chance)
        panel.set_title(f"{title}, {metric}")
    for panel in panels[-COLUMNS:]:
        panel.set_xlabel(published.AXES[axis])
    drawn.text(0.005, 0.1 / height, caption, ha="left", va="bottom", fontsize=8.5, color="#444444")
    _legend(spare[0])
    for panel in spare:
        panel.set_axis_off()
    return drawn


def _legend(free: Axes) -> None:
    """In the room that the panels leave."""
    handles = [
        (Line2D([], [], color=PHI, marker="o", linestyle="none"), "phi models"),
        (Line2D([], [], color=REST, marker="o", linestyle="none"), "run by the phi-1.5 paper"),
        (Line2D([], [], color=REST, marker="s", linestyle="none"), "listed by the phi-1 paper, self-reported"),
        (Line2D([], [], color=UNNAMED, marker="s", linestyle="none"), "others of that list, in the CSV"),
        (Line2D([], [], color=REST, marker="D", linestyle="none"), "told by the article"),
        (ink.chance(), "chance"),
    ]
    free.legend([h for h, _ in handles], [t for _, t in handles], loc="upper left", frameon=False, **SMALL)


def _panel(panel: Axes, points: pl.DataFrame, axis: str, chance: float | None) -> None:
    names = []
    if chance is not None:
        panel.axhline(chance, zorder=1, **ink.CHANCE)
    for row in points.iter_rows(named=True):
        colour = PHI if row["phi"] else REST if row["named"] else UNNAMED
        marker = "v" if row["bound"] == "<" else MARKERS[row["origin"]]
        panel.plot([row["x"]], [row["value"]], marker, color=colour, markersize=5.5 if row["phi"] else 4.5, zorder=4 if row["phi"] else 3)
        if row["named"]:
            names.append(labels.Named(row["x"], row["value"], f"{row['bound']} {row['system']}".strip(), colour, bold=row["phi"]))
    xs = points["x"].to_list()
    ink.log_ticks(panel, min(xs) / 1.4, max(xs) * 1.4, xs, _power if axis == "flops" else lambda x: format_count(round(x)), most=3)
    labels.make_room(panel, xs, share=0.36)
    panel.margins(y=0.12)
    panel.tick_params(labelsize=8.5)
    low, high = panel.get_ylim()
    more = max(0.0, SPAN - (high - low)) / 2
    panel.set_ylim(low - more, high + more)
    labels.write(panel, names, xs, height=HEIGHT * 0.8)


def _power(x: float) -> str:
    return f"{x:.0e}".replace("e+", "e")


def _caption(axis: str, missing: list[str]) -> str:
    lines = [
        "Sources: arXiv:2309.05463 Tab.2-4 (LM-Eval by its authors, plain accuracy, 0-shot but for MMLU; pass@1 0-shot) and "
        "arXiv:2306.11644 Tab.1 (scores as their makers report them; its token counts are sizes of data sets as printed). "
        "A triangle is an upper bound. Every figure with its citation is in the CSV beside this file.",
        "AGIEval: the two figures that the article (QbitAI, 2023-09-25) tells; their origin was not found, and Llama 2's card has others.",
    ]
    if missing:
        lines.append(f"Left out for want of a published count ({len(missing)}): {', '.join(missing)}.")
    if axis != "params":
        lines.append("phi-1.5 saw 150B tokens (30B, 5 passes), phi-1.5-web 300B (100B, 3 passes), phi-1 about 51B.")
    return "\n".join(textwrap.fill(line, 250) for line in lines)
