"""`ablate run`, `plot` and `ingest`: put the parts together for the command line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from ablate import drive, plan
from ablate.display import Display
from ablate.errors import BusyError, StudyError, UsageError
from ablate.jobs import cores
from ablate.launch.base import Launcher, hold
from ablate.launch.inline import InlineLauncher
from ablate.launch.local import LocalLauncher
from ablate.machines import compiles, gpus_of, slots_of, threads_of
from ablate.report import cells, claims, contamination, frames, plots, published_plots, sentences
from ablate.store.store import Store
from ablate.study import grid, spec
from ablate.study.load import load
from ablate.train import device
from ablate.workspace import Workspace, read_json, renamed_into_place

PUBLISHED = "published"
"""The figure that no study has: the article's comparison."""


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
    _report(display.console, space, study.name)
    for digest, error in result.failed.items():
        display.console.print(f"failed: run {digest}: {error}")
    if result.failed:
        display.console.print(f"{len(result.failed)} of {len(result.runs)} runs failed; the same command tries them again")
    for (benchmark, error), runs in Counter(result.unscored).items():
        display.console.print(f"no score: {benchmark}, of {runs} run{'s' * (runs > 1)}: {error}")
    if result.unscored:
        display.console.print("the same command tries again to make the scores that are missing")
    return 1 if result.failed or result.unscored else 0


def draw(space: Workspace, study: str | None, only: Sequence[str] = (), published: bool = False) -> str:
    """`ablate plot`: figures and the verdict of what is there so far; the figure `published` needs nothing to be there.

    only: names of the figures wanted; none: all of the study's. published: published scores too, beside the study's own."""
    known = (*plots.NAMES, PUBLISHED)
    if unknown := [name for name in only if name not in known]:
        raise UsageError(f"there is no figure {unknown[0]!r}; there are: {', '.join(known)}")
    if space.database.exists() or PUBLISHED in only:
        _bring_up_to_date(space)
    paths = published_plots.draw(space.plots) if PUBLISHED in only else []
    verdict = []
    if set(only) != {PUBLISHED}:
        name = _study_name(space, study)
        store = Store.read_only(space.database)
        table = frames.read(store, name)
        paths += plots.draw_all(table, space.plots / name, only, published)
        verdict = ["", _verdict(store, table, space.plots / name)]
    return "\n".join([*(str(p) for p in paths if p.suffix == ".png"), *verdict])


def _bring_up_to_date(space: Workspace) -> None:
    """Make results.db what this program reads and ships, unless a driver is at work: it has done so."""
    with suppress(BusyError), hold(space.driver_lock, f"the folder {space.runs}"):
        Store.open(space.database).close()


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


def _report(console: Console, space: Workspace, name: str) -> None:
    """Draw what has changed since it was last drawn, and state the verdict."""
    store = Store.read_only(space.database)
    table = frames.read(store, name)
    stamp, state = space.plots / f".{name}.drawn", grid.digest([table.runs.rows(), table.scores.rows(), table.baselines.rows()])
    if not stamp.exists() or stamp.read_text() != state:
        paths = plots.draw_all(table, space.plots / name)
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(state)
        console.print(f"figures and their tables: {space.plots / name} ({sum(p.suffix == '.png' for p in paths)} figures)")
    console.print("")
    console.print(_verdict(store, table, space.plots / name))


def _verdict(store: Store, table: frames.Frames, folder: Path) -> str:
    """The verdict in words, what is at chance, and what overlap with the benchmarks did to the scores: that goes into
    contamination.csv too."""
    found = contamination.groups(store, table)
    if len(found):
        with renamed_into_place(folder / "contamination.csv") as part:
            found.write_csv(part)
    verdicts = [sentences.sentence(verdict) for verdict in claims.verdicts(table)]
    at_chance = [sentences.at_chance(claims.at_chance(grid), grid.conditions) for grid in cells.grids(table)]
    return "\n".join([*verdicts, *filter(None, at_chance), *contamination.told(found)])


def _study_name(space: Workspace, study: str | None) -> str:
    names = Store.read_only(space.database).studies()
    if study is None:
        if len(names) != 1:
            raise StudyError(f"results.db holds {len(names)} studies ({', '.join(names) or 'none'}): say which with `ablate plot NAME`")
        return names[0]
    name = load(Path(study)).name if Path(study).suffix in (".yaml", ".yml") else study
    if name not in names:
        raise StudyError(f"results.db holds no study {name!r}; it holds: {', '.join(names) or 'none'}")
    return name
