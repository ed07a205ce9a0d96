"""What a study will cost, before it runs: FLOPs, memory, disk, time, what sharing saves, what it can detect.

What cannot run is refused here, with the sum that shows why; `ablate run` asks the same questions first.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from ablate import baselines, prefetch, prepare, resolve
from ablate.baselines import Baseline
from ablate.detect import Detectable, detectable
from ablate.errors import StudyError
from ablate.fit import disk, existing, refuse_disk, refuse_memory, refuse_narrow, refuse_weights, where_it_fits
from ablate.jobs import cores, jobs_of
from ablate.machines import Elsewhere, Here, Machine, machine_for
from ablate.model import ladder
from ablate.predict import JobTime, baselines_time, family_tokens, job_time, peak, prediction, scoring_share, tokens_of, untimed
from ablate.reading import Scoring
from ablate.report import generation
from ablate.scored import Wanted
from ablate.study import grid, spec
from ablate.study.quantities import parse_seconds
from ablate.train import device, optim
from ablate.workspace import Workspace

AROUND_SECONDS = 20.0
"""Of a whole study outside its jobs: the driver's start, the tokenizer, the benchmarks, the figures. An estimate."""
BUILD_SECONDS = 1.4e-6
"""Core-seconds to write and tokenise a token of an embedded corpus: the upper end of what docs/performance.md measured."""
DRIVER_BYTES = 480_000_000
"""Of the driver, beside its jobs. An estimate."""


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
    speed: str | None
    """How its training speed is known; None where it is not."""
    fits: tuple[str, ...]
    """Where one device of some known GPU is too small: on how many of which it can be trained."""


@dataclass(frozen=True)
class RunPrice:
    """One run, as if trained alone."""

    run: str
    params: int
    tokens: int
    seed: int
    factors: dict[str, Any]
    flops: float
    memory_bytes: int
    device_hours: float | None
    scoring: float | None
    """Share of its time that scoring takes, less what Price.absent_benchmarks names; None where nothing is known of the shape."""


@dataclass(frozen=True)
class Price:
    """The whole study. FLOPs: 6 a non-embedding parameter and token, plus attention, plus the output layer."""

    study: str
    runs: int
    families: int
    jobs: int
    slots: int
    pack: int
    """launch.pack where it is a number, else 1: a slot has up to so many models at once, and memory that no job has shown is of one."""
    device: str
    assumption: str | None
    """What the hours rest on where they were not measured."""
    sizes: tuple[Size, ...]
    each: tuple[RunPrice, ...]
    tokens: dict[str, int]
    """Most tokens that any run reads of each source."""
    epochs: dict[str, float]
    """Most passes that any run makes over each source that can end; embedded corpora never do. Empty where some are absent."""
    absent: tuple[str, ...]
    """Data sets of the hub that are not on this machine, so that nobody has counted the tokens that runs could read."""
    absent_benchmarks: tuple[str, ...]
    """Benchmarks whose items are not on this machine. What scoring them takes is in no figure here."""
    absent_baselines: tuple[str, ...]
    """Baselines of the hub that are not on this machine: scoring them is in no figure here."""
    unpriced_baselines: tuple[str, ...]
    """Those that are, and of whose size nothing is known: in no figure either."""
    untimed: tuple[str, ...]
    """Benchmarks whose time does not follow from their items, and of which too few scores are there to tell: in no figure either."""
    flops: float
    flops_alone: float
    """If every run were trained alone."""
    memory: int
    memory_here: int
    disk: int
    disk_here: int
    device_hours: float | None
    """Of training, scoring (the baselines too) and start-up. Where the MFU is assumed as a range: at its lower end."""
    least_device_hours: float | None
    """At the upper end of that range; else the same."""
    wall_seconds: float | None
    detectable: Detectable
    seeds: int
    data_gpu_hours: dict[str, float | None]
    """What the different tokens that any run reads of each source cost to generate at most; None where the source states no cost."""


def price(study: spec.Study, space: Workspace, say: Callable[[str], None] = lambda line: None) -> Price:
    """The price of `study`, as far as it is known without the network; StudyError where it cannot run as written. `say` is told what is
    being measured or tokenised."""
    known, runs = prefetch.known(study), resolve.runs(study, space, prefetch.known_data)
    machine = machine_for(study, space)
    prepare.check_evaluation(runs, study.evaluate, known.evaluate, isinstance(machine, Here))
    refuse(study, runs, machine, space)
    found = _baselines(study, known, machine, space)
    if isinstance(machine, Here):
        machine.speeds.measure([run.recipe for run in runs], say)
    slots, families = machine.slots, grid.families(runs)
    by_name = {family.digest: family for family in families}
    jobs, scoring = jobs_of(runs, slots), Scoring(known.evaluate)
    compared, unpriced = baselines_time(found, study.data, machine, scoring)
    times = [compared, *(job_time(job, machine, scoring, study.launch.share) for job in jobs)]
    hours = _hours(times)
    read, epochs = most_read(runs), {} if known.absent else prepare.largest_epochs(runs, space, cores(), say)
    trunks = {run.family for family in families if study.launch.share == "trunk" and len(family.runs) > 1 for run in family.runs}
    return Price(
        study=study.name, runs=len(runs), families=len(families), jobs=len(jobs), slots=slots,
        pack=study.launch.pack if isinstance(study.launch.pack, int) else 1,
        device=machine.name, assumption=machine.assumption,
        sizes=tuple(_size(study, [r for r in runs if r.params == p], machine, scoring) for p in sorted({r.params for r in runs})),
        each=tuple(_run_price(run, machine, by_name[run.family], run.family in trunks, scoring) for run in runs),
        tokens=read, epochs=epochs, data_gpu_hours=generation.planned([run.data.costs() for run in runs], read, epochs),
        absent=known.absent, absent_benchmarks=known.absent_benchmarks, absent_baselines=known.absent_baselines,
        unpriced_baselines=tuple(unpriced), untimed=tuple(untimed(runs, found, machine, scoring)),
        flops=sum(_family_flops(f.runs, study.launch.share) for f in families),
        flops_alone=sum(_flops(r.recipe) * tokens_of(r) for r in runs),
        memory=_together(runs, machine), memory_here=machine.memory_bytes,
        disk=disk(study, runs, read), disk_here=shutil.disk_usage(existing(space)).free,
        device_hours=hours,
        least_device_hours=hours * machine.least / machine.most if isinstance(machine, Elsewhere) and hours is not None else hours,
        wall_seconds=_wall(times, machine.devices, slots, prepare.tokens_to_build(runs, space)),
        detectable=detectable(study, runs, space), seeds=len(study.seeds),
    )  # fmt: skip


def refuse_bad_fit(study: spec.Study, space: Workspace) -> None:
    """What `run` asks before it starts: StudyError if what is missing of the study does not fit here."""
    missing = [run for run in resolve.runs(study, space) if not (space.run(run.digest) / "outcome.json").exists()]
    if missing:
        refuse(study, missing, Here(study, space), space)
    found = baselines.resolve(study.baselines, space)
    refuse_weights(found, device.pick(study.launch.device))
    refuse_narrow(found, Wanted(study.evaluate, study.data))


def refuse(study: spec.Study, runs: Sequence[grid.Run], machine: Machine, space: Workspace) -> None:
    """StudyError if memory or disk cannot hold these runs, or the optimiser asked for does not work here.

    Of a machine that is not here neither the disk nor what is installed is known.
    """
    one_each = {run.family: run for run in runs}.values()
    refuse_memory(max(one_each, key=lambda r: peak(r.recipe, machine, False)), machine, _together(runs, machine))
    if isinstance(machine, Here):
        if study.train.optimizer.backend == "apex":
            optim.backend_of("apex", device.pick(study.launch.device))
        refuse_disk(disk(study, runs, most_read(runs)), space)


def _baselines(study: spec.Study, known: prefetch.Known, machine: Machine, space: Workspace) -> list[Baseline]:
    """The baselines that are on this machine; StudyError for one that cannot be scored."""
    found = baselines.resolve([name for name in study.baselines if name not in known.absent_baselines], space)
    if isinstance(machine, Here):
        refuse_weights(found, device.pick(study.launch.device))
    asked = study.evaluate.model_copy(update={"lm_eval": known.evaluate.lm_eval})  # of the benchmarks no item is needed
    refuse_narrow(found, Wanted(asked, study.data))
    return found


def refuse_over_budget(price: Price, budget: str) -> None:
    """StudyError if the plan needs more device-hours than `budget`, or they are not all known."""
    limit = parse_seconds(budget) / 3600
    if price.device_hours is None or price.device_hours > limit:
        needs = "an unknown number of" if price.device_hours is None else f"about {price.device_hours:.2f}"
        raise StudyError(
            f"the study needs {needs} device-hours and --budget allows {limit:.2f}: lower grid.tokens or grid.params, or raise the budget"
        )
    if gone := (*price.absent_benchmarks, *price.absent_baselines):
        raise StudyError(
            f"--budget: what scoring takes is not known while these are not on this machine: {', '.join(gone)}; "
            "run `ablate prefetch STUDY` first, or leave --budget out"
        )


def most_read(runs: Sequence[grid.Run]) -> dict[str, int]:
    """Most tokens that any run reads of each source."""
    read: dict[str, int] = {}
    for run in runs:
        for role, share in run.recipe["data"]["shares"].items():
            read[role] = max(read.get(role, 0), int(run.tokens * Fraction(share)))
    return read


def as_json(price: Price) -> dict[str, Any]:
    """The price as plain values."""
    return asdict(price)


def _size(study: spec.Study, runs: Sequence[grid.Run], machine: Machine, scoring: Scoring) -> Size:
    recipe = runs[0].recipe
    counts, rate = ladder.count(recipe["model"]), machine.rate(recipe)
    return Size(
        params=runs[0].params, non_embedding=counts.non_embedding, total=counts.total,
        width=recipe["model"]["hidden_size"], layers=recipe["model"]["num_hidden_layers"], runs=len(runs),
        lr=recipe["train"]["lr"], batch_tokens=recipe["train"]["batch_tokens"], precision=recipe["train"]["precision"],
        flops=sum(_family_flops(f.runs, study.launch.share) for f in grid.families(runs)), memory=peak(recipe, machine, True),
        hours=_hours([job_time(job, machine, scoring, study.launch.share) for job in jobs_of(runs, 1)]),
        speed=None if rate is None else rate.how, fits=where_it_fits(recipe),
    )  # fmt: skip


def _run_price(run: grid.Run, machine: Machine, family: grid.Family, shares_trunk: bool, scoring: Scoring) -> RunPrice:
    predicted = prediction(run, machine, shares_trunk)
    hours = None if predicted.seconds is None else predicted.seconds / 3600
    flops, scored = float(_flops(run.recipe) * tokens_of(run)), scoring_share(run, machine, scoring, run.digest == family.runs[-1].digest)
    return RunPrice(run.digest, run.params, run.tokens, run.seed, run.factors, flops, predicted.memory_bytes, hours, scored)


def _together(runs: Sequence[grid.Run], machine: Machine) -> int:
    """Bytes with the largest runs in all slots: on one device each, or all in this machine's memory."""
    largest = max(peak(run.recipe, machine, True) for run in {run.family: run for run in runs}.values())
    return largest if machine.device_type == "cuda" else machine.slots * machine.devices * largest + DRIVER_BYTES


def _hours(times: Sequence[JobTime | None]) -> float | None:
    known = [time.device_seconds for time in times if time is not None]
    return sum(known) / 3600 if len(known) == len(times) else None


def _wall(times: Sequence[JobTime | None], devices: int, slots: int, tokens: int) -> float | None:
    """Seconds until all is done: the data first, then the jobs, the longest first, then the figures."""
    busy = [0.0] * slots
    for job in sorted((time.wall_seconds(devices) for time in times if time is not None), reverse=True):
        busy[busy.index(min(busy))] += job
    return None if None in times else AROUND_SECONDS + tokens * BUILD_SECONDS / cores() + max(busy)


def _family_flops(runs: Sequence[grid.Run], share: str) -> float:
    return float(family_tokens(runs, share) * _flops(runs[0].recipe))


def _flops(recipe: dict[str, Any]) -> int:
    return ladder.flops_per_token(recipe["model"], recipe["data"]["seq_len"])
