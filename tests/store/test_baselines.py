"""Baselines: models that were not trained here, scored like runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ablate.errors import StoreError
from ablate.store.store import Store
from ablate.verbs import ingest
from ablate.workspace import Workspace, write_json
from tests.outcomes import LATENCY, answers, asked, failed, filled, score, study
from tests.store.test_store import dump, rows


def baseline(folder: Path, scores: list[dict[str, Any]], digest: str = "f" * 16, **other: Any) -> dict[str, Any]:
    """What scoring a baseline leaves in `folder`."""
    done = {
        "baseline": digest, "name": "org/small", "revision": "abc", "folder": None, "params_total": 5000, "params_non_embedding": 1010,
        "precision": "float32", "latency": LATENCY, "scores": scores, "status": "done", "error": None,
        "attempt": {"device": "a CPU", "device_type": "cpu", "ended": 60.0}, **other,
    }  # fmt: skip
    answers(done, folder / "float32")
    write_json(folder / "outcome.json", done)
    return done


def test_a_baseline_is_scored_like_a_run(tmp_path: Path) -> None:
    with Store.open(tmp_path / "results.db") as store:
        done = baseline(tmp_path, [score(), score("kinds", score=0.3)])
        store.record_baseline(done, tmp_path)
        before = dump(tmp_path)
        store.record_baseline(done, tmp_path)
        assert dump(tmp_path) == before
    columns = "name, params_total, device, precision, benchmark, score, at_chance, ms_per_token, ms_per_token_after_prompt"
    sql = f"select {columns} from baseline_results order by score"
    assert [tuple(row.values()) for row in rows(tmp_path, sql)] == [
        ("org/small", 5000, "a CPU", "float32", "kinds", 0.3, 1, 1.25, 1.5),
        ("org/small", 5000, "a CPU", "float32", "sums", 0.5, 0, 1.25, 1.5),
    ]
    assert rows(tmp_path, "select count(*) as n from baseline_answers join baseline_scores on id = score_id") == [{"n": 8}]


def test_a_baseline_scored_anew_takes_the_place_of_itself(tmp_path: Path) -> None:
    with Store.open(tmp_path / "results.db") as store:
        store.record_baseline(baseline(tmp_path, [failed()], status="failed", error="no room"), tmp_path)
        assert rows(tmp_path, "select status, error from baselines") == [{"status": "failed", "error": "no room"}]
        store.record_baseline(baseline(tmp_path, [score()]), tmp_path)
        store.record_baseline(baseline(tmp_path / "other", [score()], "e" * 16), tmp_path / "other")
    both = rows(tmp_path, "select status, b.error, score from baselines b join baseline_scores using (baseline)")
    assert both == [{"status": "done", "error": None, "score": 0.5}] * 2
    assert rows(tmp_path, "select count(*) as n from baseline_answers") == [{"n": 8}]


def test_a_study_says_which_baselines_and_items_are_its_own(tmp_path: Path) -> None:
    with filled(tmp_path, []) as store:
        store.save_study(study(), "quality.yaml", None, asked(score()))
        for digest in ("a" * 16, "b" * 16):
            store.record_baseline(baseline(tmp_path / digest, [score(), score("kinds")], digest), tmp_path / digest)
        for wanted in (["b" * 16, "a" * 16], ["b" * 16]):
            store.declare_baselines("quality", wanted)
    own = """select b.baseline, benchmark from baseline_results b join study_baselines using (baseline)
             join study_benchmarks using (study, benchmark, benchmark_digest) where study = 'quality'"""
    assert rows(tmp_path, own) == [{"baseline": "b" * 16, "benchmark": "sums"}]


def test_baselines_are_ingested_from_their_folders(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    baseline(space.baselines / ("f" * 16), [score()])
    assert ingest(space).startswith("0 runs and 1 baselines recorded")
    assert rows(tmp_path, "select score from baseline_results") == [{"score": 0.5}]


def test_a_damaged_baseline_is_refused_whole(tmp_path: Path) -> None:
    with Store.open(tmp_path / "results.db") as store:
        done = baseline(tmp_path, [score()])
        next((tmp_path / "float32" / "answers").iterdir()).unlink()
        before = dump(tmp_path)
        with pytest.raises(StoreError, match=r"cannot be recorded \(answers/.* is missing\); remove baselines/"):
            store.record_baseline(done, tmp_path)
        assert dump(tmp_path) == before
