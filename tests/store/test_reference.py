"""Published results: what is shipped keeps its promises, and results.db holds a copy that follows the package."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ablate.store import reference
from ablate.store.store import Store

ROWS = reference.rows()


def one(system: str, benchmark: str, metric: str, source: str = "") -> dict[str, Any]:
    (row,) = [r for r in ROWS if (r["system"], r["benchmark"], r["metric"]) == (system, benchmark, metric) and source in r["source"]]
    return row


@pytest.mark.parametrize(
    ("system", "benchmark", "metric", "source", "value"),
    [
        ("phi-1.5", "winogrande", "acc", "2309.05463", 0.734),
        ("Llama2-7B", "winogrande", "acc", "2309.05463", 0.691),
        ("phi-1.5-web-only", "winogrande", "acc", "2309.05463", 0.604),
        ("phi-1.5", "hellaswag", "acc", "2309.05463", 0.476),
        ("Vicuna-13B v1.1", "boolq", "acc", "2309.05463", 0.835),
        ("phi-1.5", "social_iqa", "acc", "2309.05463", 0.526),
        ("phi-1.5-web", "social_iqa", "acc", "2309.05463", 0.530),
        ("phi-1", "humaneval", "pass@1", "2306.11644", 0.506),
        ("StarCoder", "humaneval", "pass@1", "2306.11644", 0.336),
        ("Llama-7B", "training", "gpu_hours", "2302.13971", 82_432),
        ("phi-1.5", "inference", "memory_gb", "2309.05463", 3.5),
        ("GPT2-XL", "toxigen_safety", "safety", "SafeNLP", 0.281841),
        ("phi-2", "gsm1k", "exact_match", "2405.00332", 0.504),
        ("Llama2-7B", "agieval", "score", "MODEL_CARD", 0.293),
        ("DCLM fastText-filtered 1.4B, 144B tokens", "dclm_core", "centred_acc", "dclm", 0.3605),
    ],
)
def test_known_figures(system: str, benchmark: str, metric: str, source: str, value: float) -> None:
    row = one(system, benchmark, metric, source)
    assert (row["value"], row["status"]) == (value, "found")


def test_bounds_and_disagreements_are_kept() -> None:
    assert (one("phi-1.5", "inference", "ms_per_token")["bound"], one("phi-1.5", "inference", "ms_per_token")["value"]) == ("<", 3)
    assert one("Llama-7B", "training", "gpu_hours", "2309.05463")["bound"] == ">"
    paper, card = (one("phi-1.5", "training", "gpu_hours", where)["value"] for where in ("2309.05463", "model card"))
    assert (paper, card) == (1500, 6144), "the paper and the model card disagree; both are shipped"
    assert one("phi-1.5", "winogrande", "acc")["tokens"] == 150e9, "not the article's 300B, which is phi-1.5-web"


def test_a_figure_is_there_once_and_has_a_source() -> None:
    keys = Counter((r["system"], r["benchmark"], r["metric"], r["setting"], r["source"]) for r in ROWS)
    assert [key for key, n in keys.items() if n > 1] == []
    for row in ROWS:
        assert all(row[name] for name in ("system", "benchmark", "metric", "unit", "source")), row
        assert row["value"] is not None and row["bound"] in ("", "<", ">"), row
        assert (row["status"] == "recalled") == ("from memory" in row["source"]), row


def test_values_are_in_range_and_a_system_is_one_system() -> None:
    for row in ROWS:
        if row["unit"].startswith("fraction"):
            assert (-1 if row["metric"] == "difference" else 0) <= row["value"] <= 1, row
        else:
            assert row["value"] >= 0, row
        assert row["tokens"] is None or row["tokens"] >= 1e9, row
    assert {r["status"] for r in ROWS} == {"found", "recalled"}
    systems = {(r["system"], r["params"], r["tokens"], r["tokens_note"]) for r in ROWS}
    assert len(systems) == len({r["system"] for r in ROWS})


def test_plain_and_unnamed_accuracy_stay_apart() -> None:
    """A benchmark may have several metrics, never two from one source and setting that could be taken for each other."""
    assert {r["metric"] for r in ROWS} & {"accuracy", "accuracy?", "acc?"} == set()
    assert {r["metric"] for r in ROWS if "LLM-Foundry" in r["setting"]} == {"score", "centred_acc"}
    assert {r["source"][:16] for r in ROWS if r["metric"] == "acc"} == {"arXiv:2309.05463"}


def test_results_db_holds_what_is_shipped(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    Store.open(path).close()
    with Store.read_only(path) as store:
        names, rows = store.query("select * from reference_scores order by id")
        assert [dict(zip(names[1:], row[1:], strict=True)) for row in rows] == ROWS
        _, ((found,),) = store.query("select count(*) from published_scores")
    assert found == sum(r["status"] == "found" for r in ROWS), "recalled rows are not in the view"


def test_an_older_package_s_rows_are_replaced_and_the_same_ones_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    Store.open(path).close()
    db = sqlite3.connect(path)
    db.execute("delete from reference_scores where id > 3")
    db.execute("update reference_scores set value = 0.5 where id = 1")
    db.commit()
    Store.open(path).close()
    assert db.execute("select count(*), max(value) filter (where id = 1) from reference_scores").fetchone() == (len(ROWS), ROWS[0]["value"])
    before = db.execute("pragma data_version").fetchone()
    Store.open(path).close()
    assert db.execute("pragma data_version").fetchone() == before, "nothing was written"
    db.close()
