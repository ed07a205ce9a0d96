"""How fast this machine trains and scores a shape: measured once, replaced by what real runs took, kept in runs/speed.json.

A measurement runs what jobs run, as many at once as jobs would, and leaves its kernels where jobs look for them: what
it compiled, no job compiles again, and a second `ablate plan` measures nothing.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

import numpy as np
import torch

from ablate.errors import RunError
from ablate.launch.forking import ForkServer, Started
from ablate.launch.local import environment, fork_server
from ablate.model import ladder
from ablate.study.grid import digest
from ablate.study.quantities import format_count
from ablate.train.device import describe
from ablate.workspace import Workspace, read_json, write_json

LARGEST_MEASURED = {"cpu": 20_000_000, "cuda": 500_000_000}
"""Parameters in all; the speed of a larger shape is taken from its neighbours, or from launch.mfu."""
MOST_MEASURED = 4
_BUILT = 0.3
"""Seconds of setting up, below which the process had done it before."""
FARTHEST = 30.0
"""How many times dearer (FLOPs a token) than any known shape one may be for its speed to be taken from that one."""

T = TypeVar("T")


@dataclass(frozen=True)
class Setting:
    """How jobs run here. All of it changes how fast they are."""

    device: torch.device
    compile: bool
    slots: int
    threads: int = 1
    """Of one process."""
    gpus: int = 0
    """That the slots share; 0 on a CPU."""
    devices: int = 1
    """Of one job."""
    backend: Literal["auto", "apex", "torch"] = "auto"
    """Of the optimiser, as asked for: so, too, the next ones, which are those of `launch`."""
    checkpointing: Literal["auto"] | bool = "auto"
    pack: Literal["auto", "none"] | int = "auto"


@dataclass(frozen=True)
class Rate:
    """Tokens of training a second and device, and how that is known. "from one device": measured on one, for jobs that have several."""

    tokens_per_s: float
    how: Literal["measured", "from one device", "as a run took", "between others", "beyond others", "from the MFU"]


class Speeds:
    """What is known of this machine under one setting, by shape; runs/speed.json keeps it."""

    def __init__(self, space: Workspace, setting: Setting) -> None:
        self.setting = setting
        self.name: str = describe(setting.device)["device"]
        self._path, self._compiled = space.runs / "speed.json", space.compiled
        self._kept: dict[str, dict[str, Any]] = read_json(self._path) or {}
        self._machine = digest([{**vars(setting), "device": self.name}, str(torch.__version__)])

    def measure(self, recipes: Sequence[dict[str, Any]], say: Callable[[str], None]) -> None:
        """Measure shapes that nothing is known of, MOST_MEASURED at most; `say` is told what and why. RunError where that fails."""
        largest = LARGEST_MEASURED[self.setting.device.type]
        unknown = {self._key(r): r for r in sorted(recipes, key=_flops) if self._key(r) not in self._kept}
        chosen = _spread([r for r in unknown.values() if ladder.count(r["model"]).total <= largest], MOST_MEASURED)
        if not chosen:
            return
        sizes = ", ".join(format_count(r["params"]) for r in chosen)
        say(f"measuring how fast this machine trains {sizes} params" + (" (compiling; runs reuse that)" if self.setting.compile else ""))
        how = "measured" if self.setting.devices == 1 else "from one device"
        for recipe, figures in zip(chosen, measured(chosen, self.setting, self._compiled), strict=True):
            self._keep(recipe, {**figures, "from": how})
        self.save()

    def learn(self, recipe: dict[str, Any], figures: Mapping[str, Any]) -> None:
        """Keep what a real run took (tokens_per_s, setup_s, job_bytes, and where scores tell them read_tokens_per_s and tasks); it counts
        more than a measurement, and as much as what the runs before it took."""
        before = self._kept.get(self._key(recipe), {})
        learnt = {**before, **figures, "from": "as a run took", "tasks": {**before.get("tasks", {}), **figures.get("tasks", {})}}
        if before.get("from") == "as a run took":
            both = [key for key in ("tokens_per_s", "read_tokens_per_s") if key in before and key in figures]
            learnt |= {key: (before[key] + figures[key]) / 2 for key in both}
        learnt["job_bytes"] = max(before.get("job_bytes", 0), figures["job_bytes"])  # a job's peak is that of its last run
        if "setup_s" in before:  # the first run of a process pays for loading or compiling, the next ones for nothing
            learnt["setup_s"] = min((s for s in (before["setup_s"], figures["setup_s"]) if s > _BUILT), default=before["setup_s"])
        self._keep(recipe, learnt)

    def save(self) -> None:
        """Keep it on the disk."""
        write_json(self._path, self._kept)

    def rate(self, recipe: dict[str, Any]) -> Rate | None:
        """Of this shape, or by the FLOP/s of its neighbours; None where nothing near is known."""
        if row := self._kept.get(self._key(recipe)):
            return Rate(float(row["tokens_per_s"]), row["from"])
        flops, costs = _flops(recipe), [row["flops_per_token"] for row in self._others()]
        tokens = self.near("tokens_per_s", flops)
        return None if tokens is None else Rate(tokens, "between others" if costs[0] <= flops <= costs[-1] else "beyond others")

    def near(self, figure: str, flops: int) -> float | None:
        """A figure in tokens a second, of any shape of `flops` FLOPs a token, by the FLOP/s of its neighbours; None where nothing near is
        known."""
        others = [row for row in self._others() if figure in row]
        if not others or flops > FARTHEST * others[-1]["flops_per_token"] or flops * FARTHEST < others[0]["flops_per_token"]:
            return None
        costs = [math.log(row["flops_per_token"]) for row in others]
        speeds = [math.log(row[figure] * row["flops_per_token"]) for row in others]
        return math.exp(float(np.interp(math.log(flops), costs, speeds))) / flops

    def task_seconds(self, recipe: dict[str, Any], benchmark: str) -> float | None:
        """What scoring this very shape on the benchmark with that digest took; None where that is not known."""
        tasks: dict[str, float] = self._kept.get(self._key(recipe), {}).get("tasks", {})
        return tasks.get(benchmark)

    def known(self, recipe: dict[str, Any], figure: str) -> float | None:
        """A figure of this very shape: read_tokens_per_s, process_bytes, job_bytes, setup_s, compile_s."""
        return self._kept.get(self._key(recipe), {}).get(figure)

    def usual(self, figure: str) -> float | None:
        """The middle one among all shapes of this machine; None where none has it."""
        values = sorted(row[figure] for row in self._others() if figure in row)
        return values[len(values) // 2] if values else None

    def _others(self) -> list[dict[str, Any]]:
        rows = (row for row in self._kept.values() if row.get("machine") == self._machine)
        return sorted(rows, key=lambda row: float(row["flops_per_token"]))

    def _keep(self, recipe: dict[str, Any], figures: Mapping[str, Any]) -> None:
        self._kept[self._key(recipe)] = {**figures, "machine": self._machine, "flops_per_token": _flops(recipe)}

    def _key(self, recipe: dict[str, Any]) -> str:
        train, seq_len = recipe["train"], recipe["data"]["seq_len"]
        return digest([self._machine, recipe["model"], seq_len, train["batch_tokens"], train["precision"], train["optimizer"]["name"]])


def measured(recipes: Sequence[dict[str, Any]], setting: Setting, compiled: Path) -> list[dict[str, float]]:
    """Of each shape: tokens_per_s, read_tokens_per_s, start_s, compile_s, setup_s (kernels in the cache) and process_bytes.

    First the shapes compile, different ones at once, as jobs start; then each is timed by as many processes at the same moment
    as there are slots. At least one of them has found its kernels in the cache, as jobs will: its memory and start count.
    """
    with ExitStack() as stack:
        server = fork_server(setting.threads, compiled, setting.gpus, setting.devices, setting.compile)
        if server:
            stack.callback(server.close)

        def start(recipe: dict[str, Any], slot: int) -> Process:
            return stack.enter_context(Process(recipe, setting, compiled, slot, server))

        first: list[Process] = []
        for chunk in _chunks(recipes, setting.slots):
            started = [start(recipe, slot) for slot, recipe in enumerate(chunk)]
            first += [process for process in started if process.is_ready()]
        return [
            _timed(process, [start(recipe, slot) for slot in _other_slots(process.slot, setting)], setting.slots)
            for recipe, process in zip(recipes, first, strict=True)
        ]


def _other_slots(first: int, setting: Setting) -> list[int]:
    """Those that a shape is timed in beside its first process; where there are none, that one's own, for the start with kernels."""
    return [slot for slot in range(setting.slots) if slot != first] or [first] * int(setting.compile)


def _timed(first: Process, others: Sequence[Process], slots: int) -> dict[str, float]:
    for process in others:
        process.is_ready()
    together = [first, *others][-slots:]
    for process in together:
        process.go()
    figures = [process.figures() for process in together]
    for process in (first, *others):
        process.close()
    warm = together[-1]
    rates = {key: sum(f[key] for f in figures) / len(figures) for key in ("tokens_per_s", "read_tokens_per_s")}
    return {
        **rates, "process_bytes": figures[-1]["process_bytes"],
        "start_s": warm.start_seconds, "setup_s": warm.setup_seconds, "compile_s": first.setup_seconds,
    }  # fmt: skip


class Process:
    """`python -m ablate.measure` with one shape, in the environment of a job in `slot`, begun as jobs are."""

    def __init__(self, recipe: dict[str, Any], setting: Setting, compiled: Path, slot: int, server: ForkServer | None = None) -> None:
        self.slot = slot
        self._began = time.perf_counter()
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by close)
        asked, to_it = os.pipe()
        from_it, answers = os.pipe()
        self._to, self._from = os.fdopen(to_it, "w", buffering=1), os.fdopen(from_it)
        try:
            forked = server.measurement(asked, answers, self._log.fileno()) if server else None
            self.pid, self._poll = forked or _spawn(setting, compiled, slot, asked, answers, self._log)
        finally:
            os.close(asked)
            os.close(answers)
        self._tell(json.dumps({
            "recipe": recipe, "device_type": setting.device.type, "compile": setting.compile,
            "backend": "torch" if setting.devices > 1 else setting.backend,  # several devices have torch's
            "checkpointing": setting.checkpointing,
        }))  # fmt: skip

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_ready(self) -> bool:
        """Wait until it has built and compiled; RunError where it cannot."""
        self.setup_seconds = float(self._hear()["ready"])
        self.start_seconds = time.perf_counter() - self._began - self.setup_seconds
        return True

    def go(self) -> None:
        self._tell("go")

    def figures(self) -> dict[str, float]:
        return {key: float(value) for key, value in self._hear().items()}

    def close(self) -> None:
        with contextlib.suppress(ConnectionError):
            if self._poll() is None:
                os.kill(self.pid, signal.SIGKILL)
        self._status()
        for stream in (self._to, self._from, self._log):
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _tell(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has died, and `_hear` says why
            self._to.write(line + "\n")

    def _hear(self) -> dict[str, Any]:
        if line := self._from.readline():
            return dict(json.loads(line))
        self._log.seek(0)
        last = (self._log.read().strip().splitlines() or [f"it ended with status {self._status()}"])[-1]
        raise RunError(f"measuring the speed of this machine failed: {last.strip()}")

    def _status(self) -> int | None:
        """Once it has ended; None where nobody knows any more."""
        with contextlib.suppress(ConnectionError):
            while (status := self._poll()) is None:
                time.sleep(0.01)
            return status
        return None


def _spawn(setting: Setting, compiled: Path, slot: int, asked: int, answers: int, log: IO[str]) -> Started:
    env = environment(setting.threads, compiled, slot, setting.gpus, setting.devices)
    process = subprocess.Popen([sys.executable, "-m", "ablate.measure"], stdin=asked, stdout=answers, stderr=log, env=env)
    return process.pid, process.poll


def _flops(recipe: dict[str, Any]) -> int:
    return ladder.flops_per_token(recipe["model"], recipe["data"]["seq_len"])


def _chunks(values: Sequence[T], size: int) -> list[Sequence[T]]:
    return [values[i : i + size] for i in range(0, len(values), size)]


def _spread(values: Sequence[T], most: int) -> list[T]:
    """At most `most` of them, evenly spaced, first and last included."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]
