"""What a run will take, before it starts: device-seconds and memory, from what is known of this machine or from a stated MFU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from ablate.baselines import Baseline
from ablate.errors import StudyError
from ablate.evals.items import Benchmark
from ablate.jobs import cores
from ablate.model import ladder
from ablate.model.gpus import GPUS
from ablate.model.memory import RESERVED, Memory, divisor, fits, memory, micro_batch, needs_checkpointing
from ablate.reading import Scoring
from ablate.speed import Rate, Setting, Speeds
from ablate.study import grid, spec
from ablate.train import device, schedule
from ablate.workspace import Workspace

PROCESS_BYTES = 535_000_000
"""Of a job on a CPU beside what its shape asks for: Python, torch, transformers, the compiler, tokenised benchmarks. Measured on
jobs of 1M and 5M parameters: 541 and 554 MB where they compiled, 30 MB less where the kernels were in the cache."""
SCORING_BYTES = 17_000_000
"""Of those, what the measurement of a shape does not hold. Measured on the same jobs."""
STATE_BYTES = 12
"""A parameter: weights and moments, read whole when a second budget starts from the trunk."""
START_SECONDS = 15.0
"""Of a process before its first step. An estimate, until one was measured."""
READ_TO_TRAIN = 2.0
"""Tokens read while one is trained on. An estimate, until both were measured."""
ASSUMED_MFU = (0.3, 0.5)
"""What public stacks reach on A100 and H100 at sizes from 1B to 7B; a plan that rests on it says so."""


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


class Machine(Protocol):
    """Where runs are predicted for. Rates are of one device."""

    name: str
    device_type: str
    slots: int
    devices: int
    """Of one job."""
    checkpointing: bool | Literal["auto"]
    memory_bytes: int
    """Of one device."""
    assumption: str | None
    """What rates rest on where nothing was measured."""

    def rate(self, recipe: dict[str, Any]) -> Rate | None:
        """Tokens of training a second; None where nothing is known."""

    def reading(self, recipe: dict[str, Any]) -> float | None:
        """Tokens scored a second."""

    def reading_of(self, model: dict[str, Any], seq_len: int) -> float | None:
        """The same of any model, trained here or not, by its FLOPs."""

    def task_seconds(self, recipe: dict[str, Any], benchmark: Benchmark) -> float | None:
        """Of a benchmark whose time does not follow from its items: what it took a model of this shape."""

    def start_seconds(self) -> float:
        """Of a process that trains nothing."""

    def setup_seconds(self, recipe: dict[str, Any]) -> float:
        """Of a process, before its first step."""

    def job_bytes(self, recipe: dict[str, Any]) -> int | None:
        """Peak of a job of this shape, as one has had it."""

    def process_bytes(self, recipe: dict[str, Any]) -> int | None:
        """Peak of a process that trained this shape and did nothing else."""


class Here:
    """This machine."""

    assumption: str | None = None

    def __init__(self, study: spec.Study, space: Workspace) -> None:
        chosen = device.pick(study.launch.device)
        self.slots, self.device_type, self.memory_bytes = slots_of(study), chosen.type, memory_of(chosen)
        self.devices, self.checkpointing = study.launch.devices, study.launch.activation_checkpointing
        setting = Setting(
            chosen, compiles(study), self.slots, threads_of(study), gpus_of(chosen), self.devices,
            study.train.optimizer.backend, self.checkpointing, study.launch.pack,
        )  # fmt: skip
        self.speeds = Speeds(space, setting)
        self.name = self.speeds.name

    def rate(self, recipe: dict[str, Any]) -> Rate | None:
        return self.speeds.rate(recipe)

    def reading(self, recipe: dict[str, Any]) -> float | None:
        known = self.speeds.known(recipe, "read_tokens_per_s") or self.reading_of(recipe["model"], recipe["data"]["seq_len"])
        rate = self.rate(recipe)
        return READ_TO_TRAIN * rate.tokens_per_s if known is None and rate is not None else known

    def reading_of(self, model: dict[str, Any], seq_len: int) -> float | None:
        return self.speeds.near("read_tokens_per_s", ladder.flops_per_token(model, seq_len))

    def task_seconds(self, recipe: dict[str, Any], benchmark: Benchmark) -> float | None:
        return self.speeds.task_seconds(recipe, benchmark.digest)

    def start_seconds(self) -> float:
        return self.speeds.usual("start_s") or START_SECONDS

    def setup_seconds(self, recipe: dict[str, Any]) -> float:
        start = self.speeds.usual("start_s")
        setup = self.speeds.known(recipe, "setup_s") or self.speeds.usual("setup_s")
        return START_SECONDS if start is None or setup is None else start + setup

    def job_bytes(self, recipe: dict[str, Any]) -> int | None:
        return _whole(self.speeds.known(recipe, "job_bytes"))

    def process_bytes(self, recipe: dict[str, Any]) -> int | None:
        return _whole(self.speeds.known(recipe, "process_bytes"))


class Elsewhere:
    """A GPU that is not here: its peak times an MFU, stated in launch.mfu or assumed. Start-up is left out."""

    device_type = "cuda"

    def __init__(self, word: spec.Gpu, launch: spec.Launch) -> None:
        gpu, mfu = GPUS[word], launch.mfu
        self.least, self.most = (mfu, mfu) if mfu else ASSUMED_MFU
        share = f"{mfu:.0%} (launch.mfu)" if mfu else f"{self.least:.0%} to {self.most:.0%} (assumed: state launch.mfu)"
        self.assumption: str | None = f"{gpu.peak_flops / 1e12:.0f} TFLOP/s at an MFU of {share}; nothing was measured on it"
        self.name: str = word
        self.slots = 1 if launch.slots == "auto" else launch.slots
        self.devices, self.checkpointing = launch.devices, launch.activation_checkpointing
        self.memory_bytes, self._peak = gpu.bytes, gpu.peak_flops

    def rate(self, recipe: dict[str, Any]) -> Rate | None:
        return Rate(self._trained(recipe["model"], recipe["data"]["seq_len"]), "from the MFU")

    def reading(self, recipe: dict[str, Any]) -> float | None:
        return self.reading_of(recipe["model"], recipe["data"]["seq_len"])

    def reading_of(self, model: dict[str, Any], seq_len: int) -> float | None:
        return 3 * self._trained(model, seq_len)  # a forward pass is a third of a step

    def _trained(self, model: dict[str, Any], seq_len: int) -> float:
        return self._peak * self.least / ladder.flops_per_token(model, seq_len)

    def task_seconds(self, recipe: dict[str, Any], benchmark: Benchmark) -> float | None:
        return None

    def start_seconds(self) -> float:
        return 0.0

    def setup_seconds(self, recipe: dict[str, Any]) -> float:
        return 0.0

    def job_bytes(self, recipe: dict[str, Any]) -> int | None:
        return None

    def process_bytes(self, recipe: dict[str, Any]) -> int | None:
        return None


def machine_for(study: spec.Study, space: Workspace) -> Machine:
    """The GPU that launch.gpu names, unless that is the device here; else the device here. StudyError where there is no such device."""
    word = study.launch.gpu
    if word is not None and not (torch.cuda.is_available() and device.describe(device.pick("cuda"))["device"] in GPUS[word].reported):
        return Elsewhere(word, study.launch)
    return Here(study, space)


def slots_of(study: spec.Study) -> int:
    """Jobs at once: as asked; else one on every `devices` GPUs, or cores (small models gain nothing from a second thread)."""
    devices, cuda = study.launch.devices, device.pick(study.launch.device).type == "cuda"
    here = torch.cuda.device_count() if cuda else cores()
    if cuda and devices > here:
        raise StudyError(f"launch.devices: each job is to have {devices}, and there are {here} GPUs here; write a smaller number")
    if study.launch.launcher == "inline":
        return 1
    if study.launch.slots != "auto":
        return study.launch.slots
    return max(1, here // devices)


def threads_of(study: spec.Study) -> int:
    """Of each process of a job: its share of the cores; a job in this process has those of this process."""
    if study.launch.launcher == "inline":
        return torch.get_num_threads()
    return max(1, cores() // (slots_of(study) * study.launch.devices))


def gpus_of(chosen: torch.device) -> int:
    """How many there are for the slots; 0 on a CPU."""
    return torch.cuda.device_count() if chosen.type == "cuda" else 0


def compiles(study: spec.Study) -> bool:
    """Whether jobs compile here. StudyError where they are to and cannot."""
    if study.launch.compile is True and not device.can_compile():
        raise StudyError(
            "launch.compile: true needs a C++ compiler (g++ or clang++, or what CXX names), and there is none here; write auto or false"
        )
    return device.can_compile() if study.launch.compile == "auto" else study.launch.compile


def memory_of(chosen: torch.device) -> int:
    """Bytes of the device's memory; on a CPU what this process, its container included, may use."""
    if chosen.type == "cuda":
        return int(torch.cuda.get_device_properties(chosen).total_memory)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # no such file, or the word "max"
        there = min(there, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8")))
    return there


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


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


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
