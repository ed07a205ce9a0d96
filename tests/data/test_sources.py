"""What is read from files, what is refused, and with which sentence."""

from __future__ import annotations

import gzip
import json
import os
import time
from itertools import islice
from pathlib import Path

import pytest

from ablate.data import hygiene, sources
from ablate.errors import DataError
from ablate.study.spec import Hygiene, Noise, Source


def rows(path: Path, texts: list[str], field: str = "text") -> Source:
    body = "".join(json.dumps({field: text}) + "\n" for text in texts).encode()
    path.write_bytes(gzip.compress(body) if path.suffix == ".gz" else body)
    return Source(files=str(path), text_field=field)


def both(source: Source) -> list[str]:
    return [*sources.documents(source, 0), *sources.documents(source, sources.HELD_OUT)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.json.gz"])
def test_rows_of_json(tmp_path: Path, name: str) -> None:
    source = rows(tmp_path / name, ["one", "two\u2028lines", "drei"], "content")
    assert list(sources.documents(source, 3)) == ["one", "two\u2028lines", "drei"]


def test_a_json_array_is_rows(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[\n {"text": "one"},\n {"text": "two"}]')
    assert list(sources.documents(Source(files=str(tmp_path / "a.json")), 0)) == ["one", "two"]


def test_the_digest_of_files_follows_what_cleans_and_splits_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, generated = rows(tmp_path / "a.jsonl", ["one"]), Source(builtin="web")
    before, always = sources.digest(source), sources.digest(generated)
    with monkeypatch.context() as patched:
        patched.setattr(sources, "HELD_OUT_EVERY", 51)
        assert sources.digest(source) != before
    monkeypatch.setattr(hygiene, "VERSION", -1)
    assert sources.digest(source) != before
    assert sources.digest(generated) == always, "it is not cleaned"


def test_text_files(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_bytes("\ufeffa whole\r\nbook\r\n".encode())
    (tmp_path / "2.txt.gz").write_bytes(gzip.compress(b"first\n<|endoftext|>\nsecond <|endoftext|>third\n<|endoftext|>\n"))
    assert list(sources.documents(Source(files=str(tmp_path / "*")), 0)) == ["a whole\nbook", "first", "second", "third"]


def test_normalised_and_without_duplicates(tmp_path: Path) -> None:
    tally = hygiene.Tally()
    source = rows(tmp_path / "a.jsonl", ["cafe\u0301\r\nau lait", "other", "caf\u00e9\nau lait", " ", "other"])
    assert list(sources.documents(source, 0, tally)) == ["caf\u00e9\nau lait", "other"]
    assert tally.dropped == {"duplicates": 2, "empty": 1}


def test_held_out_documents_are_apart_and_stay_so_when_the_source_grows(tmp_path: Path) -> None:
    texts = [f"document {i}" for i in range(1000)]
    small, large = rows(tmp_path / "a.jsonl", texts[:600]), rows(tmp_path / "b.jsonl", texts)
    train, held = set(sources.documents(large, 0)), set(sources.documents(large, sources.HELD_OUT))
    assert train | held == set(texts)
    assert not train & held
    assert 8 <= len(held) <= 35
    assert set(sources.documents(small, sources.HELD_OUT)) == held & set(texts[:600])
    assert list(sources.documents(large, 7)) == list(sources.documents(large, sources.TOKENIZER)) == [t for t in texts if t in train]


def test_a_source_of_few_documents_holds_one_out_and_one_of_very_few_none(tmp_path: Path) -> None:
    few = rows(tmp_path / "a.jsonl", [f"book {i}" for i in range(12)])
    assert [len(list(sources.documents(few, stream))) for stream in (0, sources.HELD_OUT)] == [11, 1]
    very_few = rows(tmp_path / "b.jsonl", [f"book {i}" for i in range(3)])
    assert [len(list(sources.documents(very_few, stream))) for stream in (0, sources.HELD_OUT)] == [3, 0]
    assert list(sources.measured(very_few, trained_on=True)) == []
    assert len(list(sources.measured(very_few, trained_on=False))) == 3


def test_the_digest_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    first, second = rows(tmp_path / "a.jsonl", ["one", "two"]), rows(tmp_path / "b.jsonl", ["one", "two"])
    assert sources.digest(first) == sources.digest(second)
    assert sources.digest(first) != sources.digest(Source(files=first.files, text_field="body"))
    before = sources.digest(first)
    rows(tmp_path / "a.jsonl", ["one", "three"])
    assert sources.digest(first) != before


def test_variables_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows(tmp_path / "a.jsonl", ["one"])
    monkeypatch.setenv("CORPORA", str(tmp_path))
    assert list(sources.documents(Source(files="$CORPORA/*.jsonl"), 0)) == ["one"]
    assert list(sources.documents(Source(files="${CORPORA}/a.jsonl"), 0)) == ["one"]
    with pytest.raises(DataError, match="environment variable NO_SUCH is not set"):
        list(sources.documents(Source(files="$NO_SUCH/*.jsonl"), 0))


BAD = {
    "no row.jsonl": (b'{"text": "fine"}\nnot json\n', "line 2: not JSON"),
    "no object.jsonl": (b'"text"\n', "line 1: the row is not a JSON object"),
    "no field.jsonl": (b'{"texts": "x", "id": 1}\n', "line 1: there is no field 'text'; nearest: texts; the row has: texts, id"),
    "no text.jsonl": (b'{"text": 5}\n', "line 1: the field 'text' is not text"),
    "surrogate.jsonl": (b'{"text": "\\ud800"}\n', "line 1: the text holds half of a surrogate pair"),
    "array.json": (b'[{"text": "x"},\n {"text": }]', "line 2: not JSON"),
    "entry.json": (b'[{"text": "x"}, {"id": 1}]', "entry 2: there is no field 'text'"),
    "deep.jsonl": (b"[" * 100_000 + b"\n", "line 1: n"),
    "latin.txt": ("gut\nschön\n".encode("latin-1"), "line 2: not valid UTF-8"),
    "latin.jsonl": ('{"text": "schön"}\n'.encode("latin-1"), "line 1: not valid UTF-8"),
    "cut.jsonl.gz": (gzip.compress(b'{"text": "x"}\n' * 9)[:-6], "gzip file is damaged or cut off"),
    "plain.jsonl.gz": (b'{"text": "x"}\n', "gzip file is damaged or cut off"),
    "empty.txt": (b"", "no document"),
    "blank.jsonl": (b"\n\n", "no document"),
    "pointer.txt": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "run `git lfs pull` in its repository"),
    "pointer.parquet": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "is a Git LFS pointer"),
    "rows.parquet": (b"PAR1", "the file is damaged or cut off"),
    "rows.xlsx": (b"PK", "not of a kind that is read"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_get_a_sentence(tmp_path: Path, name: str) -> None:
    content, sentence = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as raised:
        list(sources.documents(Source(files=str(tmp_path / name)), 0))
    assert sentence in str(raised.value)
    assert name in str(raised.value)


def test_text_about_pointers_is_text_and_a_condition_that_cannot_be_read_names_its_source(tmp_path: Path) -> None:
    about = "version https://git-lfs.github.com/spec/v1 is how a pointer begins. " * 20
    (tmp_path / "a.txt").write_text(about)
    assert list(sources.documents(Source(files=str(tmp_path / "a.txt")), 0)) == [about.strip()]
    with pytest.raises(DataError, match=r"^files: .*a\.txt: where: 'score >' cannot be read"):
        sources.digest(Source(files=str(tmp_path / "a.txt"), where="score >"))


def test_no_files_get_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"no file matches \(looked for {tmp_path}/\*.jsonl\)"):
        sources.digest(Source(files=str(tmp_path / "*.jsonl")))
    with pytest.raises(DataError, match="it is a folder"):
        sources.digest(Source(files=str(tmp_path)))


def test_a_link_to_nothing_is_no_document_less(tmp_path: Path) -> None:
    """Data sets under git-annex or DVC are links; what was not fetched must not be left out in silence."""
    rows(tmp_path / "a.jsonl", ["one"])
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "annex" / "b")
    with pytest.raises(DataError, match=r"b\.jsonl is a link to a file that is not there; fetch what it stands for"):
        sources.digest(Source(files=str(tmp_path / "*.jsonl")))


def test_a_file_is_read_once_however_often_a_pattern_finds_it(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name, folder in {"one": tmp_path, "two": tmp_path / "a" / "b"}.items():
        rows(folder / "x.jsonl", [name])
    for pattern in ("**/*.jsonl", "**/**/*.jsonl"):
        source = Source(files=str(tmp_path / pattern), hygiene=Hygiene(dedup="none"))
        assert sorted(sources.documents(source, 0)) == ["one", "two"]


def test_another_file_of_the_same_size_and_time_is_another_source(tmp_path: Path) -> None:
    source = rows(tmp_path / "a.jsonl", ["one"])
    before, times = sources.digest(source), (tmp_path / "a.jsonl").stat()
    time.sleep(0.02)  # a tick of the file system's clock
    rows(tmp_path / "a.jsonl", ["two"])
    os.utime(tmp_path / "a.jsonl", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (tmp_path / "a.jsonl").stat().st_size == times.st_size
    assert sources.digest(source) != before


def test_a_data_set_whose_config_is_not_named_may_be_any_of_its_configs() -> None:
    def pages(config: str | None = None, split: str = "train") -> Source:
        return Source(hf="owner/pages", config=config, split=split, revision="0123456789" * 4)

    for other in (pages(), pages("default"), pages("de", "train[5:]")):
        assert sources.shares_text(pages(), other) and sources.shares_text(other, pages()), other
    assert sources.shares_text(pages("de"), pages("de"))
    for one, other in ((pages("de"), pages("en")), (pages(), pages("de", "test")), (pages(split="train[:5]"), pages("de", "train[5:]"))):
        assert not sources.shares_text(one, other) and not sources.shares_text(other, one), (one, other)


def test_embedded_corpora() -> None:
    page = Source(builtin="web")
    assert not sources.is_finite(page)
    for source in (Source(builtin="textbook"), page, Source(builtin="neutral")):
        streams = {s: tuple(islice(sources.documents(source, s), 20)) for s in (0, 1, sources.HELD_OUT, sources.TOKENIZER)}
        assert len(set(streams.values())) == 4
    others = [Source(builtin="web", seed=1), Source(builtin="web", noise=Noise(typos=0)), Source(builtin="neutral")]
    assert len({sources.digest(source) for source in [page, *others]}) == 4


@pytest.mark.shared_data
def test_real_files(shared_data: Path) -> None:
    tally = hygiene.Tally()
    stories = Source(files=str(shared_data / "text" / "tinystories_exllamav2.txt.gz"))
    kept = len(list(sources.documents(stories, 0, tally)))
    assert kept + tally.held_out == 317
    books = Source(files=str(shared_data / "text" / "synthetic_textbooks_gpt4_a.jsonl.gz"))
    assert len(list(sources.documents(books, 0))) == 12
    c4 = Source(files=str(shared_data / "text" / "c4-sample.0?.json.gz"))
    assert len(both(c4)) == 20
