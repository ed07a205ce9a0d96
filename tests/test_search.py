"""Optuna's tables in our file: the same numbers, one trial a run, whatever is killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from ablate.errors import StoreError
from ablate.search import Trials
from ablate.store.store import Store
from tests.outcomes import asked, failed, filled, finish, run, score, study


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with filled(tmp_path, [run(), run(seed=1), run(tokens=40_000, seed=1)]) as opened:
        yield opened


def trials_of(folder: Path, name: str = "quality") -> list[optuna.trial.FrozenTrial]:
    """As anybody would read them."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder / 'results.db'}")
    study = optuna.load_study(study_name=name, storage=storage)
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    found = study.get_trials()
    storage.remove_session()
    storage.engine.dispose()
    return found


def test_optuna_finds_the_numbers_of_our_tables(tmp_path: Path, store: Store) -> None:
    trials = Trials(store, "quality")
    for i, one in enumerate([run(), run(seed=1)]):
        store.start(one.digest, "job")
        trials.start(one)
        finish(store, one, tmp_path, [score(score=0.25 + 0.25 * i)])
        trials.sync()
    trials.close()
    found = trials_of(tmp_path)
    rows = store.query("select run, params, tokens, synthetic_ratio, seed, mean_score, device_hours from results where status = 'done'")[1]
    names = ("params", "tokens", "synthetic_ratio", "seed")
    seen = [(t.user_attrs["run"], *(t.params[name] for name in names), t.value, t.user_attrs["device_hours"]) for t in found]
    assert sorted(seen) == sorted(rows) and len(rows) == 2
    assert found[0].user_attrs["factors"] == {"params": 1000, "tokens": 20_000, "synthetic_ratio": 0.5}
    losses = dict(store.query(f"select step, loss from curves where run = '{run().digest}'")[1])
    steps = found[0].intermediate_values
    assert len(steps) == 10 and steps == {step: losses[step] for step in steps} and {1, 39} <= steps.keys()
    assert found[0].datetime_complete is not None


def test_a_second_sync_says_nothing(tmp_path: Path, store: Store) -> None:
    for _ in range(2):
        trials = Trials(store, "quality")
        trials.sync()
        finish(store, run(), tmp_path)
        trials.sync()
        trials.close()
    assert len(trials_of(tmp_path)) == 1


DRIVER = """
import os, signal, sys
from pathlib import Path
import optuna
from tests.outcomes import run
from ablate.search import Trials
from ablate.store.store import Store

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[1] == "enqueued":
    optuna.Study.ask = die
Trials(Store.open(Path("results.db")), "quality").start(run(seed=1))
die()
"""


def killed(folder: Path, when: str) -> None:
    """A driver that is killed with a trial running, or between enqueue and ask."""
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    command = [sys.executable, "-c", DRIVER, when]
    assert subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize(("when", "state"), [("running", TrialState.RUNNING), ("enqueued", TrialState.WAITING)])
def test_what_a_killed_driver_left_is_taken_over(tmp_path: Path, store: Store, when: str, state: TrialState) -> None:
    killed(tmp_path, when)
    assert [t.state for t in trials_of(tmp_path)] == [state]
    trials = Trials(store, "quality")
    for one in (run(), run(seed=1)):
        trials.start(one)
        finish(store, one, tmp_path)
    trials.sync()
    trials.close()
    found = trials_of(tmp_path)
    assert [t.state for t in found] == [TrialState.COMPLETE] * 2
    assert found[0].user_attrs["run"] == run(seed=1).digest and found[0].params["seed"] == 1 and found[1].params["seed"] == 0


def test_killed_between_telling_and_marking(tmp_path: Path, store: Store) -> None:
    finish(store, run(), tmp_path)
    trials = Trials(store, "quality")
    trials.sync()
    with sqlite3.connect(tmp_path / "results.db") as db:
        db.execute("update study_runs set told_score = null")
    db.close()
    assert len(store.untold("quality")) == 1
    trials.sync()
    trials.close()
    assert len(trials_of(tmp_path)) == 1
    assert store.untold("quality") == []


def test_a_failed_run_fails_its_trial_and_a_retry_gets_a_new_one(tmp_path: Path, store: Store) -> None:
    trials = Trials(store, "quality")
    trials.start(run())
    trials.fail(run().digest, "the loss is nan")
    trials.fail(run().digest, "said twice")
    trials.start(run())
    finish(store, run(), tmp_path)
    trials.sync()
    trials.close()
    first, second = trials_of(tmp_path)
    assert (first.state, first.user_attrs["error"], first.value) == (TrialState.FAIL, "the loss is nan", None)
    assert (second.state, second.params) == (TrialState.COMPLETE, first.params)


def test_a_run_without_a_mean_score_has_failed_here(tmp_path: Path, store: Store) -> None:
    trials = Trials(store, "quality")
    trials.start(run())
    finish(store, run(), tmp_path, [score(), failed("kinds")])
    trials.sync()
    trials.start(run())  # once more, as the next `ablate run` would
    finish(store, run(), tmp_path, [score(), score("kinds")])
    trials.sync()
    trials.close()
    first, second = trials_of(tmp_path)
    assert (first.state, second.state) == (TrialState.FAIL, TrialState.COMPLETE) and "without a mean_score" in first.user_attrs["error"]


def test_runs_done_for_another_study_are_told_at_once(tmp_path: Path, store: Store) -> None:
    finish(store, run(), tmp_path, [score(), score("kinds", score=1.0)])
    store.save_study(study("other"), "other.yaml", None, asked(score("kinds")))
    store.declare("other", [run(), run(seed=5)])
    trials = Trials(store, "other")
    trials.sync()
    trials.close()
    (only,) = trials_of(tmp_path, "other")
    assert (only.state, only.value, only.params["tokens"]) == (TrialState.COMPLETE, 1.0, 20_000)


def test_a_changed_mean_score_gets_a_further_trial(tmp_path: Path, store: Store) -> None:
    trials = Trials(store, "quality")
    trials.start(run())
    for scores in ([score(score=0.25)], [score(score=0.25), score("kinds", score=1.0)]):
        finish(store, run(), tmp_path, scores)
        trials.sync()
    trials.start(run())
    trials.close()
    assert [t.value for t in trials_of(tmp_path)] == [0.0, 0.5]


def test_new_levels_and_words_are_no_trouble(tmp_path: Path, store: Store) -> None:
    grid = [run(seed=i, **{"train.lr": lr, "train.clip": clip}) for i, (lr, clip) in enumerate([("auto", 1), (0.004, 0.5), (1, True)])]
    store.declare("quality", grid)
    trials = Trials(store, "quality")
    for one in [*grid, run(params=7_000_000_000, tokens=10**13, ratio=1.0)]:
        trials.start(one)
    trials.close()
    found = trials_of(tmp_path)
    assert [(t.params.get("train.lr"), t.params.get("train.clip")) for t in found] == [(None, 1.0), (0.004, 0.5), (1.0, None), (None, None)]
    assert (found[3].params["params"], found[3].params["tokens"]) == (7_000_000_000, 10**13)


def test_a_trial_enqueued_by_hand_fails(tmp_path: Path, store: Store) -> None:
    trials = Trials(store, "quality")
    trials.start(run())
    optuna.load_study(study_name="quality", storage=f"sqlite:///{tmp_path / 'results.db'}").enqueue_trial({"params": 3})
    trials.start(run(seed=1))
    trials.close()
    assert [t.state for t in trials_of(tmp_path)] == [TrialState.RUNNING, TrialState.FAIL, TrialState.RUNNING]


def test_errors_of_the_database_are_sentences(tmp_path: Path, store: Store) -> None:
    store.close()
    (tmp_path / "results.db").write_bytes(b"no database " * 1000)
    with pytest.raises(StoreError, match="is not an SQLite database"):
        Trials(store, "quality").start(run())
