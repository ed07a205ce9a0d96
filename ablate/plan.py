"""What a study will cost, before it runs: FLOPs, memory, disk, time, what sharing saves, what it can detect.

What cannot run is refused here, with the sum that shows why; `ablate run` asks the same questions first.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Literal

import torch

from ablate import prepare, resolve
from ablate.errors import StudyError
from ablate.jobs import cores, jobs_of
from ablate.model import ladder
from ablate.report.effects import smallest_detectable_difference
from ablate.speed import Speeds
from ablate.study import grid, spec
from ablate.study.quantities import format_count, format_seconds, parse_seconds
from ablate.train import device, optim, schedule
from ablate.workspace import Workspace

BYTES_PER_PARAM = 16
"""float32 weights, gradients and the two moments of AdamW."""
PROCESS_BYTES = 700_000_000
"""A Python process with torch and transformers loaded, measured."""
ACTIVATIONS_PER_LAYER = 40
"""float32 values kept for the backward pass, a token, a layer and a unit of width (attention maps come on top)."""


SEED_SD, ITEM_SE = 0.08, 0.02
"""Assumed: s.d. over seeds of a paired difference, standard error of the items (about those of the shipped study)."""


@dataclass(frozen=True)
class Size:
    """One model size of the study."""

    params: int
    non_embedding: int
    total: int
    width: int
    layers: int
    runs: int
    lr: float
    batch_tokens: int
    precision: str
    flops: float
    memory: int
    hours: float | None


@dataclass(frozen=True)
class Price:
    """The whole study. FLOPs: 6 a non-embedding parameter and token, plus attention, plus the output layer."""

    study: str
    runs: int
    families: int
    jobs: int
    slots: int
    device: str
    sizes: tuple[Size, ...]
    tokens: dict[str, int]
    """Most tokens that any run reads of each source."""
    epochs: dict[str, float]
    """Most passes that any run makes over each source that can end; embedded corpora never do."""
    flops: float
    flops_alone: float
    """If every run were trained alone."""
    memory: int
    memory_here: int
    disk: int
    disk_here: int
    device_hours: float | None
    wall_seconds: float | None
    detectable: float
    seeds: int


def price(study: spec.Study, space: Workspace) -> Price:
    """The price of `study` here; StudyError where it cannot run as written."""
    runs = resolve.runs(study, space)
    prepare.check_evaluation(runs, study.evaluate)
    speeds = Speeds(space, study.launch.device)
    refuse(study, runs, space)
    speeds.measure(runs)
    slots, families = slots_of(study), grid.families(runs)
    jobs = jobs_of(runs, slots)
    seconds = [_job_seconds(job, speeds, study.launch.share) for job in jobs]
    hours = None if any(s is None for s in seconds) else sum(s for s in seconds if s is not None) / 3600
    here = shutil.disk_usage(_existing(space))
    return Price(
        study=study.name, runs=len(runs), families=len(families), jobs=len(jobs), slots=slots, device=speeds.name,
        sizes=tuple(_size(study, [r for r in runs if r.params == p], speeds) for p in sorted({r.params for r in runs})),
        tokens=_most_read(runs),
        epochs=prepare.largest_epochs(runs, space, cores()),
        flops=sum(_family_flops(f.runs, study.launch.share) for f in families),
        flops_alone=sum(_flops(r.recipe) * _tokens(r) for r in runs),
        memory=slots * max(memory(r.recipe) for r in runs), memory_here=memory_here(study.launch.device),
        disk=disk(study, runs), disk_here=here.free,
        device_hours=hours,
        wall_seconds=None if hours is None else _wall([s for s in seconds if s is not None], slots),
        detectable=smallest_detectable_difference(_groups(runs), len(study.seeds), SEED_SD, ITEM_SE), seeds=len(study.seeds),
    )  # fmt: skip


def refuse_bad_fit(study: spec.Study, space: Workspace) -> None:
    """What `run` asks before it starts: StudyError if what is missing of the study does not fit here."""
    missing = [run for run in resolve.runs(study, space) if not (space.run(run.digest) / "outcome.json").exists()]
    if missing:
        refuse(study, missing, space)


def refuse(study: spec.Study, runs: Sequence[grid.Run], space: Workspace) -> None:
    """StudyError if memory or disk cannot hold these runs, or the optimiser asked for does not work here."""
    if study.train.optimizer.backend == "apex":
        optim.backend_of("apex", device.pick(study.launch.device))
    largest = max(runs, key=lambda r: memory(r.recipe))
    need, have = memory(largest.recipe), memory_here(study.launch.device)
    slots = slots_of(study)
    if need * slots > have:
        total = ladder.count(largest.recipe["model"]).total
        raise StudyError(
            f"a run of params {format_count(largest.params)} needs {_bytes(need)} of memory ({format_count(total)} parameters in all x "
            f"{BYTES_PER_PARAM} bytes for weights, gradients and AdamW's moments, plus activations), {slots} at once need "
            f"{_bytes(need * slots)}, and there is {_bytes(have)} here: "
            "lower grid.params or launch.slots, or run it on a larger device"
        )
    free = shutil.disk_usage(_existing(space)).free
    if disk(study, runs) > free:
        raise StudyError(
            f"the study needs about {_bytes(disk(study, runs))} of disk and {_bytes(free)} are free in {space.root.absolute()}: "
            "free some space, or write keep_models: none"
        )


def refuse_over_budget(price: Price, budget: str) -> None:
    """StudyError if the plan needs more device-hours than `budget`."""
    limit = parse_seconds(budget) / 3600
    if price.device_hours is None or price.device_hours > limit:
        needs = "an unknown number of" if price.device_hours is None else f"about {price.device_hours:.2f}"
        raise StudyError(
            f"the study needs {needs} device-hours and --budget allows {limit:.2f}: lower grid.tokens or grid.params, or raise the budget"
        )


def slots_of(study: spec.Study) -> int:
    """Jobs at once: as asked; else one a GPU, or one a core (small models gain nothing from a second thread)."""
    if study.launch.launcher == "inline":
        return 1
    if study.launch.slots != "auto":
        return study.launch.slots
    chosen = device.pick(study.launch.device)
    return torch.cuda.device_count() if chosen.type == "cuda" else cores()


def memory(recipe: dict[str, Any]) -> int:
    """Bytes at the peak of one training process: parameters with their optimiser state, activations, logits, the process."""
    model, seq_len = recipe["model"], recipe["data"]["seq_len"]
    tokens = min(recipe["train"]["batch_tokens"], max(seq_len, 16_384))
    layer = ACTIVATIONS_PER_LAYER * model["hidden_size"] + 2 * model["num_attention_heads"] * seq_len
    activations = 4 * tokens * (model["num_hidden_layers"] * layer + 2 * model["vocab_size"])
    return BYTES_PER_PARAM * ladder.count(model).total + int(activations) + PROCESS_BYTES


def memory_here(wanted: Literal["auto", "cpu", "cuda"]) -> int:
    """Bytes of the device's memory."""
    chosen = device.pick(wanted)
    if chosen.type == "cuda":
        return int(torch.cuda.get_device_properties(chosen).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def disk(study: spec.Study, runs: Sequence[grid.Run]) -> int:
    """Bytes at the peak: models, two generations of every trunk's checkpoint, token shards, answers."""
    models = {r.digest: 4 * ladder.count(r.recipe["model"]).total for r in runs}
    kept = 0 if study.keep_models == "none" else sum(models.values())  # best: the others go at the end
    trunks = sum(24 * ladder.count(f.runs[0].recipe["model"]).total for f in grid.families(runs))
    shards = 2 * sum(_most_read(runs).values()) * len(study.seeds)
    return kept + trunks + shards + 500_000 * len(runs)


def _size(study: spec.Study, runs: Sequence[grid.Run], speeds: Speeds) -> Size:
    recipe = runs[0].recipe
    counts = ladder.count(recipe["model"])
    jobs = jobs_of(runs, 1)
    seconds = [_job_seconds(job, speeds, study.launch.share) for job in jobs]
    return Size(
        params=runs[0].params, non_embedding=counts.non_embedding, total=counts.total,
        width=recipe["model"]["hidden_size"], layers=recipe["model"]["num_hidden_layers"], runs=len(runs),
        lr=recipe["train"]["lr"], batch_tokens=recipe["train"]["batch_tokens"], precision=recipe["train"]["precision"],
        flops=sum(_family_flops(f.runs, study.launch.share) for f in grid.families(runs)), memory=memory(recipe),
        hours=None if any(s is None for s in seconds) else sum(s for s in seconds if s is not None) / 3600,
    )  # fmt: skip


def _job_seconds(job: Sequence[grid.Family], speeds: Speeds, share: str) -> float | None:
    total = speeds.setup_s()
    for family in job:
        recipe = family.runs[0].recipe
        rate = speeds.tokens_per_s(recipe)
        if rate is None:
            return None
        tokens = _family_tokens(family.runs, share)
        scoring = speeds.score_s(recipe)
        total += tokens / rate * (1.0 if scoring is not None else 1.2) + len(family.runs) * (scoring or 0.0)
    return total


def _family_tokens(runs: Sequence[grid.Run], share: str) -> int:
    """Tokens trained for a family: one trunk and a branch a budget, or every run alone."""
    train = runs[0].recipe["train"]
    steps = [schedule.steps_of(r.tokens, train["batch_tokens"]) for r in runs]
    if share == "none":
        return sum(steps) * int(train["batch_tokens"])
    forks = [schedule.fork_of(n, train["decay"]) for n in steps]
    return (max(forks) + sum(steps) - sum(forks)) * int(train["batch_tokens"])


def _family_flops(runs: Sequence[grid.Run], share: str) -> float:
    return float(_family_tokens(runs, share) * _flops(runs[0].recipe))


def _flops(recipe: dict[str, Any]) -> int:
    return ladder.flops_per_token(recipe["model"], recipe["data"]["seq_len"])


def _tokens(run: grid.Run) -> int:
    batch = run.recipe["train"]["batch_tokens"]
    return schedule.steps_of(run.tokens, batch) * int(batch)


def _most_read(runs: Sequence[grid.Run]) -> dict[str, int]:
    read: dict[str, int] = {}
    for run in runs:
        for role, share in run.recipe["data"]["shares"].items():
            read[role] = max(read.get(role, 0), int(run.tokens * Fraction(share)))
    return read


def _groups(runs: Sequence[grid.Run]) -> int:
    return len({(r.params, r.factors["synthetic_ratio"]) for r in runs})


def _wall(seconds: Sequence[float], slots: int) -> float:
    busy = [0.0] * slots
    for job in sorted(seconds, reverse=True):
        busy[busy.index(min(busy))] += job
    return max(busy)


def _existing(space: Workspace) -> str:
    folder = space.root.absolute()
    while not folder.exists():
        folder = folder.parent
    return str(folder)


def _bytes(value: float) -> str:
    return f"{value / 1e9:.1f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"


def as_json(price: Price) -> dict[str, Any]:
    """The price as plain values."""
    return asdict(price)


def as_text(price: Price) -> str:
    """The price for people."""
    lines = [
        f"{price.study}: {price.runs} runs in {price.families} families, {price.jobs} jobs, {price.slots} at once, on {price.device}",
        "",
        _row("params", "exact", "total", "shape", "runs", "lr", "batch", "precision", "FLOPs", "memory", "hours"),
    ]
    for s in price.sizes:
        hours = "?" if s.hours is None else f"{s.hours:.3f}"
        shape = f"{s.width}x{s.layers}"
        counts = (format_count(s.params), f"{s.non_embedding:,}", f"{s.total:,}", shape, s.runs)
        lines.append(_row(*counts, f"{s.lr:.3g}", f"{s.batch_tokens:,}", s.precision, f"{s.flops:.2e}", _bytes(s.memory), hours))
    saved = 1 - price.flops / price.flops_alone
    read = ", ".join(f"{role} {format_count(n)}{_epochs(price.epochs.get(role))}" for role, n in price.tokens.items())
    time = (
        "unknown"
        if price.wall_seconds is None
        else f"{price.device_hours:.2f} device-hours, about {format_seconds(price.wall_seconds)} from now"
    )
    lines += [
        "",
        f"FLOPs     {price.flops:.2e} (training alone would take {price.flops_alone:.2e}: sharing trunks saves {saved:.0%})",
        f"tokens    most that one run reads of a source: {read}",
        f"memory    {_bytes(price.memory)} with all slots busy, of {_bytes(price.memory_here)} here",
        f"disk      {_bytes(price.disk)}, of {_bytes(price.disk_here)} free",
        f"time      {time}",
        f"detects   a difference in mean score of {price.detectable:.2f} between two cells (seeds: {price.seeds}, 80% power, 5% level)",
    ]
    return "\n".join(lines)


def _epochs(epochs: float | None) -> str:
    return "" if epochs is None else f" ({epochs:.2g} epochs)"


def _row(*columns: object) -> str:
    widths = (8, 10, 10, 8, 5, 8, 7, 9, 9, 8, 7)
    return " ".join(f"{column:>{width}}" for column, width in zip(columns, widths, strict=True))
