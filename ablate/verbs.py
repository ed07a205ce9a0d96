"""`ablate run` and `ingest`: put the parts together for the command line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ablate import drive, plan
from ablate.display import Display
from ablate.jobs import cores
from ablate.launch.base import Launcher, hold
from ablate.launch.inline import InlineLauncher
from ablate.launch.local import LocalLauncher
from ablate.machines import compiles, gpus_of, slots_of, threads_of
from ablate.plot_verb import draw_changed
from ablate.store.store import Store
from ablate.study import spec
from ablate.study.load import load
from ablate.train import device
from ablate.workspace import Workspace, read_json


def run(path: Path, overrides: Sequence[str], profile: str | None, folder: Path, budget: str | None) -> int:
    """`ablate run`: the whole study, then figures and the verdict. Returns the exit status: 1 if a run or a score failed."""
    study = load(path, profile, overrides)
    space = Workspace(folder)
    if budget:
        plan.refuse_over_budget(plan.price(study, space), budget)
    plan.refuse_bad_fit(study, space)
    chosen = device.pick(study.launch.device)
    display = Display(Console(highlight=False, soft_wrap=True, markup=False), space)
    asked = drive.Order(
        study=study, file=str(path), profile=profile, space=space, launcher=_launcher(study, space), device=chosen.type,
        compile=compiles(study), processes=cores(),
    )  # fmt: skip
    try:
        result = drive.drive(asked, display)
    finally:
        display.stop()
    display.console.print(draw_changed(space, study.name))
    for digest, error in result.failed.items():
        display.console.print(f"failed: run {digest}: {error}")
    if result.failed:
        display.console.print(f"{len(result.failed)} of {len(result.runs)} runs failed; the same command tries them again")
    for (benchmark, error), runs in Counter(result.unscored).items():
        display.console.print(f"no score: {benchmark}, of {runs} run{'s' * (runs > 1)}: {error}")
    if result.unscored:
        display.console.print("the same command tries again to make the scores that are missing")
    return 1 if result.failed or result.unscored else 0


def ingest(space: Workspace) -> str:
    """`ablate ingest`: record every outcome in the folders of runs and baselines again."""
    recorded = baselines = 0
    with hold(space.driver_lock, f"the folder {space.runs}"), Store.open(space.database) as store:
        for path in sorted(space.runs.glob("*/outcome.json")):
            run, outcome = read_json(path.parent / "run.json"), read_json(path)
            if run and outcome["status"] == "done":
                store.add_run(run)
                store.record(outcome, path.parent)
                recorded += 1
        for path in sorted(space.baselines.glob("*/outcome.json")):
            store.record_baseline(read_json(path), path.parent)
            baselines += 1
    what = f"{recorded} runs" + (f" and {baselines} baselines" if baselines else "")
    return f"{what} recorded in {space.database}; `ablate run STUDY` ties them to their study again without training"


def _launcher(study: spec.Study, space: Workspace) -> Launcher:
    if study.launch.launcher == "inline":
        return InlineLauncher()
    gpus = gpus_of(device.pick(study.launch.device))
    return LocalLauncher(slots_of(study), threads_of(study), compiled=space.compiled, gpus=gpus, devices=study.launch.devices)
