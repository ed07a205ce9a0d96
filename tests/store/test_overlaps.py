"""Clean scores: what follows from the answers and from the overlap of every source that a run read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ablate.study import spec
from tests.outcomes import answers, filled, metrics, outcome, overlap, run, score, study
from tests.store.test_store import rows

SCORES = [{**score(n=4), "benchmark_digest": "b1"}]


def found(items: dict[int, float], method: str = "gpt3") -> list[dict[str, Any]]:
    return [overlap("b1", items, method)]


def finished(folder: Path) -> dict[str, Any]:
    """An outcome whose answers are wrong, right, wrong, right."""
    done = outcome(run(), SCORES)
    for used, shards in zip(done["usage"], ("s1", "s2"), strict=True):
        used["shards"] = shards
    answers(done, folder)
    metrics(folder)
    return done


def test_a_clean_score_needs_every_source_and_leaves_out_what_any_holds(tmp_path: Path) -> None:
    with filled(tmp_path, [run()]) as store:
        store.record(finished(tmp_path), tmp_path)
        store.record_overlap("s1", "c", found({0: 1.0}))
        assert rows(tmp_path, "select score_clean, n_clean from scores") == [{"score_clean": None, "n_clean": None}]
        store.record_overlap("s2", "c", found({2: 0.5}) + found({1: 0.9, 3: 0.8}, "palm"))
        assert rows(tmp_path, "select score_clean, n_clean from scores") == [{"score_clean": 1.0, "n_clean": 2}]
        store.record_overlap("s1", "c", found({0: 1.0}) + found({}, "palm"))
        shown = rows(tmp_path, "select method, score_clean, score_contaminated, n_clean, n from clean_scores order by method")
        assert [tuple(row.values()) for row in shown] == [("gpt3", 1.0, 0.0, 2, 4), ("palm", 0.0, 1.0, 2, 4)]
        assert store.overlap_known() == {"s1": ("c", {"b1"}), "s2": ("c", {"b1"})}


def test_recording_a_run_again_keeps_its_clean_score(tmp_path: Path) -> None:
    with filled(tmp_path, [run()]) as store:
        for shards in ("s1", "s2"):
            store.record_overlap(shards, "c", found({1: 1.0}))
        store.record(finished(tmp_path), tmp_path)
        assert rows(tmp_path, "select score_clean, n_clean from scores") == [{"score_clean": pytest.approx(1 / 3), "n_clean": 3}]
        store.record_overlap("s2", "new", found({0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0}))
        assert rows(tmp_path, "select score_clean, n_clean from scores") == [{"score_clean": None, "n_clean": 0}]
        assert len(rows(tmp_path, "select * from item_overlaps")) == 5


def test_what_another_study_asked_for_is_kept_until_the_tokens_are_others(tmp_path: Path) -> None:
    other = [{**found({2: 1.0})[0], "benchmark_digest": "b2"}]
    with filled(tmp_path, [run()]) as store:
        store.record(finished(tmp_path), tmp_path)
        assert store.overlap_is_missing("quality", {"b1", "b2"})
        for shards in ("s1", "s2"):
            store.record_overlap(shards, "c", found({1: 1.0}))
            store.record_overlap(shards, "c", other)
        assert store.overlap_known()["s1"] == ("c", {"b1", "b2"})
        assert not store.overlap_is_missing("quality", {"b1", "b2"})
        assert rows(tmp_path, "select n_clean from scores") == [{"n_clean": 3}]
        store.record_overlap("s1", "new", other)
        assert store.overlap_known()["s1"] == ("new", {"b2"})
        assert store.overlap_is_missing("quality", {"b1"})
        assert rows(tmp_path, "select n_clean from scores") == [{"n_clean": None}]
        assert rows(tmp_path, "select distinct benchmark_digest from item_overlaps where shards = 's1'") == [{"benchmark_digest": "b2"}]


def test_the_cost_of_the_text_is_the_studys_and_null_where_a_source_states_none(tmp_path: Path) -> None:
    with filled(tmp_path, [run()]) as store:
        store.record(finished(tmp_path), tmp_path)
        assert rows(tmp_path, "select data_gpu_hours from results") == [{"data_gpu_hours": None}]
        priced = {"synthetic": {"files": "x.txt", "cost": {"gpu_hours_per_btoken": 2000}}, "web": "builtin:web"}
        told = study().model_copy(update={"data": spec.Data.model_validate(priced)})
        one = run()
        store.declare("quality", [type(one)(one.factors, one.seed, one.recipe, told.data)])
        # 5,000 different tokens of the priced source; a page of the embedded web costs no GPU
        assert rows(tmp_path, "select data_gpu_hours from results") == [{"data_gpu_hours": pytest.approx(2000 * 5000 / 1e9)}]
