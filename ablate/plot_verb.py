"""`ablate plot`, and the end of `ablate run`: the figures of what is in results.db, and its verdict. No torch is loaded for it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ablate.errors import BusyError, StudyError, UsageError
from ablate.launch.base import hold
from ablate.report import cells, claims, contamination, frames, plots, published_plots, sentences
from ablate.store.store import Store
from ablate.study import grid
from ablate.study.load import load
from ablate.workspace import Workspace, renamed_into_place

PUBLISHED = "published"
"""The figure that no study has: the article's comparison."""


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


def draw_changed(space: Workspace, name: str) -> str:
    """The figures again if what they show has changed since they were drawn, and the verdict; as text."""
    store = Store.read_only(space.database)
    table = frames.read(store, name)
    told: list[str] = []
    stamp, state = space.plots / f".{name}.drawn", grid.digest([table.runs.rows(), table.scores.rows(), table.baselines.rows()])
    if not stamp.exists() or stamp.read_text() != state:
        paths = plots.draw_all(table, space.plots / name)
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(state)
        told.append(f"figures and their tables: {space.plots / name} ({sum(p.suffix == '.png' for p in paths)} figures)")
    return "\n".join([*told, "", _verdict(store, table, space.plots / name)])


def _bring_up_to_date(space: Workspace) -> None:
    """Make results.db what this program reads and ships, unless a driver is at work: it has done so."""
    with suppress(BusyError), hold(space.driver_lock, f"the folder {space.runs}"):
        Store.open(space.database).close()


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
