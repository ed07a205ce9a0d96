"""Every kind of file gives the same rows; what is damaged is refused with its place, and nothing is lost in silence."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ablate.data import readers, sources
from ablate.data.hygiene import Tally
from ablate.errors import DataError
from ablate.study.spec import Source

ROWS: list[dict[str, Any]] = [
    {"text": f"row {i}, “quoted” and\nbroken", "score": i / 2, "language": "en" if i % 3 else "de", "meta": {"n": i}} for i in range(700)
]


def zst(content: bytes) -> bytes:
    return pa.Codec("zstd").compress(content, asbytes=True)


def arrow(rows: list[dict[str, Any]], stream: bool) -> bytes:
    table, sink = pa.Table.from_pylist(rows), io.BytesIO()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    return sink.getvalue()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), sink, row_group_size=300)
    return sink.getvalue()


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    sink = io.StringIO()
    writer = csv.DictWriter(sink, [name for name in rows[0] if name != "meta"], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return sink.getvalue().encode()


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


KINDS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "a.jsonl": jsonl,
    "a.jsonl.gz": lambda rows: gzip.compress(jsonl(rows)),
    "a.jsonl.zst": lambda rows: zst(jsonl(rows)),
    "two frames.jsonl.zst": lambda rows: zst(jsonl(rows[:300])) + zst(jsonl(rows[300:])),
    "lines.json": jsonl,
    "array.json": lambda rows: json.dumps(rows, indent=1).encode(),
    "one line.json.gz": lambda rows: gzip.compress(b"\xef\xbb\xbf " + json.dumps(rows).encode()),
    "a.csv": as_csv,
    "a.csv.zst": lambda rows: zst(as_csv(rows)),
    "a.parquet": parquet,
    "file.arrow": lambda rows: arrow(rows, stream=False),
    "stream.arrow": lambda rows: arrow(rows, stream=True),
}


HUGE = '{"text": "a", "n": %s}\n{"text": "b", "n": 2}\n' % ("7" * 5000)


@pytest.mark.parametrize(("name", "content"), [("a.jsonl", HUGE), ("a.json", "[" + HUGE.replace("}\n{", "},{") + "]")])
def test_an_integer_too_long_for_python_loses_no_row(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert list(sources.read(Source(files=str(tmp_path / name)), Tally())) == ["a", "b"]
    tally = Tally()
    assert list(sources.read(Source(files=str(tmp_path / name), where="n > 1"), tally)) == ["b"]
    assert tally.dropped == {"unknown": 1}


def test_text_that_looks_like_a_number_is_a_number_in_csv_alone(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a", "code": "007"}\n{"text": "b", "code": "7"}\n')
    (tmp_path / "a.csv").write_text("text,code\na,007\nb,8\n")
    assert list(sources.read(Source(files=str(tmp_path / "a.jsonl"), where="code == '007'"), Tally())) == ["a"]
    assert list(sources.read(Source(files=str(tmp_path / "a.csv"), where="code == 7"), Tally())) == ["a"]


def source_of(path: Path, content: bytes, **options: Any) -> Source:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Source(files=str(path), **options)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_gives_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(readers, "_CHUNK", 1000)  # entries of arrays reach over chunks
    tally = Tally()
    condition = "score > 3 and language == 'en'" + (" and meta.n < 600" if ".csv" not in name else " and score < 300")
    kept = list(sources.read(source_of(tmp_path / name, KINDS[name](ROWS), where=condition), tally))
    assert kept == [row["text"] for row in ROWS if row["score"] > 3 and row["language"] == "en" and row["meta"]["n"] < 600]
    assert tally.dropped == {"filtered": len(ROWS) - len(kept)}
    every = list(sources.read(source_of(tmp_path / name, KINDS[name](ROWS)), tally))
    assert every == [row["text"] for row in ROWS]
    assert readers.count(tmp_path / name) == len(ROWS)
    assert [row["text"] for _, row in readers.Part(tmp_path / name, 5, 301).rows(["text"])] == every[5:301]


def test_nested_folders_and_mixed_kinds(tmp_path: Path) -> None:
    for i, (name, make) in enumerate(KINDS.items()):
        (tmp_path / f"{i:02}" / "deep").mkdir(parents=True)
        (tmp_path / f"{i:02}" / "deep" / name).write_bytes(make(ROWS[i : i + 1] if "two frames" not in name else ROWS[i : i + 2]))
    read = list(sources.read(Source(files=str(tmp_path / "**" / "*.*")), Tally()))
    assert sorted(set(read)) == sorted(row["text"] for row in ROWS[: len(KINDS)])


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    rows = [{"text": "a", "score": 5}, {"text": "b", "score": 1}, {"text": "c"}, {"text": "d", "score": None}, {"text": None, "score": 9}]
    (tmp_path / "b.jsonl").touch()
    (tmp_path / "c.parquet").touch()
    (tmp_path / "d.jsonl.gz").touch()
    source_of(tmp_path / "a.jsonl", jsonl([*rows, {"text": " ", "score": 7}, {"text": "e", "score": float("nan")}]))
    tally = Tally()
    assert list(sources.documents(Source(files=str(tmp_path / "*"), where="score >= 2"), 0, tally)) == ["a"]
    assert tally.dropped == {"filtered": 1, "unknown": 3, "empty": 2, "empty_file": 3}
    assert tally.read == tally.kept + sum(tally.dropped.values()) == 10


def test_rows_of_another_form(tmp_path: Path) -> None:
    """Columns may come and go from file to file; a row without the text is refused, unless `where` drops it."""
    source_of(tmp_path / "a.parquet", parquet([{"text": "a", "score": 5}, {"text": "b", "score": 1}]))
    source_of(tmp_path / "b.parquet", parquet([{"id": 7, "text": "c"}]))
    source_of(tmp_path / "c.jsonl", jsonl([{"title": "\ud800", "score": 0}, {"text": "d", "score": 9, "title": "e"}]))
    tally = Tally()
    assert list(sources.documents(Source(files=str(tmp_path / "*"), where="score > 3"), 0, tally)) == ["a", "d"]
    assert tally.dropped == {"filtered": 2, "unknown": 1}
    with pytest.raises(DataError, match=r"c\.jsonl, line 1: there is no field 'text'; the row has: title, score"):
        list(sources.documents(Source(files=str(tmp_path / "*")), 0))


def test_a_column_with_a_dot_in_its_name(tmp_path: Path) -> None:
    for name, make in {"a.parquet": parquet, "a.csv": as_csv}.items():
        source = source_of(tmp_path / name, make([{"text": "a", "meta.n": 5}, {"text": "b", "meta.n": 1}]), where="meta.n > 3")
        assert list(sources.read(source, Tally())) == ["a"]
        with pytest.raises(DataError, match=r"2 unknown, 0 held out\); unknown: a column that `where` names is null or missing"):
            list(sources.documents(source.model_copy(update={"where": "meta.m > 3"}), 0))


def test_the_condition_is_in_the_digest_and_is_checked_early(tmp_path: Path) -> None:
    plain = source_of(tmp_path / "a.jsonl", jsonl(ROWS))
    kept = Source(files=plain.files, where="score > 3")
    assert sources.digest(plain) != sources.digest(kept)
    with pytest.raises(DataError, match="cannot be read; write a condition such as score > 3"):
        sources.digest(Source(files=plain.files, where="score >"))
    with pytest.raises(DataError, match="line 1: where: 'language > 3' compares"):
        list(sources.read(Source(files=plain.files, where="language > 3"), Tally()))


CUT = "the file is damaged or cut off"
BAD = {
    "cut.parquet": (parquet(ROWS)[:-20], CUT),
    "middle.parquet": (parquet(ROWS)[:200] + b"\x00" * 400 + parquet(ROWS)[600:], CUT),
    "cut file.arrow": (arrow(ROWS, stream=False)[:-500], CUT),
    "cut stream.arrow": (arrow(ROWS, stream=True)[:-500], CUT),
    "cut.jsonl.zst": (zst(jsonl(ROWS))[:-9], CUT),
    "no.jsonl.zst": (jsonl(ROWS), CUT),
    "no field.parquet": (parquet([{"body": "x", "score": 1}]), "row 1: there is no field 'text'; the row has: body, score"),
    "number.parquet": (parquet([{"text": 3}]), "row 1: the field 'text' is not text"),
    "bytes.parquet": (parquet([{"text": b"\xff"}]), "row 1: the field 'text' is not text"),
    "columns.csv": (b"text,score\na,1\nb\n", "line 3: 1 columns, and the first line names 2"),
    "quote.csv": (b'text,score\n"a,1\n', "line 2: not CSV"),
    "latin.csv": ("text\nschön\n".encode("latin-1"), "line 2: not valid UTF-8"),
    "utf16.txt": ("no mark\nat its start".encode("utf-16-le"), "line 1: there are NUL bytes in it"),
    "hole.csv": (b"text\na\n" + bytes(500), "line 3: there are NUL bytes in it"),
    "cut.json": (b'[{"text": "a"}, {"text": "b"', "line 1: not JSON"),
    "open.json": (b'[{"text": "a"},\n', "line 2: not JSON (the array does not end)"),
    "after.json": (b'[{"text": "a"}]\n[{"text": "b"}]', "text after the end of the array"),
    "latin.json": ('[{"text": "schön"}]'.encode("latin-1"), "entry 1: not valid UTF-8"),
}


@pytest.mark.parametrize("name", BAD)
def test_damage_gets_a_sentence(tmp_path: Path, name: str) -> None:
    content, sentence = BAD[name]
    with pytest.raises(DataError) as raised:
        list(sources.read(source_of(tmp_path / name, content), Tally()))
    assert sentence in str(raised.value)
    assert name in str(raised.value)


def test_an_arrow_column_that_is_not_utf8(tmp_path: Path) -> None:
    column = pa.StringArray.from_buffers(1, pa.py_buffer(b"\x00\x00\x00\x00\x02\x00\x00\x00"), pa.py_buffer(b"\xff\xfe"))
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pa.table({"text": column}), sink)
    with pytest.raises(DataError, match="not valid UTF-8"):
        list(sources.read(source_of(tmp_path / "a.parquet", sink.getvalue()), Tally()))


def test_a_line_of_a_hundred_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("w") as f:
        f.write('{"text": "small"}\n{"text": "')
        for _ in range(100):
            f.write("words " * 175_000)
        f.write('"}\n')
    small, large = sources.read(Source(files=str(path)), Tally())
    assert (small, len(large)) == ("small", 105_000_000)


def test_a_line_without_end_is_refused_before_the_memory_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "LONGEST", 1 << 20)
    for name, sentence in {"a.jsonl": "longer than 1 MiB", "a.txt": "longer than 1 MiB", "a.json": "not JSON"}.items():
        body = b"x" * (1 << 20) if name != "a.txt" else b"some words\n" * 200_000
        source = source_of(tmp_path / name, (b"[" if name == "a.json" else b"") + b'{"text": "' + body + b"x" * (1 << 22))
        with pytest.raises(DataError, match=sentence):
            list(sources.read(source, Tally()))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for count in (2_000, 20_000):
        path = tmp_path / f"{count}.json"
        path.write_text(json.dumps([{"text": "word " * 200 + str(i)} for i in range(count)]))
        tracemalloc.start()
        assert sum(1 for _ in readers.rows(path, None)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] < 20_000_000


def test_a_parquet_file_of_one_row_group_is_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_CHUNK", 100_000)
    texts = [random.Random(i).randbytes(400).hex() for i in range(10_000)]
    pyarrow.parquet.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", compression="none", data_page_size=100_000)
    size, before = (tmp_path / "a.parquet").stat().st_size, pa.total_allocated_bytes()
    assert max(pa.total_allocated_bytes() - before for _ in readers.rows(tmp_path / "a.parquet", ["text"])) < size / 2


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(sorted(KINDS)))
def test_damaged_files_never_give_anything_but_rows_or_a_sentence(tmp_path: Path, data: st.DataObject, name: str) -> None:
    """Bytes cut off, changed or put in: DataError, or texts that are read to the end; never another error."""
    raw = bytearray(KINDS[name](ROWS[:20] if "two" not in name else ROWS[:310]))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        match data.draw(st.sampled_from(["cut", "flip", "insert"])):
            case "cut":
                del raw[at:]
            case "flip":
                raw[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
            case _:
                raw[at:at] = data.draw(st.binary(max_size=8))
    try:
        for text in sources.read(source_of(tmp_path / name, bytes(raw), where="score > 3"), Tally()):
            assert isinstance(text, str)
    except DataError as e:
        assert name in str(e)
