"""What `ablate status` says of predictions."""

from __future__ import annotations

from pathlib import Path

from ablate import standing
from ablate.workspace import Workspace
from tests.outcomes import answers, filled, finish, outcome, run, score


def test_predictions_are_judged_by_their_median(tmp_path: Path) -> None:
    runs = [run(seed=seed) for seed in range(4)]
    with filled(tmp_path, runs) as store:
        assert "predicted" not in standing.text(Workspace(tmp_path), None)
        for one, seconds in zip(runs, (None, 3600.0, 7200.0, 14400.0), strict=True):  # each took 7200 s and 1 GB
            done = outcome(one)
            done["train"] |= {"predicted_seconds": seconds, "predicted_memory_bytes": 800_000_000}
            answers(done, tmp_path)
            store.record(done, tmp_path)
    said = standing.text(Workspace(tmp_path), None)
    assert "actual over predicted: time 1.00 (median of 3 runs), memory 1.25 (median of 4 runs)" in said


def test_what_no_run_of_a_size_is_above_chance_on_is_named(tmp_path: Path) -> None:
    runs = [run(seed=seed) for seed in (0, 1)]
    with filled(tmp_path, runs) as store:
        finish(store, runs[0], tmp_path, [score("sums", score=0.3), score("kinds", score=0.3), score("kinds", score=0.9, fresh=True)])
        finish(store, runs[1], tmp_path, [score("sums", score=0.9), score("kinds", score=0.4)])
    assert "  at chance in every run of 1000 params: kinds\n" in standing.text(Workspace(tmp_path), None) + "\n"
