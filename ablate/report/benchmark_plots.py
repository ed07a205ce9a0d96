"""The figures that take benchmarks apart: by arm, by size, by what was learned below accuracy, and beside other models."""

from __future__ import annotations

from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from ablate.report import ink, labels
from ablate.study.quantities import format_count

AT_CHANCE = "hollow: at chance (lower\nend of the 95% interval\nis not above it)"
_OF_OTHERS = "benchmarks made by others"
_HATCH: dict[str, Any] = {"hatch": "////", "edgecolor": "#777777", "linewidth": 0.0}
_COLUMNS = 4


def benchmarks(table: pl.DataFrame) -> Figure:
    """Accuracy by benchmark: a panel a register, arms side by side, baselines at their right, chance marked for each."""
    registers = table["register"].unique(maintain_order=True).to_list()
    asked = {r: table.filter(pl.col("register") == r)["benchmark"].unique().sort().to_list() for r in registers}
    most = max(len(names) for names in asked.values())
    rows = len(registers) if most > 5 else 1
    own = table.filter(pl.col("baseline") == "")
    title = f"Accuracy by benchmark: {format_count(own['params'][0])} params, {format_count(own['tokens'][0])} tokens"
    figure, axes = ink.panels(len(registers), title, width=1.6 + 0.75 * most, height=4.4, rows=rows)
    colours = ink.arm_colours(own)
    slots = [*colours, *table.filter(pl.col("baseline") != "")["baseline"].unique().sort()]
    shapes = dict(zip(slots[len(colours) :], ink.MARKERS[1:] * len(slots), strict=False))
    for axis, (register, names) in zip(axes, asked.items(), strict=True):
        part = table.filter(pl.col("register") == register)
        for row in part.iter_rows(named=True):
            slot = row["baseline"] or row["synthetic_ratio"]
            x = names.index(row["benchmark"]) + (slots.index(slot) - (len(slots) - 1) / 2) * 0.7 / len(slots)
            _accuracy(axis, x, row, colours.get(slot, ink.OTHERS), shapes.get(slot, "o"))
        for name, chance in part.drop_nulls("chance").select("benchmark", "chance").unique().iter_rows():
            axis.plot([names.index(name) - 0.42, names.index(name) + 0.42], [chance] * 2, zorder=1, **ink.CHANCE)
        metrics = dict(part.select("benchmark", "metric").iter_rows())
        ticks = [name if metrics[name] == "acc" else f"{name} ({metrics[name]})" for name in names]
        axis.set(title=_OF_OTHERS if register == "published" else f"{register} register", xlim=(-0.6, len(names) - 0.4), ylim=(0, 1.02))
        axis.set_xticks(range(len(names)), ticks, rotation=30, ha="right", rotation_mode="anchor")
        axis.grid(False, axis="x")
    for axis in axes[:: len(registers) // rows]:
        axis.set_ylabel("accuracy")
    extra = [(Line2D([], [], color=ink.OTHERS, marker=shapes[s], linestyle="none"), f"{s} (baseline)") for s in shapes]
    extra += [(ink.hollow("o"), AT_CHANCE)] if table["at_chance"].any() else []
    note = "dot: mean over seeds\nbar: 95% over items\ndashes: lowest and\nhighest seed"
    ink.legend(figure, colours, {}, [*extra, (ink.chance(), "chance")], note)
    return figure


def _accuracy(axis: Axes, x: float, row: dict[str, Any], colour: Any, marker: str) -> None:
    axis.plot([x, x], [row["low"], row["high"]], color=colour, linewidth=2)
    if not row["baseline"]:
        axis.plot([x] * 2, [row["lowest_seed"], row["highest_seed"]], "_", color=colour, markersize=9)
    inside = "white" if row["at_chance"] else colour
    axis.plot([x], [row["score"]], marker, color=colour, markersize=6, markerfacecolor=inside)


def sizes(table: pl.DataFrame) -> Figure:
    """Score of every benchmark at every size, at its largest budget: a panel an arm; what is at chance is hatched."""
    arms = table["synthetic_ratio"].unique().sort().to_list()
    params, names = table["params"].unique().sort().to_list(), table["benchmark"].unique().sort().to_list()
    width, height = 0.85 * max(len(params), 3) + 0.9, 0.36 * len(names) + 1.8
    figure, axes = ink.panels(len(arms), "Score by benchmark and size, at each size's largest budget", width, height)
    low, high = min(0.0, float(table["score"].min() or 0)), max(0.1, float(table["score"].max() or 0))  # type: ignore[arg-type]
    for axis, arm in zip(axes, arms, strict=True):
        part = table.filter(pl.col("synthetic_ratio") == arm)
        found = {(p, b): s for p, b, s in part.select("params", "benchmark", "score").iter_rows()}
        grid = [[found.get((p, b), float("nan")) for p in params] for b in names]
        ink.heatmap(axis, grid, [format_count(p) for p in params], names, vmin=low, vmax=high, cbar=arm == arms[-1])
        for size, name in part.filter("at_chance").select("params", "benchmark").iter_rows():
            axis.add_patch(Rectangle((params.index(size), names.index(name)), 1, 1, fill=False, **_HATCH))
        axis.set(title=ink.arm(arm), xlabel="params", ylabel="")
        axis.tick_params(axis="y", rotation=0, labelleft=arm == arms[0])
    ink.outside(figure, [(Patch(facecolor="white", **_HATCH), "at chance")], "0 = chance, 1 = all right;\nmean over seeds")
    return figure


def right_choice(table: pl.DataFrame) -> Figure:
    """Bits per byte of the right choice against tokens, a panel a benchmark: what a model learns before its accuracy leaves chance."""
    names = table["benchmark"].unique().sort().to_list()
    rows = -(-len(names) // _COLUMNS)
    title = "Bits per byte of the right choice, public items (lower is better)"
    figure, axes = ink.panels(len(names), title, width=2.9, height=2.9, rows=rows, sharey=False)
    colours, markers = ink.arm_colours(table), ink.size_markers(table)
    for axis, name in zip(axes, names, strict=True):
        part = table.filter(pl.col("benchmark") == name)
        for (arm, size), points in part.group_by("synthetic_ratio", "params", maintain_order=True):
            ink.line(axis, points, "tokens", "bits_per_byte", colours[float(arm)], [markers[int(size)]])
        axis.set(title=name, xlabel="tokens")
        ink.count_axis(axis, table["tokens"].unique().to_list())
    for axis in axes[:: -(-len(names) // rows)]:
        axis.set_ylabel("bits per byte")
    ink.legend(figure, colours, markers, [], "mean over seeds and\nregisters; band: lowest\nto highest seed")
    return figure


def beside(table: pl.DataFrame) -> Figure:
    """The study's scores against total parameters, with its baselines and (hollow) what others published: a panel a benchmark."""
    names = table["benchmark"].unique().sort().to_list()
    rows, kinds = -(-len(names) // 3), table["kind"].unique().to_list()
    shown = {"baseline": "baselines", "published": "published scores (hollow, not measured here)"}
    title = f"The study's runs beside {' and '.join(text for kind, text in shown.items() if kind in kinds)}"
    figure, axes = ink.panels(len(names), title, width=4.2, height=3.6, rows=rows, sharey=False)
    own = table.filter(pl.col("kind") == "study")
    colours = ink.arm_colours(own)
    for axis, name in zip(axes, names, strict=True):
        _beside(axis, table.filter(pl.col("benchmark") == name), colours)
    extra = []
    if "baseline" in kinds:
        extra.append((Line2D([], [], color=ink.OTHERS, marker="D", linestyle="none"), "baseline, scored\nby the same code"))
    if "published" in kinds:
        extra.append((ink.hollow("o"), "published, not measured\nhere (settings: the CSV)"))
    note = "the study's runs: mean over\nseeds at each size's largest\nbudget; bar: 95% over items"
    ink.legend(figure, colours, {}, [*extra, (ink.chance(), "chance")], note)
    return figure


def _beside(axis: Axes, part: pl.DataFrame, colours: dict[float, Any]) -> None:
    others = []
    for row in part.iter_rows(named=True):
        if row["kind"] == "study":
            colour = colours[row["synthetic_ratio"]]
            axis.plot([row["params_total"]] * 2, [row["low"], row["high"]], color=colour, linewidth=1.5)
            axis.plot([row["params_total"]], [row["score"]], "o", color=colour, markersize=6, markeredgecolor="white")
        else:
            inside = "white" if row["kind"] == "published" else ink.OTHERS
            marker = "o" if row["kind"] == "published" else "D"
            axis.plot([row["params_total"]], [row["score"]], marker, color=ink.OTHERS, markersize=5, markerfacecolor=inside)
            others.append(labels.Named(row["params_total"], row["score"], row["system"], ink.OTHERS))
    for chance in part["chance"].drop_nulls().unique():
        axis.axhline(chance, zorder=1, **ink.CHANCE)
    axis.set(title=f"{part['benchmark'][0]}, {part['metric'][0]}", xlabel="parameters, embeddings included")
    at = part["params_total"].to_list()
    ink.log_ticks(axis, min(at) / 1.4, max(at) * 1.4, at, lambda x: format_count(round(x)))
    labels.make_room(axis, at)
    axis.set_ylim(*axis.get_ylim())
    labels.write(axis, others, at, height=2.7)
