"""What a report reads from a real results.db, also while the study is half done."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from ablate.report import claims, frames, sentences
from ablate.report.frames import ANSWERS, ATTEMPTS, BASELINES, CURVES, RUNS, SCORES, TEXTS, USAGE
from ablate.store.store import Store
from ablate.workspace import write_json
from tests.outcomes import answers, asked, failed, filled, finish, outcome, overlap, run, score, study
from tests.store.test_baselines import baseline

RESULTS = "results.db"


def read(folder: Path, name: str = "quality") -> frames.Frames:
    return frames.read(Store.read_only(folder / RESULTS), name)


def test_every_table_is_filled_and_typed(tmp_path: Path) -> None:
    short, long = run(tokens=20_000), run(tokens=40_000)
    with filled(tmp_path, [short, long, run(seed=1)]) as store:
        for one in (short, long):
            finish(store, one, tmp_path, [score(), score(register="page"), score(fresh=True)])
    found = read(tmp_path)
    schemas = {"runs": RUNS, "scores": SCORES, "answers": ANSWERS, "curves": CURVES, "texts": TEXTS, "usage": USAGE, "attempts": ATTEMPTS}
    assert {name: dict(getattr(found, name).schema) for name in schemas} == schemas
    assert found.runs["status"].to_list() == ["done", "done", "pending"]
    assert sorted(found.attempts["run"]) == sorted([short.digest, long.digest])
    assert found.scores.group_by("fresh").len().sort("fresh").rows() == [(False, 4), (True, 2)]
    assert set(found.curves["run"]) == {long.digest}, "only the largest budget"
    assert [json.loads(f)["tokens"] for f in found.runs["factors"]] == [20_000, 40_000, 20_000]


def test_answers_are_added_up_by_template_without_twins(tmp_path: Path) -> None:
    with filled(tmp_path, [run()]) as store:
        finish(store, run(), tmp_path, [score(n=6), score(n=6, fresh=True), score("one", n=1)])
    rows = read(tmp_path).answers.select("benchmark", "cluster", "correct", "n").sort("benchmark", "cluster").rows()
    assert rows[-2:] == [("sums", "t0", 0, 3), ("sums", "t1", 3, 3)]
    assert rows[0][0] == "one" and rows[0][2:] == (0, 1), "one template alone: its items are the clusters"


def test_only_the_benchmarks_of_the_mean_score_count(tmp_path: Path) -> None:
    with filled(tmp_path, [run()]) as store:
        finish(store, run(), tmp_path, [score(), score("other")])
        assert set(read(tmp_path).scores["benchmark"]) == {"sums", "other"}
        store.save_study(study(), "quality.yaml", None, asked(score()))
    found = read(tmp_path)
    assert set(found.scores["benchmark"]) == set(found.answers["benchmark"]) == {"sums"}


def test_written_answers_count_and_other_scales_do_not(tmp_path: Path) -> None:
    code = {**score("code", score=0.375, n=4), "metric": "pass@1", "chance": 0.0}
    safety = {**score("hate"), "metric": "safety", "chance": None}
    runs = [run(ratio=ratio, seed=seed) for ratio in (0.0, 1.0) for seed in (0, 1)]
    with filled(tmp_path, runs) as store:
        for one in runs:
            done = outcome(one, [score(), code, safety])
            for path in answers(done, tmp_path).glob("code.*"):
                write_json(path, {"template": list("aabb"), "correct": [0.75, 0.0, 0.25, 0.5], "output": list("wxyz")})
            store.record(done, tmp_path)
        finish(store, runs[0], tmp_path, [score(), {**code, "score": None, "error": "no sandbox"}, safety])
    found = read(tmp_path)
    assert set(found.scores["benchmark"]) == set(found.answers["benchmark"]) == {"sums", "code"}
    assert found.runs.filter(pl.col("mean_score").is_null())["run"].to_list() == [runs[0].digest]
    assert found.answers.filter(benchmark="code", run=runs[1].digest)["correct"].to_list() == [0.75, 0.75]
    (verdict,) = claims.verdicts(found)
    assert (verdict.outcome, verdict.tested[0].difference.estimate) == ("none", 0.0)


def test_the_claim_on_clean_items(tmp_path: Path) -> None:
    """Odd items are right: with item 1 found in what one arm read, a score of .5 over four is one of 1/3 over three, for both arms."""
    runs = [run(ratio=ratio, seed=seed) for ratio in (0.0, 1.0) for seed in (0, 1)]
    with filled(tmp_path, runs) as store:
        for one in runs:
            own = {**score("hidden", "lm_eval", n=4), "benchmark_digest": "b2", "digest": "e" * 16}  # its items are lm-eval's
            done = outcome(one, [{**score(n=4), "benchmark_digest": "b1"}, own])
            done["usage"] = [{**row, "shards": f"{row['source']} {one.seed}"} for row in done["usage"]]
            answers(done, tmp_path)
            store.record(done, tmp_path)
        assert read(tmp_path).clean is None, "not looked for yet"
        shards = [f"{source} {seed}" for source in ("synthetic", "web") for seed in (0, 1)]
        for name in shards:
            store.record_overlap(name, "c", [overlap("b1", {1: 0.5} if name == shards[0] else {})])
        found = read(tmp_path)
        assert found.clean is not None
        assert set(found.clean.group_by("run").agg(pl.col("correct").sum(), pl.col("n").sum()).drop("run").rows()) == {(1, 3)}
        (verdict,) = claims.verdicts(found)
        assert verdict.clean is not None and (verdict.clean.items, verdict.clean.benchmarks) == (3, 1)
        assert "On the 3 items of 1 benchmark that GPT-3's rule finds nowhere in the text that was read" in sentences.sentence(verdict)
        store.record_overlap(shards[1], "c", [overlap("b1", dict.fromkeys(range(4), 1.0))])
    (verdict,) = claims.verdicts(read(tmp_path))
    assert "finds every item in the text" in sentences.sentence(verdict)


def test_nothing_finished_and_nothing_there(tmp_path: Path) -> None:
    filled(tmp_path, [run(ratio=0.0), run(ratio=1.0)]).close()
    assert sentences.sentence(claims.verdicts(read(tmp_path))[0]) == "No verdict: none of the 2 runs has finished."
    assert sentences.sentence(claims.verdicts(read(tmp_path, "an'other"))[0]) == "No verdict: the study has no runs."


def test_a_verdict_comes_out_of_the_database(tmp_path: Path) -> None:
    runs = [run(ratio=ratio, seed=seed) for ratio in (0.0, 1.0) for seed in (0, 1)]
    with filled(tmp_path, runs) as store:
        for one in runs:
            finish(store, one, tmp_path, [score(n=8)])
    (verdict,) = claims.verdicts(read(tmp_path))
    assert (verdict.outcome, verdict.tested[0].difference.estimate) == ("none", 0.0)


def test_baselines_are_the_study_s_own_on_its_own_items(tmp_path: Path) -> None:
    ours, theirs = "a" * 16, "b" * 16
    with filled(tmp_path, [run()]) as store:
        store.save_study(study(), "quality.yaml", None, asked(score(), score("kinds")))
        for digest in (ours, theirs):
            done = baseline(tmp_path / digest, [score(), score("other"), failed("kinds")], digest, name=f"org/{digest[0]}-1M")
            store.record_baseline(done, tmp_path / digest)
        store.declare_baselines("quality", [ours])
    found = read(tmp_path).baselines
    assert dict(found.schema) == BASELINES
    assert found.select("name", "params_total", "benchmark", "score", "metric").rows() == [("a-1M", 5000, "sums", 0.5, "acc")]


def test_baselines_of_one_last_name_stay_two(tmp_path: Path) -> None:
    names = {"a" * 16: "runs/x/model", "b" * 16: "runs/y/model/", "c" * 16: "org/small"}
    with filled(tmp_path, [run()]) as store:
        store.save_study(study(), "quality.yaml", None, asked(score()))
        for digest, name in names.items():
            store.record_baseline(baseline(tmp_path / digest, [score()], digest, name=name), tmp_path / digest)
        store.declare_baselines("quality", list(names))
    assert sorted(read(tmp_path).baselines["name"]) == ["org/small", "x/model", "y/model"]
