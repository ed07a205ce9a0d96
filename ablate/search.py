"""Optuna's view of a study, in the same results.db: one trial a run, for its dashboard and its samplers.

Our `runs` table decides what is done; Optuna is told afterwards and can always be told again from it.
The names of this file are Optuna's: its study is our study, its trial our run, its parameters the numeric factors.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import event

from ablate.store import engine
from ablate.store.record import thin
from ablate.store.store import Finished, Store
from ablate.study import grid

LOSSES = 10
"""Intermediate losses of a trial: each is a transaction."""
LARGEST = 10**15

# Ranges wide enough for any level, for Optuna refuses to change the kind of a parameter later;
# a categorical one could not take a new level at all, so a factor of words goes to the user attributes.
_COUNT = IntDistribution(1, LARGEST, log=True)
_KNOWN: dict[str, BaseDistribution] = {
    "params": _COUNT,
    "tokens": _COUNT,
    "synthetic_ratio": FloatDistribution(0, 1),
    "seed": IntDistribution(0, LARGEST),
}
_OTHER = FloatDistribution(-float(LARGEST), float(LARGEST))


class Trials:
    """The trials of one study. Optuna is opened when asked to, or at the first verb that has something to say."""

    def __init__(self, store: Store, study: str) -> None:
        self._store = store
        self._name = study
        self._opened: optuna.Study | None = None
        self._storage: RDBStorage | None = None
        self._by_run: dict[str, FrozenTrial] = {}

    def open(self) -> None:
        """Open Optuna, which takes seconds the first time."""
        with self._calls():
            pass

    def start(self, run: grid.Run) -> None:
        """The run is about to be trained: its trial is RUNNING. One that a killed driver left so is taken over."""
        with self._calls() as study:
            known = self._by_run.get(run.digest)
            if known is None or known.state == TrialState.FAIL:
                attributes = {"run": run.digest, "factors": run.factors, "seed": run.seed}
                study.enqueue_trial(_parameters(run.factors, run.seed), user_attrs=attributes)
                known = None
            if known is None or known.state == TrialState.WAITING:
                self._ask_until(study, run.digest)

    def sync(self) -> None:
        """Tell Optuna of every done run that it does not know, or knows with another mean_score; nothing new, nothing done.

        A value once told is final in Optuna: where mean_score changed, the run gets a further trial, and its last one counts.
        """
        for finished in self._store.untold(self._name):
            with self._calls() as study:
                self._tell(study, finished)
            self._store.mark_told(self._name, finished)
        for row in self._store.status(self._name):
            if row["status"] == "done" and row["mean_score"] is None:
                self.fail(row["run"], "trained, but without a mean_score: a benchmark failed, or none has a place in it")

    def fail(self, digest: str, error: str) -> None:
        """The run failed: so did its trial. A retry gets a new one."""
        with self._calls() as study:
            trial = self._by_run.get(digest)
            if trial is not None and trial.state == TrialState.RUNNING:
                self._attribute(trial, "error", error)
                study.tell(trial.number, state=TrialState.FAIL)
                self._look(study)

    def close(self) -> None:
        """Let go of the file."""
        if self._storage is not None:
            self._storage.remove_session()
            self._storage.engine.dispose()

    def _tell(self, study: optuna.Study, finished: Finished) -> None:
        steps = thin(list(finished.losses), LOSSES)
        trial = self._by_run.get(finished.run)
        if trial is not None and trial.state == TrialState.COMPLETE and trial.value == finished.mean_score:
            return
        if trial is not None and trial.state == TrialState.RUNNING:
            number = self._id(trial)
            for step in steps:
                self._backend().set_trial_intermediate_value(number, step, finished.losses[step])
            self._attribute(trial, "device_hours", finished.device_hours)
            study.tell(trial.number, finished.mean_score)
        else:  # trained before this study had the run, or scored on more since: no trial waits for its value
            parameters = _parameters(finished.factors, finished.seed)
            study.add_trial(
                create_trial(
                    value=finished.mean_score,
                    params=parameters,
                    distributions=_distributions(parameters),
                    user_attrs={
                        "run": finished.run,
                        "factors": finished.factors,
                        "seed": finished.seed,
                        "device_hours": finished.device_hours,
                    },
                    intermediate_values={step: finished.losses[step] for step in steps},
                )
            )
        self._look(study)

    def _ask_until(self, study: optuna.Study, digest: str) -> None:
        """Ask until the trial of this run comes. One before it was left by a driver killed between enqueue and ask, or
        was enqueued by hand; the grid alone says what is run, so the latter fails."""
        asked = None
        while asked != digest:
            trial = study.ask()
            attributes = trial.user_attrs
            asked = attributes.get("run")
            if asked is None:
                study.tell(trial, state=TrialState.FAIL)
            else:
                _suggest(trial, _parameters(attributes["factors"], attributes["seed"]))
        self._look(study)

    def _look(self, study: optuna.Study) -> None:
        """Find the last trial of each run."""
        self._by_run = {t.user_attrs["run"]: t for t in study.get_trials(deepcopy=False) if "run" in t.user_attrs}

    def _attribute(self, trial: FrozenTrial, key: str, value: Any) -> None:
        self._backend().set_trial_user_attr(self._id(trial), key, value)

    def _id(self, trial: FrozenTrial) -> int:
        backend = self._backend()
        return backend.get_trial_id_from_study_id_trial_number(backend.get_study_id_from_name(self._name), trial.number)

    def _backend(self) -> RDBStorage:
        assert self._storage is not None
        return self._storage

    @contextmanager
    def _calls(self) -> Iterator[optuna.Study]:
        """Optuna's study, quiet, its database errors as ours."""
        try:
            with engine.sentences(self._store.url), warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                if self._opened is None:
                    self._opened = self._open()
                yield self._opened
        except StorageInternalError as e:
            raise engine.sentence(self._store.url, e.__cause__ or e) from e

    def _open(self) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._storage = RDBStorage(self._store.url.render_as_string(hide_password=False), {"connect_args": _connect_args(self._store)})
        path = engine.file_of(self._store.url)
        if path is not None:
            event.listen(self._storage.engine, "connect", engine.settings(path))
            self._storage.engine.dispose()  # those made so far know nothing of the settings
        sampler = optuna.samplers.RandomSampler(seed=0)  # never asked: every parameter is fixed by the grid
        study = optuna.create_study(
            storage=self._storage, study_name=self._name, direction="maximize", sampler=sampler, load_if_exists=True
        )
        self._look(study)
        return study


def _connect_args(store: Store) -> dict[str, Any]:
    return {"timeout": engine.BUSY_SECONDS} if engine.file_of(store.url) else {}


def _parameters(factors: Mapping[str, Any], seed: int) -> dict[str, int | float]:
    """The factors that are numbers, and the seed."""
    numbers = {name: level for name, level in factors.items() if isinstance(level, (int, float)) and not isinstance(level, bool)}
    return {**{name: level if name in _KNOWN else float(level) for name, level in numbers.items()}, "seed": seed}


def _suggest(trial: optuna.Trial, parameters: Mapping[str, Any]) -> None:
    """Give an asked trial its parameters; their values are those that were enqueued."""
    for name, distribution in _distributions(parameters).items():
        if isinstance(distribution, IntDistribution):
            trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
        elif isinstance(distribution, FloatDistribution):
            trial.suggest_float(name, distribution.low, distribution.high)


def _distributions(parameters: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    return {name: _KNOWN.get(name, _OTHER) for name in parameters}
