"""The figures: each a PNG and an SVG with its table beside it as CSV. Ink only; the numbers come from tables.py.

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

from ablate.report import tables
from ablate.report.cells import strata
from ablate.report.claims import Verdict, verdicts
from ablate.report.frames import Frames
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


def draw_all(frames: Frames, folder: Path) -> list[Path]:
    """Draw whatever the finished runs allow, each file renamed into place; the paths written.

    Where a study varies more than params, tokens, synthetic_ratio and the learning rate, each combination of the other levels
    has its own figures, numbered."""
    parts, found = strata(frames), verdicts(frames)
    paths = []
    for number, ((condition, part), verdict) in enumerate(zip(parts, found, strict=False), 1):
        suffix = f"_{number}" if len(parts) > 1 else ""
        where = ", ".join(f"{k} = {v}" for k, v in condition.items())
        for name, table, draw in figures(part, verdict):
            if len(table):
                with style():
                    figure = draw(table)
                    if where:
                        figure.suptitle(f"{figure.get_suptitle()}\n{where}", **TITLE)
                    paths += _write(folder / f"{name}{suffix}", figure, table)
    return paths


def figures(frames: Frames, verdict: Verdict | None) -> list[tuple[str, pl.DataFrame, Callable[[pl.DataFrame], Figure]]]:
    """(file name, table, function that draws it) of every figure."""
    return [
        ("claim", tables.claim(frames, verdict), claim),
        ("ratio", tables.ratio(frames), ratio),
        ("heat", tables.heat(frames), heat),
        ("loss", tables.loss(frames), loss),
        ("texts", tables.texts(frames), texts),
        ("benchmarks", tables.benchmarks(frames), benchmarks),
    ]


@contextmanager
def style() -> Iterator[None]:
    base: dict[Any, Any] = sns.axes_style("whitegrid")
    base.update(STYLE)
    with matplotlib.rc_context(base):
        yield


def _write(stem: Path, figure: Figure, table: pl.DataFrame) -> list[Path]:
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, so that PNG and SVG agree
    paths = [stem.with_suffix(suffix) for suffix in (".png", ".svg", ".csv")]
    for path in paths[:2]:
        metadata: dict[str, Any] = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        with renamed_into_place(path) as part:
            figure.savefig(part, format=path.suffix[1:], dpi=DPI, metadata=metadata)
    with renamed_into_place(paths[2]) as part:
        table.write_csv(part)
    return paths


def claim(table: pl.DataFrame) -> Figure:
    """Score against training FLOPs: a colour an arm, a marker a size, a line through the budgets of one size (through the
    sizes, where each has one budget)."""
    figure, axes = _panels(1, _claim_title(table), width=6.4, height=4.8)
    axis = axes[0]
    colours, markers = _colours(table), _markers(table)
    several = table.select("params", "synthetic_ratio").is_duplicated().any()
    for (arm, *_), line in table.group_by(["synthetic_ratio", "params"] if several else ["synthetic_ratio"], maintain_order=True):
        _line(axis, line, "train_flops", "score", colours[float(arm)], [markers[p] for p in line["params"]])
    axis.set(xlabel="training FLOPs")
    _score_axis(axis, table)
    _flops_ticks(axis, table["train_flops"].to_list())
    _mark_roles(axis, table)
    extra = [(_ring(colour), label) for role, colour, label in _ROLES if role in set(table["role"])]
    _legend(figure, colours, markers, [*extra, (_chance(), "chance")], "line: mean over seeds\nband: lowest to\nhighest seed")
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


def _ring(colour: str) -> Line2D:
    return Line2D([], [], marker="o", markersize=13, markerfacecolor="none", markeredgecolor=colour, markeredgewidth=1.8, linestyle="none")


def _chance() -> Line2D:
    return Line2D([], [], **CHANCE)


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
    figure, axes = _panels(len(budgets), "Score against the share of synthetic text, by token budget")
    sizes = table["params"].unique().sort().to_list()
    colours, markers = dict(zip(sizes, sns.color_palette("viridis", len(sizes)), strict=True)), _markers(table)
    for axis, budget in zip(axes, budgets, strict=True):
        for (size,), line in table.filter(pl.col("tokens") == budget).group_by("params", maintain_order=True):
            _line(axis, line, "synthetic_ratio", "score", colours[int(size)], [markers[int(size)]])
        _score_axis(axis, table)
        axis.set(xlabel="synthetic_ratio", title=f"{format_count(budget)} tokens", xlim=(-0.06, 1.06))
        axis.xaxis.set_major_locator(FixedLocator(table["synthetic_ratio"].unique().sort().to_list()))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.3g}"))
        axis.label_outer()
    handles = [(Line2D([], [], color=colours[s], marker=markers[s]), f"{format_count(s)} params") for s in reversed(sizes)]
    _outside(figure, [*handles, (_chance(), "chance")], "mean over seeds; band:\nlowest to highest seed")
    return figure


def heat(table: pl.DataFrame) -> Figure:
    """Score over params × tokens: a panel an arm, one colour scale, every cell annotated."""
    arms = table["synthetic_ratio"].unique().sort().to_list()
    sizes, budgets = (table[c].unique().sort().to_list() for c in ("params", "tokens"))
    width, height = 0.9 * max(len(budgets), 2) + 0.6, 0.62 * len(sizes) + 1.8
    figure, axes = _panels(len(arms), "Score of every cell (0 = chance, 1 = all right)", width, height)
    low, high = min(0.0, float(table["score"].min() or 0)), max(0.1, float(table["score"].max() or 0))  # type: ignore[arg-type]
    for axis, arm in zip(axes, arms, strict=True):
        found = {(p, t): s for p, t, s in table.filter(pl.col("synthetic_ratio") == arm).select("params", "tokens", "score").iter_rows()}
        grid = [[found.get((p, t), float("nan")) for t in budgets] for p in reversed(sizes)]
        notes = [["" if x != x else f"{x:.2f}" for x in row] for row in grid]
        sns.heatmap(
            grid, ax=axis, annot=notes, fmt="", cmap="YlGnBu", vmin=low, vmax=high, cbar=arm == arms[-1], linewidths=1,
            xticklabels=[format_count(t) for t in budgets], yticklabels=[format_count(p) for p in reversed(sizes)],
            cbar_kws={"label": "score"},
        )  # fmt: skip
        axis.set_facecolor("#d9d9d9")
        axis.set(title=_arm(arm), xlabel="tokens", ylabel="params" if arm == arms[0] else "")
        axis.tick_params(axis="y", rotation=0, labelleft=arm == arms[0])
    return figure


def loss(table: pl.DataFrame) -> Figure:
    """Training loss: a panel a size at its largest budget, a colour an arm."""
    sizes = table["params"].unique().sort().to_list()
    figure, axes = _panels(len(sizes), "Training loss at each size's largest budget")
    colours = _colours(table)
    settled = table.filter(pl.col("tokens") > 0.1 * pl.col("budget"))["loss"]
    for axis, size in zip(axes, sizes, strict=True):
        part = table.filter(pl.col("params") == size)
        for (arm,), line in part.group_by("synthetic_ratio", maintain_order=True):
            axis.plot(line["tokens"], line["loss"], color=colours[float(arm)], linewidth=1.5)
        axis.set(title=f"{format_count(size)} params", xlabel="tokens seen")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: format_count(x) if x else "0"))
        axis.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4))
    low, high = float(settled.min()), float(settled.max())  # type: ignore[arg-type]
    axes[0].set(ylabel="training loss (nats a token)", ylim=(low - 0.05 * (high - low), high + 0.05 * (high - low)))
    _legend(figure, colours, {}, [], "moving average, mean over\nseeds; each arm on its own\nmixture: no ranking of arms")
    return figure


def texts(table: pl.DataFrame) -> Figure:
    """Bits per byte: a panel a held-out text, a colour an arm, along the sizes at their largest budget."""
    names = table["text"].unique(maintain_order=True).to_list()
    figure, axes = _panels(len(names), "Bits per byte on text held out from training")
    colours = _colours(table)
    for axis, name in zip(axes, names, strict=True):
        part = table.filter(pl.col("text") == name)
        for (arm,), line in part.group_by("synthetic_ratio", maintain_order=True):
            _line(axis, line.sort("params"), "params", "bits_per_byte", colours[float(arm)], ["o"])
        axis.set(title=f"on {name} text", xlabel="params")
        sizes = table["params"].unique().sort().to_list()
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(FixedLocator(sizes))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: format_count(x)))
        axis.set_xlim(min(sizes) / 1.5, max(sizes) * 1.5)
    axes[0].set_ylabel("bits per byte (lower is better)")
    budgets = " / ".join(format_count(t) for t in table["tokens"].unique().sort())
    _legend(figure, colours, {}, [], f"trained on {budgets} tokens\nmean over seeds, band:\nlowest to highest seed")
    return figure


def benchmarks(table: pl.DataFrame) -> Figure:
    """Accuracy by benchmark: a panel a register, arms side by side, chance marked for each."""
    registers = table["register"].unique(maintain_order=True).to_list()
    names = table["benchmark"].unique().sort().to_list()
    rows = len(registers) if len(names) > 5 else 1
    title = f"Accuracy by benchmark: {format_count(table['params'][0])} params, {format_count(table['tokens'][0])} tokens"
    figure, axes = _panels(len(registers), title, width=1.6 + 0.75 * len(names), height=4.4, rows=rows)
    colours = _colours(table)
    step = 0.7 / len(colours)
    for axis, register in zip(axes, registers, strict=True):
        for row in table.filter(pl.col("register") == register).iter_rows(named=True):
            i = names.index(row["benchmark"])
            x = i + (list(colours).index(row["synthetic_ratio"]) - (len(colours) - 1) / 2) * step
            colour = colours[row["synthetic_ratio"]]
            axis.plot([i - 0.42, i + 0.42], [row["chance"]] * 2, zorder=1, **CHANCE)
            axis.plot([x, x], [row["low"], row["high"]], color=colour, linewidth=2)
            axis.plot([x] * 2, [row["lowest_seed"], row["highest_seed"]], "_", color=colour, markersize=9)
            axis.plot([x], [row["score"]], "o", color=colour, markersize=6)
        axis.set(title=f"{register} register", xlim=(-0.6, len(names) - 0.4), ylim=(0, 1.02))
        axis.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
        axis.grid(False, axis="x")
    for axis in axes[:: len(registers) // rows]:
        axis.set_ylabel("accuracy")
    _legend(figure, colours, {}, [(_chance(), "chance")], "dot: mean over seeds\nbar: 95% over items\ndashes: lowest and\nhighest seed")
    return figure


def _line(axis: Axes, line: pl.DataFrame, x: str, y: str, colour: Any, markers: Sequence[str]) -> None:
    """A line with its band from `low` to `high`; a marker for all points, or one for each."""
    axis.plot(line[x], line[y], color=colour, linewidth=1.4)
    for i, (at, value) in enumerate(zip(line[x], line[y], strict=True)):
        shape = markers[i % len(markers)]
        axis.plot([at], [value], color=colour, marker=shape, markersize=6.5, markeredgecolor="white", markeredgewidth=0.6)
    if len(line) > 1:
        axis.fill_between(line[x], line["low"], line["high"], color=colour, alpha=0.15, linewidth=0)
    else:
        axis.vlines(line[x], line["low"], line["high"], color=colour, alpha=0.4, linewidth=3)


def _panels(many: int, title: str, width: float = 3.3, height: float = 3.8, rows: int = 1) -> tuple[Figure, list[Axes]]:
    columns = -(-many // rows)
    figure = Figure(figsize=(max(width * columns, 5.2) + 2.2, height * rows), layout="constrained")
    figure.suptitle(title, **TITLE)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    return figure, list(grid.flat)


def _arm(ratio: float) -> str:
    return f"synthetic_ratio {ratio:.3g}" + {0.0: " (web)", 1.0: " (synthetic)"}.get(ratio, "")


def _colours(table: pl.DataFrame) -> dict[float, Any]:
    arms = table["synthetic_ratio"].unique().sort().to_list()
    palette = sns.color_palette("colorblind")
    if len(arms) > 6:
        return dict(zip(arms, sns.color_palette("viridis", len(arms)), strict=True))
    between = [palette[i] for i in (2, 4, 7, 9)]
    return {a: palette[0] if i == 0 else palette[1] if i == len(arms) - 1 else between[i - 1] for i, a in enumerate(arms)}


def _markers(table: pl.DataFrame) -> dict[int, str]:
    return {size: MARKERS[i % len(MARKERS)] for i, size in enumerate(table["params"].unique().sort())}


def _legend(figure: Figure, colours: dict[float, Any], markers: dict[int, str], extra: Sequence[tuple[Any, str]], note: str) -> None:
    handles: list[tuple[Any, str]] = [(Line2D([], [], color=c, linewidth=2.5), _arm(a)) for a, c in reversed(colours.items())]
    shapes = ((s, Line2D([], [], color="#555555", marker=m, linestyle="none")) for s, m in reversed(markers.items()))
    handles += [(line, f"{format_count(s)} params") for s, line in shapes]
    _outside(figure, [*handles, *extra], note)


def _outside(figure: Figure, handles: Sequence[tuple[Any, str]], note: str) -> None:
    lines, labels = [h for h, _ in handles], [label for _, label in handles]
    legend = figure.legend(lines, labels, loc="outside right upper", frameon=False, title=note, alignment="left", labelspacing=0.6)
    legend.get_title().set(fontsize=8.5, color="#555555")


def _score_axis(axis: Axes, table: pl.DataFrame) -> None:
    """The chance line and room around it, so that scores at chance do not fill the figure."""
    low, high = float(table["low"].min()), float(table["high"].max())  # type: ignore[arg-type]
    axis.axhline(0, **CHANCE)
    axis.set(ylabel=SCORE, ylim=(min(low, 0) - 0.05, max(high, 0.1) + 0.05))


def _flops_ticks(axis: Axes, values: list[float]) -> None:
    low, high = min(values) / 1.35, max(values) * 1.35
    exponents = range(int(f"{low:e}".split("e")[1]), int(f"{high:e}".split("e")[1]) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5)):
        ticks = [m * 10.0**e for e in exponents for m in steps if low <= m * 10.0**e <= high]
        if len(ticks) >= 3:
            break
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    axis.xaxis.set_major_locator(FixedLocator(ticks or sorted(set(values))))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.2g}".replace("e+", "e")))
