"""Minimal pairs from files: what is read, in what order, and what is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from ablate.errors import DataError
from ablate.evals.blimp import load

GOOD = json.dumps({"sentence_good": "It is.", "sentence_bad": "It are.", "UID": "agree", "linguistics_term": "agreement"})


@pytest.mark.shared_data
def test_real_pairs(shared_data: Path) -> None:
    items = load(str(shared_data / "benchmarks" / "blimp_45_paradigms.jsonl.gz"))
    assert len(items) == 9000
    assert len({item.template for item in items}) == 45
    assert items[0].choices[items[0].answer] == "Who should Derek hug after shocking Richard?"
    assert all(item.context == "" and len(item.choices) == 2 for item in items)
    first_right = sum(item.answer == 0 for item in items)
    assert abs(first_right - 4500) < 4 * (9000 / 4) ** 0.5


def test_plain_and_gzip_files_by_name_and_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"sentence_good": f"{i} is.", "sentence_bad": f"{i} are."} for i in range(4)]
    (tmp_path / "b.jsonl").write_text(f"{json.dumps(rows[2])}\n\n{json.dumps(rows[3])}", encoding="utf-8")
    with gzip.open(tmp_path / "a.jsonl.gz", "wt", encoding="utf-8") as f:
        f.write("".join(json.dumps({**row, "linguistics_term": "agreement"}) + "\n" for row in rows[:2]))
    monkeypatch.setenv("PAIRS", str(tmp_path))
    items = load("$PAIRS/*.jsonl*")
    assert [item.choices[item.answer] for item in items] == [row["sentence_good"] for row in rows]
    assert [item.template for item in items] == ["agreement", "agreement", "b.jsonl", "b.jsonl"]
    assert load("$PAIRS/*.jsonl*") == items


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{'a': 1}", "property name"),
        (b"[1]", "not an object"),
        (b'{"sentence_good": "It is."}', "a sentence is missing"),
        (b'{"sentence_good": 1, "sentence_bad": "It are."}', "a sentence is missing"),
        (b'{"sentence_good": "It is.", "sentence_bad": "It is."}', "the same"),
        (b'{"sentence_good": "\xff", "sentence_bad": "It is."}', "utf-8"),
        (b'{"sentence_good": "\\ud800", "sentence_bad": "It is."}', "surrogates"),
        (b"[" * 100_000, "recursion"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, why: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(GOOD.encode() + b"\n" + line + b"\n")
    with pytest.raises(DataError, match=rf"pairs.jsonl, line 2: .*{why}"):
        load(str(path))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file matches"):
        load(str(tmp_path / "*.jsonl"))
    whole = gzip.compress(GOOD.encode() * 1000)
    damaged = whole[:20] + b"\0\0\0\0" + whole[24:]
    for name, content in (("cut.gz", whole[: len(whole) // 2]), ("damaged.gz", damaged), ("plain.gz", GOOD.encode())):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}: cannot be read"):
            load(str(tmp_path / name))
