"""What a report reads from a real results.db, also while the study is half done."""

from __future__ import annotations

import json
from pathlib import Path

from ablate.report import claims, frames, sentences
from ablate.report.frames import ANSWERS, ATTEMPTS, CURVES, RUNS, SCORES, TEXTS, USAGE
from ablate.store.store import Store
from tests.outcomes import asked, filled, finish, run, score, study

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
