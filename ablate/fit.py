"""Whether runs fit into memory and on the disk, and where they would: refused with the sum that shows why."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ablate.baselines import Baseline
from ablate.errors import StudyError, UsageError
from ablate.machines import Machine, memory_of
from ablate.model import ladder
from ablate.model.memory import RESERVED, Fit, fits
from ablate.predict import PROCESS_BYTES, parts, peak
from ablate.scored import Wanted
from ablate.study import grid, spec
from ablate.study.quantities import format_bytes, format_count
from ablate.workspace import Workspace


def refuse_memory(largest: grid.Run, machine: Machine, together: int) -> None:
    """StudyError if the run that needs most does not fit on a device, or (on a CPU) not as often as there are slots."""
    need, have = peak(largest.recipe, machine, False), machine.memory_bytes
    reserved = RESERVED if machine.device_type == "cuda" else 0
    if max(need + reserved, together) <= have:
        return
    held = parts(largest.recipe, machine)
    beside = reserved or PROCESS_BYTES
    parted = " + ".join(f"{format_bytes(size)} {name}" for name, size in (*vars(held).items(), ("beside them", beside)))
    slots = f", {machine.slots} at once need {format_bytes(together)}" if together > need else ""
    spread = f" on each of {machine.devices} devices" if machine.devices > 1 else ""
    fit = "; ".join(where_it_fits(largest.recipe))
    raise StudyError(
        f"a run of params {format_count(largest.params)} needs {format_bytes(held.total + beside)} of memory{spread} ({parted}){slots}, "
        f"and there is {format_bytes(have)} on {machine.name}: lower grid.params or launch.slots, raise launch.devices, or run it on "
        "a larger device" + (f"; it fits on {fit}" if fit else "")
    )


def refuse_weights(found: Sequence[Baseline], chosen: torch.device) -> None:
    """StudyError for a baseline whose weights alone are more than the device holds."""
    have = memory_of(chosen)
    for one in found:
        need = one.bytes_on(chosen.type)
        if need > have:
            raise StudyError(
                f"{one.name}: its {format_count(one.params_total)} parameters take {format_bytes(need)} in "
                f"{str(one.dtype(chosen.type)).removeprefix('torch.')}, and there is {format_bytes(have)} on this {chosen.type}; leave the "
                "baseline out, or score it on a larger device"
            )


def refuse_narrow(found: Sequence[Baseline], wanted: Wanted) -> None:
    """StudyError for a baseline that sees too little at once to write the answers that are wanted."""
    for one in found:
        try:
            wanted.check_room(one.max_tokens)
        except UsageError as e:
            raise StudyError(f"baselines: {one.name}: {e}") from None


def refuse_disk(needed: int, space: Workspace) -> None:
    """StudyError if the disk has less room than that."""
    free = shutil.disk_usage(existing(space)).free
    if needed > free:
        raise StudyError(
            f"the study needs about {format_bytes(needed)} of disk and {format_bytes(free)} are free in {space.root.absolute()}: "
            "free some space, or write keep_models: none"
        )


def where_it_fits(recipe: Mapping[str, Any]) -> tuple[str, ...]:
    """On how many of which GPU a shape can be trained, one sequence a pass; empty where one of any known GPU holds it."""
    found = fits(recipe["model"], recipe["train"], recipe["data"]["seq_len"])
    if all(fit.devices == 1 and not fit.checkpointing for fit in found):
        return ()
    alike: dict[tuple[int, bool, int], list[Fit]] = {}
    for fit in found:
        if fit.devices is not None:
            alike.setdefault((fit.devices, fit.checkpointing, fit.memory.total), []).append(fit)
    return tuple(
        f"{devices} x {' or '.join(fit.gpu for fit in same)} ({format_bytes(total)} each" + (", activations recomputed)" if again else ")")
        for (devices, again, total), same in sorted(alike.items())
    )


def disk(study: spec.Study, runs: Sequence[grid.Run], read: Mapping[str, int]) -> int:
    """Bytes at the peak: models, two generations of every trunk's checkpoint, token shards, answers. `read`: tokens a source."""
    models = {r.digest: 4 * ladder.count(r.recipe["model"]).total for r in runs}
    kept = 0 if study.keep_models == "none" else sum(models.values())  # best: the others go at the end
    trunks = sum(24 * ladder.count(f.runs[0].recipe["model"]).total for f in grid.families(runs))
    shards = 2 * sum(read.values()) * len(study.seeds)
    return kept + trunks + shards + 500_000 * len(runs)


def existing(space: Workspace) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = space.root.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder
