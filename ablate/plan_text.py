"""A plan for people."""

from __future__ import annotations

from ablate.data import repetition
from ablate.plan import Price, RunPrice, Size
from ablate.report import generation
from ablate.study.quantities import format_bytes, format_count, format_seconds

MOST_ROWS = 30
"""Of the table of runs; `--format json` has every run."""
MOST_SCORING = 0.2
"""Of a run's time, without a warning."""


def as_text(price: Price) -> str:
    """The price: sizes, runs, and the whole."""
    return "\n".join([
        f"{price.study}: {price.runs} runs in {price.families} families, {price.jobs} jobs, {price.slots} at once, on {price.device}",
        "",
        _row(_SIZE, "params", "exact", "total", "shape", "runs", "lr", "batch", "precision", "FLOPs", "hours", "speed"),
        *(_size(size) for size in price.sizes),
        "",
        *_each(price.each),
        "",
        *_whole(price),
    ])  # fmt: skip


_SIZE = (8, 14, 14, 8, 5, 8, 9, 9, 9, 9, 14)
_EACH = (8, 8, 5, 13, 10, 18)


def _size(s: Size) -> str:
    counts = (format_count(s.params), f"{s.non_embedding:,}", f"{s.total:,}", f"{s.width}x{s.layers}", s.runs)
    return _row(
        _SIZE, *counts, f"{s.lr:.3g}", f"{s.batch_tokens:,}", s.precision, f"{s.flops:.2e}", _hours(s.hours), s.speed or "not known"
    )


def _each(each: tuple[RunPrice, ...]) -> list[str]:
    """One line a size and budget: what each of its runs takes alone, the dearest where they differ."""
    cells: dict[tuple[int, int], list[RunPrice]] = {}
    for run in each:
        cells.setdefault((run.params, run.tokens), []).append(run)
    lines = [_row(_EACH, "params", "tokens", "runs", "FLOPs a run", "memory", "hours a run alone")]
    for (params, tokens), runs in sorted(cells.items())[:MOST_ROWS]:
        dearest = max(runs, key=lambda run: (run.device_hours or 0.0, run.memory_bytes))
        numbers = (f"{dearest.flops:.2e}", format_bytes(dearest.memory_bytes), _hours(dearest.device_hours))
        lines.append(_row(_EACH, format_count(params), format_count(tokens), len(runs), *numbers))
    left = len(cells) - MOST_ROWS
    return lines + ([f"  and {left} more sizes and budgets: --format json has every run"] if left > 0 else [])


def _whole(price: Price) -> list[str]:
    found, saved = price.detectable, 1 - price.flops / price.flops_alone
    read = ", ".join(f"{role} {format_count(n)}{_epochs(price.epochs.get(role))}" for role, n in price.tokens.items())
    return [
        f"FLOPs     {price.flops:.2e} (training alone would take {price.flops_alone:.2e}: sharing trunks saves {saved:.0%})",
        f"tokens    most that one run reads of a source: {read}",
        *generation.lines(price.data_gpu_hours),
        *(f"absent    {name} is not on this machine: `ablate prefetch` fetches it, then epochs can be counted" for name in price.absent),
        *_absent_benchmarks(price.absent_benchmarks),
        *(f"absent    the baseline {name} is not on this machine: `ablate prefetch` fetches it" for name in price.absent_baselines),
        *_unpriced(price),
        f"memory    {format_bytes(price.memory)} with all slots busy, of {format_bytes(price.memory_here)} there{_packed(price.pack)}",
        *(f"fits      {format_count(s.params)} on {'; '.join(s.fits)}" for s in price.sizes if s.fits),
        f"disk      {format_bytes(price.disk)}, of {format_bytes(price.disk_here)} free here",
        f"time      {_time(price)}" + (f", at {price.assumption}" if price.assumption else ""),
        *_scoring(price.each),
        f"detects   a difference in mean score of {found.difference:.2f} between two cells (seeds: {price.seeds}, 80% power, 5% level; "
        f"spread over seeds {found.seed_sd:.2f}, {'that of the finished runs' if found.measured else 'assumed'})",
    ]


def _unpriced(price: Price) -> list[str]:
    """What no figure holds."""
    lines = [
        f"unpriced  scoring the baseline {name}: nothing is known of models of its size, so it is in no figure here"
        for name in price.unpriced_baselines
    ]
    if price.untimed:
        lines.append(
            f"unpriced  {', '.join(price.untimed)}: how long that takes is known of a shape once a run of it was scored; until then, and "
            "of baselines, it is in no figure here"
        )
    return lines


def _packed(pack: int) -> str:
    return f" (where no job has shown it, of one model a slot; launch.pack: {pack} has up to {pack} in each)" if pack > 1 else ""


def _absent_benchmarks(names: tuple[str, ...]) -> list[str]:
    told = f"absent    benchmarks that are not on this machine: {', '.join(names)}: `ablate prefetch` fetches them; times are without them"
    return [told] if names else []


def _scoring(each: tuple[RunPrice, ...]) -> list[str]:
    """A warning where scoring is much of what a run takes."""
    shares = [(run.scoring, run) for run in each if run.scoring is not None and run.scoring > MOST_SCORING]
    if not shares:
        return []
    share, run = max(shares, key=lambda one: one[0])
    return [
        f"scoring   more than {MOST_SCORING:.0%} of the time of {len(shares)} of {len(each)} runs, up to {share:.0%} (params "
        f"{format_count(run.params)}, tokens {format_count(run.tokens)}): fewer benchmarks or a limit: on their items would save it"
    ]


def _time(price: Price) -> str:
    if price.device_hours is None or price.least_device_hours is None or price.wall_seconds is None:
        return "not known: too far from any shape whose speed is known; name a GPU in launch.gpu and its MFU in launch.mfu"
    least = f"{_hours(price.least_device_hours)} to " if price.least_device_hours < price.device_hours else ""
    whole = f"about {format_seconds(price.wall_seconds)} from start to figures"
    return f"{least}{_hours(price.device_hours)} device-hours, {whole}"


def _hours(hours: float | None) -> str:
    return "?" if hours is None else f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}" if hours >= 1 else f"{hours:.3f}"


def _epochs(epochs: float | None) -> str:
    if epochs is None:
        return ""
    worth = "" if epochs <= 1 else f", worth {repetition.worth(epochs):.0%} of as many new tokens"
    return f" ({epochs:.2g} epochs{worth})"


def _row(widths: tuple[int, ...], *columns: object) -> str:
    return " ".join(f"{column:>{width}}" for column, width in zip(columns, widths, strict=True))
