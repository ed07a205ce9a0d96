"""What a run will take, before it starts: device-seconds and memory, from what is known of its machine or from a stated MFU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ablate.baselines import Baseline
from ablate.machines import Elsewhere, Machine
from ablate.model import ladder
from ablate.model.memory import RESERVED, Memory, divisor, fits, memory, micro_batch, needs_checkpointing
from ablate.reading import Scoring
from ablate.study import grid, spec
from ablate.train import schedule

PROCESS_BYTES = 535_000_000
"""Of a job on a CPU beside what its shape asks for: Python, torch, transformers, the compiler, tokenised benchmarks. Measured on
jobs of 1M and 5M parameters: 541 and 554 MB where they compiled, 30 MB less where the kernels were in the cache."""
SCORING_BYTES = 17_000_000
"""Of those, what the measurement of a shape does not hold. Measured on the same jobs."""
STATE_BYTES = 12
"""A parameter: weights and moments, read whole when a second budget starts from the trunk."""


@dataclass(frozen=True)
class JobTime:
    """Of one process."""

    training: float
    """Device-seconds; the devices of a job share them."""
    beside: float
    """Seconds of start-up and scoring, which take as long on several devices as on one."""

    @property
    def device_seconds(self) -> float:
        return self.training + self.beside

    def wall_seconds(self, devices: int) -> float:
        return self.training / devices + self.beside


@dataclass(frozen=True)
class Prediction:
    """Of one run."""

    seconds: float | None
    """Device-seconds of training, were it trained alone (`runs.train_seconds`); None where nothing is known."""
    memory_bytes: int
    """Peak of its job, on each device."""


def prediction(run: grid.Run, machine: Machine, shares_trunk: bool) -> Prediction:
    """Of one run; `shares_trunk`: whether its job carries more budgets than one from a trunk."""
    rate = machine.rate(run.recipe)
    return Prediction(None if rate is None else tokens_of(run) / rate.tokens_per_s, peak(run.recipe, machine, shares_trunk))


def peak(recipe: dict[str, Any], machine: Machine, shares_trunk: bool) -> int:
    """Bytes at the peak of a job of this shape, on each device."""
    if job := machine.job_bytes(recipe):
        return job
    if machine.device_type == "cuda":
        return parts(recipe, machine).total
    process = machine.process_bytes(recipe) if machine.devices == 1 else None  # one device is what was measured
    alone = PROCESS_BYTES + parts(recipe, machine).total if process is None else process + SCORING_BYTES
    return alone + (STATE_BYTES * ladder.count(recipe["model"]).total if shares_trunk else 0)


def parts(recipe: dict[str, Any], machine: Machine) -> Memory:
    """What the shape asks for on one device, by what it is for. Of a GPU that is not here there are as many as it takes, unless
    launch.devices says how many."""
    model, train, seq_len = recipe["model"], recipe["train"], recipe["data"]["seq_len"]
    cpu, devices, again = machine.device_type == "cpu", machine.devices, machine.checkpointing
    if again == "auto":
        again = not cpu and needs_checkpointing(model, train, seq_len, devices, machine.memory_bytes)
    sequences = micro_batch(model, train, seq_len, machine.device_type, devices, again)
    held = memory(model, train, seq_len, sequences, devices, again, maps=cpu)
    while not cpu and sequences > 1 and held.total + RESERVED > machine.memory_bytes:
        sequences = divisor(train["batch_tokens"] // seq_len // devices, sequences // 2)  # as the engine does when memory runs out
        held = memory(model, train, seq_len, sequences, devices, again)
    if isinstance(machine, Elsewhere) and devices == 1 and held.total + RESERVED > machine.memory_bytes:
        fit = next(fit for fit in fits(model, train, seq_len) if fit.gpu == machine.name)
        return fit.memory if fit.devices is not None else held
    return held


def tokens_of(run: grid.Run) -> int:
    """Trained on by a run alone: its budget in whole batches."""
    batch = int(run.recipe["train"]["batch_tokens"])
    return schedule.steps_of(run.tokens, batch) * batch


def family_tokens(runs: Sequence[grid.Run], share: str) -> int:
    """Trained on for a family: one trunk and a branch a budget, or every run alone."""
    if share == "none":
        return sum(tokens_of(run) for run in runs)
    train = runs[0].recipe["train"]
    steps = [schedule.steps_of(r.tokens, train["batch_tokens"]) for r in runs]
    forks = [schedule.fork_of(n, train["decay"]) for n in steps]
    return (max(forks) + sum(steps) - sum(forks)) * int(train["batch_tokens"])


def scoring_seconds(run: grid.Run, machine: Machine, scoring: Scoring, fresh: bool) -> float | None:
    """About what scoring a run takes, as far as that is known; None where nothing is known of the shape."""
    reading = machine.reading(run.recipe)
    if reading is None:
        return None
    timed = sum(machine.task_seconds(run.recipe, benchmark) or 0.0 for benchmark in scoring.timed)
    return scoring.tokens(run.data, fresh) / reading + timed


def scoring_share(run: grid.Run, machine: Machine, scoring: Scoring, fresh: bool) -> float | None:
    """Of the time of a run, were it trained alone, what scoring takes; None where nothing is known of the shape."""
    rate, scored = machine.rate(run.recipe), scoring_seconds(run, machine, scoring, fresh)
    if rate is None or scored is None:
        return None
    return scored / (scored + tokens_of(run) / rate.tokens_per_s)


def job_time(job: Sequence[grid.Family], machine: Machine, scoring: Scoring, share: str) -> JobTime | None:
    """Of one process: its start, its families' training, the scoring of every run; None where nothing is known of the shape."""
    training, beside = 0.0, machine.setup_seconds(job[0].runs[0].recipe)
    for family in job:
        rate = machine.rate(family.runs[0].recipe)
        if rate is None:
            return None
        training += family_tokens(family.runs, share) / rate.tokens_per_s
        for run in family.runs:
            scored = scoring_seconds(run, machine, scoring, fresh=run is family.runs[-1])
            if scored is None:
                return None
            beside += scored
    return JobTime(training, beside)


def baselines_time(found: Sequence[Baseline], data: spec.Data, machine: Machine, scoring: Scoring) -> tuple[JobTime, list[str]]:
    """Of the process that scores the baselines, and the names of those that are left out of it: of their size nothing is known."""
    rates = {one.name: machine.reading_of(one.model, min(one.max_tokens, data.seq_len)) for one in found}
    known = [rate for rate in rates.values() if rate is not None]
    beside = machine.start_seconds() + sum(scoring.tokens(data, fresh=False) / rate for rate in known) if known else 0.0
    return JobTime(0.0, beside), [name for name, rate in rates.items() if rate is None]


def untimed(runs: Sequence[grid.Run], found: Sequence[Baseline], machine: Machine, scoring: Scoring) -> list[str]:
    """The benchmarks of which no score tells yet how long they take at every size; baselines are scored once, and have none before."""
    shapes = {run.family: run.recipe for run in runs}.values()
    return [one.name for one in scoring.timed if found or any(machine.task_seconds(recipe, one) is None for recipe in shapes)]
