"""The spread over seeds: assumed until the folder's own runs repeat seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ablate.detect import SEED_SD, detectable
from ablate.workspace import Workspace, read_json, write_json
from tests.outcomes import answers, filled, outcome, run, score, study


def test_the_spread_is_that_of_the_finished_runs(tmp_path: Path) -> None:
    space, items = Workspace(tmp_path), 200
    runs = [run(params, ratio=ratio, seed=seed) for params in (1000, 2000, 3000) for ratio in (0.0, 1.0) for seed in (0, 1)]
    assert not detectable(study(), runs, space).measured
    right = np.random.default_rng(0).integers(100, 140, len(runs))
    with filled(tmp_path, runs) as store:
        assert detectable(study(), runs, space).seed_sd == SEED_SD, "declared runs are not finished runs"
        for one, n in zip(runs, right, strict=True):
            done = outcome(one, [score(score=n / items, n=items)])
            (path,) = answers(done, tmp_path).iterdir()
            write_json(path, {**read_json(path), "correct": [int(i < n) for i in range(items)]})
            store.record(done, tmp_path)
    differences = (right[::2] - right[1::2]) / items / 0.75  # corrected for chance, 1/4
    found = detectable(study(), runs, space)
    assert found.measured and found.seed_sd == pytest.approx(differences.std(ddof=1))
