"""Where text comes from: the embedded corpora, or files. One document after another, never a whole corpus in memory.

Text from files is cleaned as `hygiene:` says (data/hygiene.py), and about one document in 50 is held out, with its near-duplicates.
The embedded corpora are taken as they are generated, unless `hygiene:` is written: their duplicates are a measured kind of noise.
"""

from __future__ import annotations

import glob
import gzip
import hashlib
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import cache, lru_cache
from pathlib import Path
from typing import IO, Any, cast

from ablate.data import hygiene, neutral, textbook, web, world
from ablate.errors import DataError
from ablate.study.grid import digest as digest_of
from ablate.study.spec import Hygiene, Source

HELD_OUT = -1
"""The stream of documents that no run trains on."""
TOKENIZER = -2
"""The stream that a tokenizer is trained on."""

SEPARATOR = "<|endoftext|>"
HELD_OUT_EVERY = 50
FEWEST_TO_HOLD_OUT = 10
"""Where chance held no document out, one is taken all the same from a source of at least this many."""
_KINDS = (".jsonl", ".json", ".txt")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def is_finite(source: Source) -> bool:
    """Whether the source ends: files do, the embedded corpora do not."""
    return source.files is not None


def digest(source: Source) -> str:
    """What the source's text depends on, as 16 hex digits: for files their content, wherever they lie."""
    if source.builtin is not None:
        noise = source.noise.model_dump() if source.builtin == "web" else None
        parts: dict[str, Any] = {"builtin": source.builtin, "seed": source.seed, "noise": noise, "world": world.WORLD_VERSION}
    else:
        hashes = [[_kind(path), file_hash(path)] for path in _paths(source)]
        parts = {"files": hashes, "text_field": source.text_field, "reader": 2}
    if source.hygiene is not None and source.hygiene != _unasked(source):
        parts["hygiene"] = [source.hygiene.model_dump(mode="json"), hygiene.VERSION]
    return digest_of(parts)


def _unasked(source: Source) -> Hygiene | None:
    """What is done to a source without `hygiene:`."""
    return Hygiene() if is_finite(source) else None


def documents(source: Source, stream: int, tally: hygiene.Tally | None = None) -> Iterator[str]:
    """The documents of one stream, in their order.

    Embedded corpora: stream n >= 0 is what a run with seed n reads, HELD_OUT and TOKENIZER are streams of their own; all
    are endless. Files: HELD_OUT gives the documents held out, any other stream all the others, in the order of the files.
    `tally` counts, as they pass, what is kept and what is dropped and why.
    """
    tally = hygiene.Tally() if tally is None else tally
    if source.builtin is None:
        return _file_documents(source, stream == HELD_OUT, tally)
    return _cleaned(source, _generated(source, stream), tally)


def _generated(source: Source, stream: int) -> Iterator[str]:
    if source.builtin == "web":
        return web.documents(source.seed, stream, source.noise)
    if source.builtin == "textbook":
        return textbook.documents(source.seed, stream)
    return neutral.documents(source.seed, stream)


def _cleaned(source: Source, texts: Iterator[str], tally: hygiene.Tally) -> Iterator[str]:
    """An endless stream, of which nothing is held out: held-out text is a stream of its own."""
    if source.hygiene is None:
        return texts
    if source.hygiene.dedup == "near":
        return (kept.text for kept in hygiene.clean(texts, source.hygiene, lambda key: False, tally))
    return (text for text, _ in hygiene.distinct(texts, source.hygiene, tally))


def measured(source: Source, trained_on: bool) -> Iterator[str]:
    """The documents on which bits per byte are measured: the held-out ones, or all of the files of a source that no run
    trains on. Empty for a trained-on source of so few documents that none is held out."""
    if is_finite(source) and not trained_on:
        return (text for text, _ in _distinct(source, hygiene.Tally()))
    return documents(source, HELD_OUT)


def _file_documents(source: Source, held_out: bool, tally: hygiene.Tally) -> Iterator[str]:
    nothing = True
    for document in hygiene.clean(_raw(source), source.hygiene or Hygiene(), _split(source, digest(source)), tally):
        if document.held_out == held_out:
            nothing = False
            yield document.text
    if nothing and not held_out:
        raise DataError(f"files: {source.files}: no document to train on was found in the files; they are empty or hold one document only")


@lru_cache(maxsize=64)
def _split(source: Source, _content: str) -> Callable[[int], bool]:
    """Says of a document's hash whether it is held out.

    Those are the hashes divisible by HELD_OUT_EVERY; in a source where there is none, the smallest hash.
    The files are read up to the first such document only.
    """
    smallest, count = 0, 0
    for _, key in _distinct(source, hygiene.Tally()):
        if key % HELD_OUT_EVERY == 0:
            return lambda key: key % HELD_OUT_EVERY == 0
        smallest = min(smallest, key) if count else key
        count += 1
    if count < FEWEST_TO_HOLD_OUT:
        return lambda key: False
    return lambda key: key == smallest


def _distinct(source: Source, tally: hygiene.Tally) -> Iterator[tuple[str, int]]:
    return hygiene.distinct(_raw(source), source.hygiene or Hygiene(), tally)


def _raw(source: Source) -> Iterator[str]:
    for path in _paths(source):
        yield from _read(path, source.text_field)


def _paths(source: Source) -> list[Path]:
    pattern = os.path.expanduser(_VARIABLE.sub(lambda m: _variable(m[1] or m[2], source), source.files or ""))
    found = [pattern] if os.path.isfile(pattern) else sorted(glob.glob(pattern, recursive=True))
    paths = [Path(name) for name in found if os.path.isfile(name)]
    if not paths:
        hint = "it is a folder: write FOLDER/*.jsonl" if os.path.isdir(pattern) else f"looked in {os.getcwd()}"
        raise DataError(f"files: {source.files}: no file matches ({hint})")
    for path in paths:
        if _kind(path) not in _KINDS:
            raise DataError(f"files: {path} is not of a kind that is read: .jsonl, .json or .txt, plain or .gz; narrow the pattern")
    return paths


def _variable(name: str, source: Source) -> str:
    if name not in os.environ:
        raise DataError(f"files: {source.files}: the environment variable {name} is not set; set it or write the path out")
    return os.environ[name]


def _kind(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes; read again only when its size or time has changed."""
    stat = path.stat()
    return _file_hash(path, stat.st_size, stat.st_mtime_ns)


@cache
def _file_hash(path: Path, _size: int, _mtime_ns: int) -> str:
    try:
        with path.open("rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()
    except OSError as e:
        raise DataError(f"{path}: cannot be read: {e.strerror}") from e


def _read(path: Path, field: str) -> Iterator[str]:
    """The documents of one file; DataError with file and line for anything that is not text in the expected form."""
    try:
        with _opened(path) as f:
            yield from _texts(path, f) if _kind(path) == ".txt" else _rows(path, f, field)
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        raise DataError(f"{path}: the gzip file is damaged or cut off ({e}); fetch it again") from e
    except OSError as e:
        raise DataError(f"{path}: cannot be read: {e.strerror}") from e


def _opened(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _texts(path: Path, lines: IO[bytes]) -> Iterator[str]:
    """A text file is one document, or as many as its separators part."""
    parts: list[str] = []
    for number, line in enumerate(lines, 1):
        first, *others = _decoded(path, number, line).split(SEPARATOR)
        parts.append(first)
        for other in others:
            yield "".join(parts)
            parts = [other]
    if last := "".join(parts).strip():
        yield last


def _rows(path: Path, lines: IO[bytes], field: str) -> Iterator[str]:
    """One JSON object a line; a .json file may be one array of objects instead."""
    for number, line in enumerate(lines, 1):
        text = _decoded(path, number, line)
        if number == 1 and _kind(path) == ".json" and text.lstrip().startswith("["):
            whole = text + "".join(_decoded(path, n, rest) for n, rest in enumerate(lines, 2))
            for position, row in enumerate(_parsed(f"{path}, line ", 1, whole), 1):
                yield _field(f"{path}, entry {position}", row, field)
            return
        if text.strip():
            yield _field(f"{path}, line {number}", _parsed(f"{path}, line ", number, text), field)


def _parsed(place: str, line: int, text: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as e:
        number, why = (line + e.lineno - 1, e.msg) if isinstance(e, json.JSONDecodeError) else (line, "nested too deeply")
        raise DataError(f"{place}{number}: not JSON ({why}); every line must be one JSON object") from e


def _field(place: str, row: Any, field: str) -> str:
    if not isinstance(row, dict):
        raise DataError(f'{place}: the row is not a JSON object; write {{"{field}": ...}} rows')
    text = row.get(field)
    if not isinstance(text, str):
        near = get_close_matches(field, row, 1)
        missing = f"the field {field!r} is not text" if field in row else f"there is no field {field!r}"
        raise DataError(f"{place}: {missing}{f'; nearest: {near[0]}' if near and near[0] != field else ''}; "
                        f"the row has: {', '.join(row)}; name the right one in text_field:")  # fmt: skip
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        raise DataError(f"{place}: the text holds half of a surrogate pair, which is no character; repair or remove the row")
    return text


def _decoded(path: Path, number: int, line: bytes) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as e:
        raise DataError(f"{path}, line {number}: not valid UTF-8 ({e.reason} at byte {e.start}); convert the file to UTF-8") from e
