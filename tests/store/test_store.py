"""What is written comes back as the views say it, once, and whole or not at all."""

from __future__ import annotations

import json
import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ablate.errors import DiskFullError, StoreError
from ablate.store import engine
from ablate.store.record import mean_score
from ablate.store.store import Store
from tests.outcomes import LATENCY, answers, asked, failed, filled, finish, metrics, outcome, run, score, study


def rows(folder: Path, sql: str) -> list[dict[str, Any]]:
    columns, found = Store.read_only(folder / "results.db").query(sql)
    return [dict(zip(columns, row, strict=True)) for row in found]


def dump(folder: Path) -> list[str]:
    db = sqlite3.connect(folder / "results.db")
    try:
        return list(db.iterdump())
    finally:
        db.close()


def test_results_say_what_the_outcome_said(tmp_path: Path) -> None:
    one = run(ratio=1 / 4)
    with filled(tmp_path, [one]) as store:
        store.start(one.digest, "job1")
        finish(store, one, tmp_path)
    (row,) = rows(tmp_path, "select * from results")
    assert row == {
        "study": "quality", "run": one.digest, "family": one.family, "params": 1000, "params_non_embedding": 1010, "params_total": 5000,
        "tokens": 20_000, "tokens_trained": 19_968, "unique_tokens": 14_984, "bytes_trained": 61_000, "max_epochs": 2.0,
        "synthetic_ratio": 0.25, "seed": 0, "factors": row["factors"], "train_flops": 123_456_789.0, "gpu_hours": None, "device_hours": 2.0,
        "spent_device_hours": 1.0, "score_hours": 0.1, "lost_hours": 0.01, "data_gpu_hours": None, "predicted_device_hours": None,
        "hours_basis": "shared", "device": "a CPU", "mfu": None, "peak_memory_bytes": 10**9, "predicted_memory_bytes": None,
        "optimizer": None,
        "final_loss": 3.25, "bits_per_byte": 1.5, "mean_score": (0.5 - 0.25) / 0.75, "mean_score_version": 2, "status": "done",
        "error": None, "started": "1970-01-01T00:00:00+00:00", "ended": "1970-01-01T00:01:00+00:00", "position": 0, **LATENCY,
    }  # fmt: skip
    assert json.loads(row["factors"]) == {"params": 1000, "tokens": 20_000, "synthetic_ratio": 0.25}
    items = rows(tmp_path, "select item, template, correct, choice, logprob from item_answers where item < 2 order by item")
    assert [tuple(item.values()) for item in items] == [(0, "t0", 0, 0, 0.0), (1, "t1", 1, 1, -0.5)]
    assert rows(tmp_path, "select job, status, pid from attempts") == [{"job": "job1", "status": "done", "pid": 1}]


def test_gpu_hours_are_of_gpus(tmp_path: Path) -> None:
    with filled(tmp_path, [run()]) as store:
        finish(store, run(), tmp_path, device="NVIDIA H100 80GB HBM3", device_type="cuda")
    assert rows(tmp_path, "select gpu_hours, device_hours from results") == [{"gpu_hours": 2.0, "device_hours": 2.0}]


def test_scores_flag_what_is_at_chance(tmp_path: Path) -> None:
    scores = [score("sums", score=0.25 + 1.95 * 0.1), score("kinds", score=0.25 + 1.97 * 0.1)]
    with filled(tmp_path, [run()]) as store:
        finish(store, run(), tmp_path, scores)
    found = rows(tmp_path, 'select benchmark, at_chance, score_clean, "group" as g from scores order by benchmark')
    assert [(r["benchmark"], r["at_chance"], r["score_clean"]) for r in found] == [("kinds", 0, None), ("sums", 1, None)]


def test_recording_twice_is_recording_once(tmp_path: Path) -> None:
    with filled(tmp_path, [run()]) as store:
        done = finish(store, run(), tmp_path)
        before = dump(tmp_path)
        store.record(done, tmp_path)
        store.save_study(study(), "quality.yaml", None)
        store.declare("quality", [run()])
        assert dump(tmp_path) == before
        finish(store, run(), tmp_path, [score("sums", score=0.75), score("kinds")])
    assert rows(tmp_path, "select count(*) as n from item_answers") == [{"n": 8}]
    assert rows(tmp_path, "select score from scores where benchmark = 'sums'") == [{"score": 0.75}]


def test_a_run_of_two_studies_is_one_run(tmp_path: Path) -> None:
    with filled(tmp_path, [run(), run(seed=1)]) as store:
        finish(store, run(), tmp_path, [score("sums", score=1.0), score("kinds", score=0.25)])
        store.save_study(study("other"), "other.yaml", "gpu", asked(score("sums")))
        store.declare("other", [run()])
        assert store.done("other") == {run().digest}
        assert sorted(store.studies()) == ["other", "quality"]
    assert rows(tmp_path, "select count(*) as n from runs") == [{"n": 2}]
    means = rows(tmp_path, "select study, mean_score from results where status = 'done' order by study")
    assert means == [{"study": "other", "mean_score": 1.0}, {"study": "quality", "mean_score": 0.5}]


def test_mean_score_waits_for_every_declared_benchmark(tmp_path: Path) -> None:
    registers = [score("kinds", "textbook", 1.0, n=10), score("kinds", "page", 0.25, n=30)]
    with filled(tmp_path, [run()]) as store:
        store.save_study(study(), "quality.yaml", None, asked(score("sums"), *registers))
        finish(store, run(), tmp_path, [score("sums"), registers[0], score("kinds", fresh=True)])
        assert store.status("quality")[0]["mean_score"] is None
        finish(store, run(), tmp_path, [score("sums", score=0.25), *registers, score("extra", score=0.0)])
        pooled = (1.0 * 10 + 0.25 * 30) / 40
        assert store.status("quality")[0]["mean_score"] == pytest.approx(((pooled - 0.25) / 0.75 + 0) / 2)


@pytest.mark.parametrize(("change", "mean"), [
    ({}, 0.5), ({"metric": "pass@1", "chance": 0.0}, 0.625), ({"metric": "exact_match", "chance": 0.0}, 0.625),
    ({"metric": "safety", "chance": None}, 1.0), ({"metric": "grade", "chance": None}, 1.0), ({"chance": None}, 1.0),
])  # fmt: skip
def test_mean_score_is_over_shares_of_right_answers(change: dict[str, Any], mean: float) -> None:
    assert mean_score([score(score=1.0), {**score("other", score=0.25), **change}]) == pytest.approx(mean)


def test_a_failed_task_of_lm_eval_may_have_counted() -> None:
    assert mean_score([score(), {**failed("other", None), "register": "lm_eval"}]) is None


@pytest.mark.parametrize(("chance", "mean"), [(0.25, None), (None, 1 / 3)])
def test_a_failed_benchmark_leaves_no_mean_of_fewer(tmp_path: Path, chance: float | None, mean: float | None) -> None:
    with filled(tmp_path, [run()]) as store:
        finish(store, run(), tmp_path, [score(), failed("other", chance)])
        assert store.status("quality")[0]["mean_score"] == (None if mean is None else pytest.approx(mean))
    shown = rows(tmp_path, "select benchmark, score, at_chance, error from scores order by benchmark")
    assert [tuple(row.values()) for row in shown] == [("other", None, None, "no items"), ("sums", 0.5, 0, None)]
    assert rows(tmp_path, "select sums, other from results_quality") == [{"sums": 0.5, "other": None}]


def test_two_studies_may_ask_other_items_by_one_name(tmp_path: Path) -> None:
    whole, part = score(score=1.0, n=8), {**score(score=0.25, n=4), "benchmark_digest": "b" * 16, "digest": "c" * 16}
    with filled(tmp_path, [run()]) as store:
        store.save_study(study(), "quality.yaml", None, asked(whole))
        store.save_study(study("other"), "other.yaml", None, asked(part))
        store.declare("other", [run()])
        finish(store, run(), tmp_path, [whole, part])
    means = rows(tmp_path, "select study, mean_score from results order by study")
    assert means == [{"study": "other", "mean_score": 0.0}, {"study": "quality", "mean_score": 1.0}]
    assert rows(tmp_path, "select study, score, n from scores order by study") == [
        {"study": "other", "score": 0.25, "n": 4},
        {"study": "quality", "score": 1.0, "n": 8},
    ]
    assert rows(tmp_path, "select q.sums as q, o.sums as o from results_quality q, results_other o") == [{"q": 1.0, "o": 0.25}]
    assert rows(tmp_path, "select count(*) as n from item_answers") == [{"n": 12}]


def test_an_answer_may_be_written_instead_of_chosen(tmp_path: Path) -> None:
    code = {**score("code", score=0.375, n=2), "metric": "pass@1", "chance": 0.0, "acc_norm": None, "details": {"pass@10": 0.5}}
    done = outcome(run(), [code])
    (path,) = answers(done, tmp_path).iterdir()
    written = {"template": ["a", "b"], "correct": [0.75, 0.0], "choice": None, "output": ["def f(): ...", ["x", "y"]]}
    path.write_text(json.dumps(written))
    with filled(tmp_path, [run()]) as store:
        store.record(done, tmp_path)
        assert store.status("quality")[0]["mean_score"] == 0.375
    found = rows(tmp_path, "select correct, correct_norm, choice, logprob, output from item_answers order by item")
    assert [tuple(row.values()) for row in found] == [(0.75, None, None, None, "def f(): ..."), (0.0, None, None, None, '["x", "y"]')]
    assert rows(tmp_path, "select details, acc_norm from scores") == [{"details": '{"pass@10": 0.5}', "acc_norm": None}]


def test_an_outcome_of_an_earlier_version_is_recorded(tmp_path: Path) -> None:
    old = score()
    for name in ("benchmark_digest", "bits_per_byte", "truncated", "shots", "details"):
        del old[name]
    done = {name: value for name, value in outcome(run(), [old]).items() if name != "latency"}
    (path,) = answers(outcome(run()), tmp_path).iterdir()
    path.rename(path.with_name("sums.textbook.public.json"))
    with filled(tmp_path, [run()]) as store:
        store.record(done, tmp_path)
    assert rows(tmp_path, "select sums, ms_per_token from results_quality") == [{"sums": 0.5, "ms_per_token": None}]
    assert rows(tmp_path, "select count(*) as n from item_answers") == [{"n": 4}]


def test_the_view_of_a_study_has_its_factors_and_benchmarks(tmp_path: Path) -> None:
    grid = [run(seed=s, **{"train.lr": lr, "train.precision": p}) for s, lr, p in ((0, 0.1, "auto"), (1, 1, "float32"))]
    both = [score("sums", "textbook", 1.0), score("sums", "page", 0.5, n=12)]
    scores = [*both, score("sums", "page", 0.25, fresh=True), score("mfu", "file")]
    with filled(tmp_path, grid) as store:
        assert rows(tmp_path, 'select "train.lr" from results_quality order by seed') == [{"train.lr": 0.1}, {"train.lr": 1.0}]
        finish(store, grid[0], tmp_path, scores)
    first, second = rows(tmp_path, "select * from results_quality order by seed")
    assert list(first)[-8:] == ["position", "train.lr", "train.precision", "mfu_score", "sums", "sums_textbook", "sums_page", "sums_fresh"]
    assert (first["train.precision"], second["train.precision"]) == ("auto", "float32")
    assert [first[name] for name in ("mfu_score", "sums", "sums_textbook", "sums_page", "sums_fresh")] == [0.5, 0.625, 1.0, 0.5, 0.25]
    assert first["mfu"] is None and second["sums"] is None


def test_a_study_may_gain_and_lose_runs(tmp_path: Path) -> None:
    with filled(tmp_path, [run(), run(seed=1)]) as store:
        finish(store, run(), tmp_path)
        store.declare("quality", [run(seed=2), run(seed=1)])
        assert [(r["seed"], r["status"]) for r in store.status("quality")] == [(2, "pending"), (1, "pending")]
        assert store.done("quality") == set()
        store.declare("quality", [run(), run(seed=1), run(seed=2)])
        assert [(r["seed"], r["status"]) for r in store.status("quality")] == [(0, "done"), (1, "pending"), (2, "pending")]
        assert store.status("quality")[0]["mean_score"] == pytest.approx(1 / 3)


def test_cells_with_one_recipe_share_a_run(tmp_path: Path) -> None:
    both = [run(noise=0.1), run(noise=0.2)]
    with filled(tmp_path, both) as store:
        finish(store, both[0], tmp_path)
    assert rows(tmp_path, "select noise, status from results_quality order by noise") == [
        {"noise": 0.1, "status": "done"},
        {"noise": 0.2, "status": "done"},
    ]
    assert rows(tmp_path, "select count(*) as n from scores") == [{"n": 1}]


def test_a_failed_run_is_not_done_and_may_be_tried_again(tmp_path: Path) -> None:
    one = run()
    with filled(tmp_path, [one]) as store:
        store.start(one.digest, "job1")
        store.start(one.digest, "job2")
        store.record({"digest": one.digest, "status": "failed", "error": "the loss is nan"}, tmp_path)
        assert store.done("quality") == set()
        assert store.status("quality")[0]["error"] == "the loss is nan"
        store.start(one.digest, "job3")
        finish(store, one, tmp_path)
        assert [(r["status"], r["error"]) for r in store.status("quality")] == [("done", None)]
    assert [tuple(r.values()) for r in rows(tmp_path, "select job, status from attempts order by id")] == [
        ("job1", "lost"),
        ("job2", "failed"),
        ("job3", "done"),
    ]


def test_curves_are_thinned_and_keep_their_ends(tmp_path: Path) -> None:
    with filled(tmp_path, [run()]) as store:
        done = outcome(run())
        answers(done, tmp_path)
        metrics(tmp_path, steps=1234)
        store.record(done, tmp_path)
    found = [r["step"] for r in rows(tmp_path, "select step from curves order by step")]
    assert len(found) == 200 and found[0] == 1 and found[-1] == 1234
    assert {b - a for a, b in pairwise(found)} == {6, 7}


def test_a_run_can_be_added_from_its_folder(tmp_path: Path) -> None:
    one = run()
    with Store.open(tmp_path / "results.db") as store:
        with pytest.raises(StoreError, match="has no run"):
            finish(store, one, tmp_path)
        store.add_run({"digest": one.digest, "family": one.family, "recipe": one.recipe})
        finish(store, one, tmp_path)
        store.save_study(study(), "quality.yaml", None)
        store.declare("quality", [one])
        assert store.done("quality") == {one.digest}
        assert store.status("quality")[0]["mean_score"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda done, _: done.pop("usage"),
        lambda _, file: file.unlink(),
        lambda _, file: file.write_text(file.read_text()[:-20]),
        lambda _, file: file.write_text(json.dumps({**json.loads(file.read_text()), "choice": []})),
    ],
)
def test_a_damaged_outcome_is_refused_whole(tmp_path: Path, spoil: Any) -> None:
    with filled(tmp_path, [run()]) as store:
        done = outcome(run())
        spoil(done, next(answers(done, tmp_path).iterdir()))
        before = dump(tmp_path)
        with pytest.raises(StoreError, match=r"cannot be recorded .* remove runs/"):
            store.record(done, tmp_path)
        assert dump(tmp_path) == before


def test_studies_that_differ_in_letter_case_are_refused(tmp_path: Path) -> None:
    with filled(tmp_path, []) as store, pytest.raises(StoreError, match="letter case"):
        store.save_study(study("Quality"), "q.yaml", None)


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, [run()]).close()
    before, settings = dump(tmp_path), engine.settings

    def with_few_pages(path: Path) -> Any:
        def apply(connection: sqlite3.Connection, record: Any) -> None:
            settings(path)(connection, record)
            connection.execute("PRAGMA max_page_count = 1")  # SQLite takes its size now: what it cannot grow is a full disk

        return apply

    monkeypatch.setattr(engine, "settings", with_few_pages)
    big = [score("sums", n=5000)]
    with Store.open(tmp_path / "results.db") as store, pytest.raises(DiskFullError, match="free some space"):
        finish(store, run(), tmp_path, big)
    assert dump(tmp_path) == before


def test_a_database_held_by_another_program_gets_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.05)
    with filled(tmp_path, [run()]) as store:
        other = sqlite3.connect(tmp_path / "results.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"locked by another program for 0\.05 s"):
            store.start(run().digest, "job1")
        other.close()
        store.start(run().digest, "job1")
