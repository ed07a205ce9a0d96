"""What runs are predicted for: this machine, or a GPU by its name; and how jobs share what is here."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from ablate.errors import StudyError
from ablate.evals.items import Benchmark
from ablate.jobs import cores
from ablate.launch.forking import can_fork
from ablate.model import gpus, ladder
from ablate.speed import Rate, Setting, Speeds
from ablate.study import spec
from ablate.train import device
from ablate.workspace import Workspace

START_SECONDS = 15.0
"""Of a process before its first step. An estimate, until one was measured."""
READ_TO_TRAIN = 2.0
"""Tokens read while one is trained on. An estimate, until both were measured."""
ASSUMED_MFU = (0.3, 0.5)
"""What public stacks reach on A100 and H100 at sizes from 1B to 7B; a plan that rests on it says so."""


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
        """Of a process that trains nothing; none where it is forked from one that was started while data were prepared."""

    def setup_seconds(self, recipe: dict[str, Any]) -> float:
        """Of a process, before its first step."""

    def job_bytes(self, recipe: dict[str, Any]) -> int | None:
        """Peak of a job of this shape, as one has had it."""

    def process_bytes(self, recipe: dict[str, Any]) -> int | None:
        """Peak of a process that trained this shape and did nothing else."""


class Here:
    """This machine: what was measured or learnt on it, and where nothing was, its peak times launch.mfu, if that is stated."""

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
        self._stated: float | None = None  # FLOP/s
        word, launch = gpus.of(self.name), study.launch
        if word is not None and launch.mfu is not None and launch.gpu in (None, word):
            peak = gpus.GPUS[word].peak_flops
            self._stated = peak * launch.mfu
            self.assumption = f"{peak / 1e12:.0f} TFLOP/s at an MFU of {launch.mfu:.0%} (launch.mfu) where no speed is known"

    def rate(self, recipe: dict[str, Any]) -> Rate | None:
        return self.speeds.rate(recipe) or self._stated_rate(recipe["model"], recipe["data"]["seq_len"])

    def reading(self, recipe: dict[str, Any]) -> float | None:
        known = self.speeds.known(recipe, "read_tokens_per_s") or self._read(recipe["model"], recipe["data"]["seq_len"])
        return known or _read_at(self.rate(recipe))

    def reading_of(self, model: dict[str, Any], seq_len: int) -> float | None:
        return self._read(model, seq_len) or _read_at(self._stated_rate(model, seq_len))

    def _read(self, model: dict[str, Any], seq_len: int) -> float | None:
        return self.speeds.near("read_tokens_per_s", ladder.flops_per_token(model, seq_len))

    def _stated_rate(self, model: dict[str, Any], seq_len: int) -> Rate | None:
        return None if self._stated is None else Rate(self._stated / ladder.flops_per_token(model, seq_len), "from the MFU")

    def task_seconds(self, recipe: dict[str, Any], benchmark: Benchmark) -> float | None:
        return self.speeds.task_seconds(recipe, benchmark.digest)

    def start_seconds(self) -> float:
        return 0.0 if can_fork(self.speeds.setting.gpus, self.devices) else self.speeds.usual("start_s") or START_SECONDS

    def setup_seconds(self, recipe: dict[str, Any]) -> float:
        setup = self.speeds.known(recipe, "setup_s") or self.speeds.usual("setup_s")
        return START_SECONDS if setup is None else self.start_seconds() + setup

    def job_bytes(self, recipe: dict[str, Any]) -> int | None:
        return _whole(self.speeds.known(recipe, "job_bytes"))

    def process_bytes(self, recipe: dict[str, Any]) -> int | None:
        return _whole(self.speeds.known(recipe, "process_bytes"))


class Elsewhere:
    """A GPU that is not here: its peak times an MFU, stated in launch.mfu or assumed. Start-up is left out."""

    device_type = "cuda"

    def __init__(self, word: spec.Gpu, launch: spec.Launch) -> None:
        gpu, mfu = gpus.GPUS[word], launch.mfu
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
    if word is not None and not (torch.cuda.is_available() and device.describe(device.pick("cuda"))["device"] in gpus.GPUS[word].reported):
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


def _read_at(rate: Rate | None) -> float | None:
    return None if rate is None else READ_TO_TRAIN * rate.tokens_per_s


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
