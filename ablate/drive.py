"""Walk a study to its end: adopt what lives, record what is done, start what is missing, say what failed.

One driver a folder, and the only writer of results.db. It holds no state of its own that matters: kill it
at any moment and the next one finds everything in the run folders.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ablate import audit, baselines, prepare, resolve
from ablate.baselines import Baseline
from ablate.errors import Interrupted
from ablate.jobs import jobs_of
from ablate.launch.base import Adopted, Handle, Launcher, hold
from ablate.leave import signals_as_interrupt
from ablate.machines import Here
from ablate.predict import prediction
from ablate.reading import Scoring
from ablate.scored import Wanted
from ablate.search import Trials
from ablate.store.record import Asked
from ablate.store.store import Store
from ablate.study import grid, spec
from ablate.workspace import Workspace, read_json, write_json

POLL_SECONDS = 0.2
STOP_SECONDS = 20.0
RESTARTS = 1
"""A job whose worker dies is started once more (the machine may have killed it); then what it carried has failed."""

Work = grid.Run | Baseline
"""What has a folder and ends with an outcome there."""


class Watcher(Protocol):
    """What is told as it happens; the terminal's display derives from it."""

    def planned(self, runs: Sequence[grid.Run], done: Set[str]) -> None: ...
    def preparing(self) -> None: ...
    def said(self, line: str) -> None: ...
    def started(self, jobs: int, slots: int) -> None: ...
    def finished(self, run: grid.Run, outcome: dict[str, Any]) -> None: ...
    def compared(self, baseline: Baseline, outcome: dict[str, Any]) -> None: ...
    def restarted(self, job: str, reason: str) -> None: ...
    def tick(self, running: Sequence[grid.Run]) -> None: ...


@dataclass(frozen=True)
class Order:
    """What a driver was asked to do."""

    study: spec.Study
    file: str
    profile: str | None
    space: Workspace
    launcher: Launcher
    device: str
    compile: bool
    processes: int


@dataclass(frozen=True)
class Result:
    """How it ended."""

    runs: tuple[grid.Run, ...]
    trained: int
    failed: dict[str, str] = field(default_factory=dict)
    """digest → why"""
    unscored: list[tuple[str, str]] = field(default_factory=list)
    """(what, why) of every score that could not be made of a run that is done or of a baseline"""


def drive(order: Order, watch: Watcher) -> Result:
    """Run everything that is missing. BusyError if another driver works here; Interrupted after Ctrl-C."""
    with hold(order.space.driver_lock, f"the folder {order.space.runs}"):
        return Driver(order, watch).run()


@dataclass
class _Running:
    handle: Handle
    waiting: dict[str, Work]
    """What of this job is without an outcome that is newer than its start."""
    parts: list[list[dict[str, Any]]]
    """What it carries: the runs of one family each, or one baseline."""
    restarts: int = 0


class Driver:
    """One walk through a study."""

    def __init__(self, order: Order, watch: Watcher) -> None:
        self.order = order
        self.watch = watch
        self.space = order.space
        self.runs = resolve.runs(order.study, order.space)
        self.baselines = baselines.resolve(order.study.baselines, order.space)
        self.by_digest = {run.digest: run for run in self.runs}
        self.work: dict[str, Work] = {**self.by_digest, **{baseline.digest: baseline for baseline in self.baselines}}
        self.largest = {family.digest: family.runs[-1].tokens for family in grid.families(self.runs)}
        self.store = Store.open(self.space.database)
        self.trials = Trials(self.store, order.study.name)
        self.failed: dict[str, str] = {}
        self.unscored: list[tuple[str, str]] = []
        self.unmet: list[Work] = []
        """What an adopted job scored on less than this study wants."""
        self.trained = 0
        self.here, self.scoring = Here(order.study, order.space), Scoring(order.study.evaluate)

    def run(self) -> Result:
        """The whole walk; a second walk over a finished study changes nothing."""
        asked = [Asked(b.name, b.fresh, b.digest) for b in self._wanted(self.runs[0]).benchmarks(fresh=True)]
        self.store.save_study(self.order.study, self.order.file, self.order.profile, asked)
        self.store.declare(self.order.study.name, self.runs)
        self.store.declare_baselines(self.order.study.name, [baseline.digest for baseline in self.baselines])
        missing = self._missing()
        self.watch.planned(self.runs, {run.digest for run in self.runs} - missing.keys())
        try:
            if missing or self._audit_is_missing():  # an earlier driver may have been killed before its audit
                with signals_as_interrupt():
                    if missing:
                        self._walk(missing)
                    self._audit()
            self.trials.sync()
            if self.order.study.keep_models == "best":
                self._keep_best()
        finally:
            self.trials.close()
            self.store.close()
        return Result(tuple(self.runs), self.trained, self.failed, self.unscored)

    def _missing(self) -> dict[str, Work]:
        """What is to be trained or scored, after recording outcomes that an earlier driver did not live to record."""
        done = self.store.done(self.order.study.name)
        missing = {}
        for digest, work in self.work.items():
            outcome = read_json(self._folder(work) / "outcome.json")
            if outcome is None or outcome["status"] != "done" or not self._is_met(work, outcome) or self._failures(work, outcome):
                missing[digest] = work
            elif digest not in done:
                self._record(work, outcome)
        return missing

    def _folder(self, work: Work) -> Path:
        return self.space.run(work.digest) if isinstance(work, grid.Run) else self.space.baselines / work.digest

    def _wanted(self, work: Work) -> Wanted:
        return Wanted(self.order.study.evaluate, work.data if isinstance(work, grid.Run) else self.order.study.data)

    def _is_met(self, work: Work, outcome: dict[str, Any]) -> bool:
        return self._wanted(work).is_met(outcome, self._is_largest(work))

    def _failures(self, work: Work, outcome: dict[str, Any]) -> list[tuple[str, str]]:
        return self._wanted(work).failures(outcome, self._is_largest(work))

    def _is_largest(self, work: Work) -> bool:
        """Whether it is a run with its family's largest budget, where the fresh twins are scored too."""
        return isinstance(work, grid.Run) and work.tokens == self.largest[work.family]

    def _walk(self, missing: dict[str, Work]) -> None:
        running = self._adopt(missing)
        adopted = {d for job in running for d in job.waiting}
        try:
            self._get_ready([work for digest, work in missing.items() if digest not in adopted])
            self.watch.preparing()
            prepare.prepare(self.runs, self.order.study.evaluate, self.space, self.order.processes, self.watch.said)
            queue = self._queue([work for digest, work in missing.items() if digest not in adopted])
            self.watch.started(len(queue) + len(running), self.order.launcher.slots)
            while queue or running or self.unmet:
                if not queue and not running:
                    queue, self.unmet = self._queue(self.unmet), []
                while queue and len(running) < self.order.launcher.slots:
                    running.append(self._start(queue.pop(0)))
                self._collect(running)
                self.watch.tick([work for job in running for work in job.waiting.values() if isinstance(work, grid.Run)])
                if running:
                    time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            self._stop()
            raise Interrupted("stopped; everything trained so far is kept, and the same command goes on from there") from None
        finally:
            self.order.launcher.close()

    def _get_ready(self, missing: Sequence[Work]) -> None:
        untrained = [work for work in missing if isinstance(work, grid.Run) and not (self.space.run(work.digest) / "train.json").exists()]
        if missing:
            self.order.launcher.get_ready(self.order.compile and bool(untrained))
        if untrained:
            self.trials.open()  # meanwhile, so that no job waits for it

    def _queue(self, missing: Sequence[Work]) -> list[list[list[dict[str, Any]]]]:
        """The parts of each job, in the order to start them. The baselines are one job, so that one of them is in memory at a time."""
        runs = [work for work in missing if isinstance(work, grid.Run)]
        compared = [[self._baseline_row(work)] for work in missing if isinstance(work, Baseline)]
        families = [[[self._row(run) for run in family.runs] for family in job] for job in jobs_of(runs, self.order.launcher.slots)]
        return [*([compared] if compared else []), *families]

    def _audit_is_missing(self) -> bool:
        benchmarks = self._wanted(self.runs[0]).with_items()
        return self.store.overlap_is_missing(self.order.study.name, {benchmark.digest for benchmark in benchmarks})

    def _audit(self) -> None:
        """Look for the benchmarks' items in everything that the runs could read, and record what is found."""
        streams = prepare.streams(self.runs, self.space)
        prepare.build(self.runs, streams, self.space, self.order.processes, self.watch.said)
        audit.measure([*streams], self._wanted(self.runs[0]).with_items(), self.space, self.order.processes)
        audit.record([*streams], self.space, self.store)

    def _adopt(self, missing: dict[str, Work]) -> list[_Running]:
        adopted = []
        for handle in self._living():
            if job := read_json(handle.folder / "job.json"):
                parts = [*job["families"], *([row] for row in job.get("baselines", []))]
                waiting = {row["digest"]: missing[row["digest"]] for rows in parts for row in rows if row["digest"] in missing}
                adopted.append(_Running(handle, waiting, parts))
        return adopted

    def _baseline_row(self, baseline: Baseline) -> dict[str, Any]:
        data = self.order.study.data.model_dump(mode="json", exclude_defaults=True)
        return {"digest": baseline.digest, "baseline": asdict(baseline), "data": data}

    def _row(self, run: grid.Run) -> dict[str, Any]:
        data = run.data.model_dump(mode="json", exclude_defaults=True)
        return {
            "digest": run.digest,
            "family": run.family,
            "recipe": run.recipe,
            "data": data,
            "weights": run.weights,
            "fresh": self._is_largest(run),
        }

    def _start(self, parts: list[list[dict[str, Any]]], restarts: int = 0) -> _Running:
        order = self.order
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{parts[0][0].get('family', parts[0][0]['digest'])[:8]}"
        name += f"-again{restarts}" if restarts else ""
        study = order.study.model_dump(mode="json", by_alias=True, include={"evaluate", "launch", "keep_models"})
        families = [[self._with_prediction(row, len(rows) > 1) for row in rows] for rows in parts if "family" in rows[0]]
        folder = self.space.job(name)
        write_json(folder / "job.json", {
            "root": str(self.space.root.absolute()), "study": study, "families": families,
            "baselines": [rows[0] for rows in parts if "baseline" in rows[0]],
            "device": order.device, "compile": order.compile, "launcher": order.launcher.name,
            "optimizer_backend": order.study.train.optimizer.backend,
        })  # fmt: skip
        waiting = {row["digest"]: self.work[row["digest"]] for rows in parts for row in rows}
        runs = [work for work in waiting.values() if isinstance(work, grid.Run)]
        for work in waiting.values():
            (self._folder(work) / "outcome.json").unlink(missing_ok=True)
        for run in runs:
            self.store.start(run.digest, name)
        handle = order.launcher.start(folder)
        for run in runs:
            self.trials.start(run)
        return _Running(handle, waiting, parts, restarts)

    def _with_prediction(self, row: dict[str, Any], with_others: bool) -> dict[str, Any]:
        """The row with what is expected of the run, from what is known as its job starts; of a trained one, what was expected then."""
        folder = self.space.run(row["digest"])
        if (folder / "train.json").exists():
            return {**row, "predicted": (read_json(folder / "run.json") or {}).get("predicted")}
        expected = prediction(self.by_digest[row["digest"]], self.here, with_others and self.order.study.launch.share == "trunk")
        return {**row, "predicted": {"seconds": expected.seconds, "memory_bytes": expected.memory_bytes}}

    def _collect(self, running: list[_Running]) -> None:
        """Record new outcomes; a job that died without them is started again, or what it carried has failed."""
        for job in list(running):
            alive = job.handle.alive()  # asked before looking for files: what a dead worker wrote is all there
            for digest, work in list(job.waiting.items()):
                if outcome := read_json(self._folder(work) / "outcome.json"):
                    del job.waiting[digest]
                    if outcome["status"] == "done" and not self._is_met(work, outcome):
                        self.unmet.append(work)
                    else:
                        self._record(work, outcome)
            if not alive:
                running.remove(job)
                if job.waiting:
                    self._died(job, running)

    def _died(self, job: _Running, running: list[_Running]) -> None:
        """Start the job once more; if that was tried, the first part that it did not end has failed and the others go on."""
        reason = job.handle.exit_reason()
        left = [rows for part in job.parts if (rows := [row for row in part if row["digest"] in job.waiting])]
        if job.restarts < RESTARTS:
            self.watch.restarted(job.handle.folder.name, reason)
            running.append(self._start(left, job.restarts + 1))
            return
        for row in left[0]:
            work = job.waiting[row["digest"]]
            failed = {"digest": row["digest"], "status": "failed", "error": reason}
            self._record(work, work.outcome(reason) if isinstance(work, Baseline) else failed)
        if left[1:]:
            running.append(self._start(left[1:]))

    def _record(self, work: Work, outcome: dict[str, Any]) -> None:
        if isinstance(work, Baseline):
            self.store.record_baseline(outcome, self._folder(work))
            of = f"the baseline {work.name}"
            self.unscored += [(f"{name} of {of}", why) for name, why in self._failures(work, outcome)]
            self.unscored += [(of, outcome["error"])] if outcome["error"] else []
            self.watch.compared(work, outcome)
            return
        if outcome["status"] == "done":
            self.store.record(outcome, self._folder(work))
            self.trained += 1
            self.unscored += self._failures(work, outcome)
            self._learn(work, outcome)
        else:
            self.store.fail(work.digest, outcome["error"])
            self.trials.fail(work.digest, outcome["error"])
            self.failed[work.digest] = outcome["error"]
        self.watch.finished(work, outcome)

    def _learn(self, run: grid.Run, outcome: dict[str, Any]) -> None:
        """What the run really took makes the next prediction better."""
        train = outcome["train"]
        self.here.speeds.learn(run.recipe, {
            "tokens_per_s": train["tokens"] / train["train_seconds"], "setup_s": train["setup_seconds"],
            "job_bytes": train["peak_memory_bytes"], **self.scoring.took(run, outcome, self._is_largest(run)),
        })  # fmt: skip
        self.here.speeds.save()

    def _keep_best(self) -> None:
        """Drop every finished model of this study but that of the highest mean score, and those that lack a score."""
        unfinished = self._missing()
        scored = [row for row in self.store.status(self.order.study.name) if row["status"] == "done" and row["mean_score"] is not None]
        best = max(scored, key=lambda row: row["mean_score"], default=None)
        for row in scored:
            if best is not None and row["run"] != best["run"] and row["run"] not in unfinished:
                shutil.rmtree(self.space.run(row["run"]) / "model", ignore_errors=True)

    def _stop(self) -> None:
        """Ask every job of the folder to leave, for one may have been about to be started; and again while it lives, for it may have been
        about to sign its lock."""
        deadline = time.monotonic() + STOP_SECONDS
        while (living := self._living()) and time.monotonic() < deadline:
            for job in living:
                job.stop()
            time.sleep(POLL_SECONDS)

    def _living(self) -> list[Adopted]:
        return [job for folder in sorted(self.space.jobs.glob("*")) if (job := Adopted(folder)).alive()]
