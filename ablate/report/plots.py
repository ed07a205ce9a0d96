"""The figures of a study: each a PNG and an SVG with its table beside it as CSV. Ink only; the numbers come from tables.py."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from ablate.report import benchmark_plots, ink, labels, tables
from ablate.report.cells import strata
from ablate.report.claims import Verdict, verdicts
from ablate.report.frames import Frames
from ablate.study.quantities import format_count

NAMES = ("claim", "ratio", "heat", "loss", "texts", "benchmarks", "sizes", "right_choice", "beside")
"""Of every figure that a study may have."""


def draw_all(frames: Frames, folder: Path, only: Collection[str] = (), published: bool = False) -> list[Path]:
    """Draw whatever the finished runs allow, each file renamed into place; the paths written.

    only: names of the figures wanted; none: all. published: published scores too, beside the study's own.
    Where a study varies more than params, tokens, synthetic_ratio and the learning rate, each combination of the other levels
    has its own figures, numbered."""
    parts, found = strata(frames), verdicts(frames)
    paths = []
    for number, ((condition, part), verdict) in enumerate(zip(parts, found, strict=False), 1):
        suffix = f"_{number}" if len(parts) > 1 else ""
        where = ", ".join(f"{k} = {v}" for k, v in condition.items())
        for name, table, draw in figures(part, verdict, published):
            if len(table) and (not only or name in only):
                with ink.style():
                    figure = draw(table)
                    if where:
                        figure.suptitle(f"{figure.get_suptitle()}\n{where}", **ink.TITLE)
                    paths += ink.write(folder / f"{name}{suffix}", figure, table)
    return paths


def figures(
    frames: Frames, verdict: Verdict | None, published: bool = False
) -> list[tuple[str, pl.DataFrame, Callable[[pl.DataFrame], Figure]]]:
    """(file name, table, function that draws it) of every figure."""
    return [
        ("claim", tables.claim(frames, verdict), claim),
        ("ratio", tables.ratio(frames), ratio),
        ("heat", tables.heat(frames), heat),
        ("loss", tables.loss(frames), loss),
        ("texts", tables.texts(frames), texts),
        ("benchmarks", tables.benchmarks(frames), benchmark_plots.benchmarks),
        ("sizes", tables.sizes(frames), benchmark_plots.sizes),
        ("right_choice", tables.right_choice(frames), benchmark_plots.right_choice),
        ("beside", tables.beside(frames, published), benchmark_plots.beside),
    ]


def claim(table: pl.DataFrame) -> Figure:
    """Score against training FLOPs: a colour an arm, a marker a size, a line through the budgets of one size (through the
    sizes, where each has one budget)."""
    baselines, everything = table.filter(pl.col("role") == "baseline"), table
    table = table.filter(pl.col("role") != "baseline")
    figure, axes = ink.panels(1, _claim_title(table), width=6.4, height=4.8)
    axis = axes[0]
    colours, markers = ink.arm_colours(table), ink.size_markers(table)
    several = table.select("params", "synthetic_ratio").is_duplicated().any()
    for (arm, *_), line in table.group_by(["synthetic_ratio", "params"] if several else ["synthetic_ratio"], maintain_order=True):
        ink.line(axis, line, "train_flops", "score", colours[float(arm)], [markers[p] for p in line["params"]])
    axis.set(xlabel="training FLOPs")
    ink.score_axis(axis, everything)
    ink.flops_axis(axis, table["train_flops"].to_list())
    _mark_roles(axis, table)
    _mark_baselines(axis, baselines)
    extra = [(ink.ring(colour), label) for role, colour, label in _ROLES if role in set(table["role"])]
    ink.legend(figure, colours, markers, [*extra, (ink.chance(), "chance")], "line: mean over seeds\nband: lowest to\nhighest seed")
    return figure


_ROLES = (
    ("reference", "#000000", "reference"),
    ("named", "#cc3311", "last to pass of the\ncells tested, from\nthe dearest down"),
    ("failed", "#999999", "first to fail"),
)


def _mark_roles(axis: Axes, table: pl.DataFrame) -> None:
    for role, colour, _ in _ROLES:
        for x, y in table.filter(pl.col("role") == role).select("train_flops", "score").iter_rows():
            axis.plot([x], [y], "o", markersize=15, markerfacecolor="none", markeredgecolor=colour, markeredgewidth=1.8, zorder=5)


def _mark_baselines(axis: Axes, baselines: pl.DataFrame) -> None:
    """A line right across with its name: what a baseline's training took is not known here."""
    low, high = axis.get_ylim()
    places = labels.spread(baselines["score"].to_list(), 0.035 * (high - low), low, high)
    for name, score, place in zip(baselines["baseline"], baselines["score"], places, strict=True):
        axis.axhline(score, color=ink.OTHERS, linewidth=1, linestyle=":", zorder=1)
        label = f"{name} (baseline) {score:.2f}"
        axis.text(0.005, place, label, transform=axis.get_yaxis_transform(), va="bottom", fontsize=labels.SIZE, color=ink.OTHERS)


def _claim_title(table: pl.DataFrame) -> str:
    chosen = {role: table.filter(pl.col("role") == role) for role in ("reference", "named")}
    if chosen["reference"].is_empty():
        return "Score against training compute"
    if chosen["named"].is_empty():
        return "No cheaper synthetic cell is shown to beat the web reference"
    ratio = chosen["reference"]["train_flops"][0] / chosen["named"]["train_flops"][0]
    saved = f"1/{ratio:.2g} of the compute" if ratio >= 1.05 else "equal compute"
    return f"Synthetic text beats the web reference at {saved}"


def ratio(table: pl.DataFrame) -> Figure:
    """Score against the synthetic ratio: a panel a budget, a colour and marker a size."""
    budgets = table["tokens"].unique().sort().to_list()
    figure, axes = ink.panels(len(budgets), "Score against the share of synthetic text, by token budget")
    sizes = table["params"].unique().sort().to_list()
    colours, markers = ink.size_colours(sizes), ink.size_markers(table)
    for axis, budget in zip(axes, budgets, strict=True):
        for (size,), line in table.filter(pl.col("tokens") == budget).group_by("params", maintain_order=True):
            ink.line(axis, line, "synthetic_ratio", "score", colours[int(size)], [markers[int(size)]])
        ink.score_axis(axis, table)
        axis.set(xlabel="synthetic_ratio", title=f"{format_count(budget)} tokens", xlim=(-0.06, 1.06))
        axis.xaxis.set_major_locator(FixedLocator(table["synthetic_ratio"].unique().sort().to_list()))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.3g}"))
        axis.label_outer()
    handles = [(Line2D([], [], color=colours[s], marker=markers[s]), f"{format_count(s)} params") for s in reversed(sizes)]
    ink.outside(figure, [*handles, (ink.chance(), "chance")], "mean over seeds; band:\nlowest to highest seed")
    return figure


def heat(table: pl.DataFrame) -> Figure:
    """Score over params × tokens: a panel an arm, one colour scale, every cell annotated."""
    arms = table["synthetic_ratio"].unique().sort().to_list()
    sizes, budgets = (table[c].unique().sort().to_list() for c in ("params", "tokens"))
    width, height = 0.9 * max(len(budgets), 2) + 0.6, 0.62 * len(sizes) + 1.8
    figure, axes = ink.panels(len(arms), "Score of every cell (0 = chance, 1 = all right)", width, height)
    low, high = min(0.0, float(table["score"].min() or 0)), max(0.1, float(table["score"].max() or 0))  # type: ignore[arg-type]
    for axis, arm in zip(axes, arms, strict=True):
        found = {(p, t): s for p, t, s in table.filter(pl.col("synthetic_ratio") == arm).select("params", "tokens", "score").iter_rows()}
        grid = [[found.get((p, t), float("nan")) for t in budgets] for p in reversed(sizes)]
        names = [format_count(t) for t in budgets], [format_count(p) for p in reversed(sizes)]
        ink.heatmap(axis, grid, *names, vmin=low, vmax=high, cbar=arm == arms[-1])
        axis.set(title=ink.arm(arm), xlabel="tokens", ylabel="params" if arm == arms[0] else "")
        axis.tick_params(axis="y", rotation=0, labelleft=arm == arms[0])
    return figure


def loss(table: pl.DataFrame) -> Figure:
    """Training loss: a panel a size at its largest budget, a colour an arm."""
    sizes = table["params"].unique().sort().to_list()
    figure, axes = ink.panels(len(sizes), "Training loss at each size's largest budget")
    colours = ink.arm_colours(table)
    settled = table.filter(pl.col("tokens") > 0.1 * pl.col("budget"))["loss"]
    for axis, size in zip(axes, sizes, strict=True):
        part = table.filter(pl.col("params") == size)
        for (arm,), line in part.group_by("synthetic_ratio", maintain_order=True):
            axis.plot(line["tokens"], line["loss"], color=colours[float(arm)], linewidth=1.5)
        axis.set(title=f"{format_count(size)} params", xlabel="tokens seen")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: format_count(x) if x else "0"))
        axis.xaxis.set_major_locator(MaxNLocator(4))
    low, high = float(settled.min()), float(settled.max())  # type: ignore[arg-type]
    axes[0].set(ylabel="training loss (nats a token)", ylim=(low - 0.05 * (high - low), high + 0.05 * (high - low)))
    ink.legend(figure, colours, {}, [], "moving average, mean over\nseeds; each arm on its own\nmixture: no ranking of arms")
    return figure


def texts(table: pl.DataFrame) -> Figure:
    """Bits per byte: a panel a held-out text, a colour an arm, along the sizes at their largest budget."""
    names = table["text"].unique(maintain_order=True).to_list()
    figure, axes = ink.panels(len(names), "Bits per byte on text held out from training")
    colours = ink.arm_colours(table)
    for axis, name in zip(axes, names, strict=True):
        part = table.filter(pl.col("text") == name)
        for (arm,), line in part.group_by("synthetic_ratio", maintain_order=True):
            ink.line(axis, line.sort("params"), "params", "bits_per_byte", colours[float(arm)], ["o"])
        axis.set(title=f"on {name} text", xlabel="params")
        sizes = table["params"].unique().sort().to_list()
        ink.count_axis(axis, sizes)
    axes[0].set_ylabel("bits per byte (lower is better)")
    budgets = " / ".join(format_count(t) for t in table["tokens"].unique().sort())
    ink.legend(figure, colours, {}, [], f"trained on {budgets} tokens\nmean over seeds, band:\nlowest to highest seed")
    return figure
