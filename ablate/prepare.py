"""Everything a study's jobs read, built once before the first of them starts: tokenizer and token shards.

Only here is it known how many tokens a finite source really has, so here a run that would repeat a
source too often is refused, before any step is trained.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path

from ablate.data import mixture, shards, sources, tokenizer
from ablate.errors import StudyError
from ablate.study import spec
from ablate.study.grid import Run
from ablate.study.quantities import format_count
from ablate.workspace import Workspace


def streams(study: spec.Study, runs: Sequence[Run]) -> dict[tuple[str, int], int]:
    """(role, stream) → tokens that its hungriest run reads. Finite sources have one stream for all seeds."""
    needed: dict[tuple[str, int], int] = {}
    for run in runs:
        seq_len = run.recipe["data"]["seq_len"]
        sequences = run.tokens // seq_len
        for role, share in run.recipe["data"]["shares"].items():
            key = (role, 0 if sources.is_finite(getattr(study.data, role)) else run.seed)
            read = (int(sequences * Fraction(share)) + len(run.recipe["data"]["shares"])) * seq_len + 1
            needed[key] = max(needed.get(key, 0), read)
    return needed


def prepare(study: spec.Study, runs: Sequence[Run], space: Workspace, processes: int) -> None:
    """Build what is missing, then refuse runs that repeat a source more than data.max_epochs times."""
    folder = tokenizer.prepare(study.data, space)
    tasks = [(getattr(study.data, role), stream, folder, tokens, space) for (role, stream), tokens in streams(study, runs).items()]
    tasks = [task for task in tasks if not _is_built(*task)]
    if len(tasks) > 1 and processes > 1:
        # spawn: a fork would inherit the threads' locks of the libraries that the driver has loaded
        with ProcessPoolExecutor(min(processes, len(tasks)), mp_context=multiprocessing.get_context("spawn")) as pool:
            list(pool.map(_build, *zip(*tasks, strict=True)))
    else:
        for task in tasks:
            _build(*task)
    check_epochs(study, runs, space)


def epochs(study: spec.Study, run: Run, space: Workspace) -> list[mixture.Usage]:
    """What a run will have read of each source by its end; the sources must be prepared."""
    data = run.recipe["data"]
    read = []
    for role in data["shares"]:
        opened = shards.open_shards(getattr(study.data, role), run.seed, data["tokenizer"], space)
        read.append(mixture.Stream(opened, run.seed, role, data["seq_len"]))
    return mixture.Mixture(read, [Fraction(s) for s in data["shares"].values()]).usage(run.tokens // data["seq_len"])


def check_epochs(study: spec.Study, runs: Sequence[Run], space: Workspace) -> None:
    """StudyError, with the sum, for the first run that would read a finite source too often."""
    finite = {role for role in ("synthetic", "web") if (s := getattr(study.data, role)) is not None and sources.is_finite(s)}
    for run in runs:
        if not finite & run.recipe["data"]["shares"].keys():
            continue
        for usage in epochs(study, run, space):
            if usage.epochs > study.data.max_epochs:
                has = round(usage.tokens / usage.epochs)
                raise StudyError(
                    f"the cell tokens {format_count(run.tokens)}, synthetic_ratio {run.factors['synthetic_ratio']:g} reads {format_count(usage.tokens)} tokens "
                    f"of data.{usage.source}, which has {format_count(has)}: {usage.epochs:.1f} epochs, more than data.max_epochs {study.data.max_epochs:g}; "
                    "add text, lower tokens, or raise data.max_epochs"
                )


def _is_built(source: spec.Source, stream: int, folder: Path, tokens: int, space: Workspace) -> bool:
    return shards.is_built(source, stream, folder.name, tokens, space)


def _build(source: spec.Source, stream: int, folder: Path, tokens: int, space: Workspace) -> None:
    shards.prepare(source, stream, folder.name, tokenizer.load(folder), tokens, space)
