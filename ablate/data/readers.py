"""Rows out of files, one after another: JSON, text, CSV, Parquet, Arrow; plain, gzip or Zstandard.

Memory is bounded by the longest row, not by the file. What cannot be read is refused with the file and the row.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from ablate.errors import DataError

SEPARATOR = "<|endoftext|>"
LONGEST = 1 << 28
"""Bytes of a line, characters of a document: more is a file that lacks its separators, not a row."""
_CHUNK = 1 << 20
_MOST_DIGITS = 300
"""Of an integer that is read where Python's own limit was met."""
_PACKED = (".gz", ".zst")
_COLUMNAR = (".parquet", ".arrow")
_BATCH_ROWS = 256

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """The rows of a file from number `first` (0 is the first) up to, and without, `end` (None: to the last)."""

    path: Path
    first: int = 0
    end: int | None = None

    def rows(self, columns: Collection[str] | None) -> Iterator[tuple[str, Row]]:
        """As `rows` gives them."""
        return islice(rows(self.path, columns), self.first, self.end)


def kind(path: Path) -> str:
    """`.jsonl` of `a.jsonl.gz`."""
    return Path(path.name.removesuffix(path.suffix) if path.suffix.lower() in _PACKED else path.name).suffix.lower()


def is_read(path: Path) -> bool:
    """Whether files of this name can be read at all."""
    return kind(path) in _READERS or (kind(path) in _COLUMNAR and path.suffix.lower() == kind(path))


def rows(path: Path, columns: Collection[str] | None) -> Iterator[tuple[str, Row]]:
    """The rows of one file, each with its place for sentences (`line 7`); a document of a text file is a row `{"text": ...}`.

    columns: those that will be asked for, dotted where they are nested (None: all); columnar files read nothing else.
    DataError, with file and place, for anything that is not rows in the expected form.
    """
    with _refused(path):
        if kind(path) in _COLUMNAR:
            yield from _columnar(path, None if columns is None else sorted({name.partition(".")[0] for name in columns}))
        else:
            with _opened(path) as f:
                yield from _READERS[kind(path)](path, f)


def count(path: Path) -> int:
    """The number of rows of a file: of a columnar one as it says itself, of any other as they are read. DataError as `rows` raises it."""
    if path.stat().st_size == 0:
        return 0
    with _refused(path):
        if kind(path) == ".parquet":
            return int(pyarrow.parquet.read_metadata(path).num_rows)
        if kind(path) == ".arrow":
            return sum(batch.num_rows for batch in _batches(path, None))
    return sum(1 for _ in rows(path, ()))


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a file of text, plain, gzip or Zstandard, without their ends; each with its place. DataError as `rows` raises it."""
    with _refused(path), _opened(path) as f:
        for number, line in _lines(path, f):
            yield f"line {number}", line.rstrip("\r\n")


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """What libraries raise over a damaged file as one sentence."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        raise DataError(f"{path}: the gzip file is damaged or cut off ({e}); fetch it again") from e
    except pa.ArrowException as e:
        raise DataError(f"{path}: the file is damaged or cut off ({_first_line(e)}); fetch it again") from e
    except UnicodeDecodeError as e:
        raise DataError(f"{path}: a column is not valid UTF-8 ({e.reason} at byte {e.start} of a text); convert the file") from e
    except OSError as e:
        # pyarrow's own errors of reading are OSErrors without a number
        why = e.strerror if e.errno else f"the file is damaged or cut off ({_first_line(e)}); fetch it again"
        raise DataError(f"{path}: {'cannot be read: ' if e.errno else ''}{why}") from e


def text(path: Path, place: str, row: Row, field: str) -> str | None:
    """The text of a row; None for a null. DataError where there is no such column, or no text in it."""
    if field not in row:
        near = get_close_matches(field, row, 1)
        raise DataError(f"{path}, {place}: there is no field {field!r}{f'; nearest: {near[0]}' if near else ''}; {_named(row)}")
    value = row[field]
    if value is not None and not isinstance(value, str):
        raise DataError(f"{path}, {place}: the field {field!r} is not text; {_named(row)}")
    if value and not value.isascii() and re.search("[\ud800-\udfff]", value):
        raise DataError(f"{path}, {place}: the text holds half of a surrogate pair, which is no character; repair or remove the row")
    return value


def _named(row: Row) -> str:
    return f"the row has: {', '.join(row)}; name the right one in text_field:"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].strip()


def _opened(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return cast("IO[bytes]", gzip.open(path))
    if path.suffix.lower() == ".zst":
        return io.BufferedReader(pa.input_stream(str(path), compression="zstd"), _CHUNK)
    return path.open("rb")


def _lines(path: Path, f: IO[bytes]) -> Iterator[tuple[int, str]]:
    """Numbered lines of UTF-8, with their ends; a byte order mark is dropped."""
    number = 0
    while line := f.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            raise DataError(f"{path}, line {number}: longer than {LONGEST >> 20} MiB; is this really one document a line?")
        if b"\0" in line:
            raise DataError(f"{path}, line {number}: there are NUL bytes in it, as in UTF-16 and damaged files; convert the file to UTF-8")
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as e:
            raise DataError(f"{path}, line {number}: not valid UTF-8 ({e.reason} at byte {e.start}); convert the file to UTF-8") from e


def _documents(path: Path, f: IO[bytes]) -> Iterator[tuple[str, Row]]:
    """A text file is one document, or as many as its separators part."""
    parts: list[str] = []
    size = begin = 0
    for number, line in _lines(path, f):
        first, *others = line.split(SEPARATOR)
        parts.append(first)
        size += len(first)
        if size > LONGEST:
            raise DataError(f"{path}, line {number}: the document is longer than {LONGEST >> 20} MiB; part documents by {SEPARATOR}")
        for other in others:
            yield f"line {begin + 1}", {"text": "".join(parts)}
            parts, size, begin = [other], len(other), number - 1
    if "".join(parts).strip():
        yield f"line {begin + 1}", {"text": "".join(parts)}


def _objects(path: Path, f: IO[bytes]) -> Iterator[tuple[str, Row]]:
    """One JSON object a line."""
    for number, line in _lines(path, f):
        if line.strip():
            try:
                row = _loaded(line)
            except (json.JSONDecodeError, RecursionError) as e:
                why = e.msg if isinstance(e, json.JSONDecodeError) else "nested too deeply"
                raise DataError(f"{path}, line {number}: not JSON ({why}); every line must be one JSON object") from e
            yield f"line {number}", _object(path, f"line {number}", row)


def _decoded(text: str, at: int) -> tuple[Any, int]:
    """The JSON value that begins at `at`, and where it ends."""
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer of more digits than Python converts
        return json.JSONDecoder(parse_int=_integer).raw_decode(text, at)


def _loaded(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return json.loads(line, parse_int=_integer)


def _integer(digits: str) -> int | float:
    """One too long to be converted is infinite, which to `where` is unknown: a row is not lost for a number in another column."""
    return int(digits) if len(digits) <= _MOST_DIGITS else math.inf


def _object(path: Path, place: str, row: Any) -> Row:
    if not isinstance(row, dict):
        raise DataError(f'{path}, {place}: the row is not a JSON object; write {{"text": ...}} rows')
    return row


def _json(path: Path, f: IO[bytes]) -> Iterator[tuple[str, Row]]:
    """A .json file is one array of objects, or one object a line."""
    is_array = cast(io.BufferedReader, f).peek(_CHUNK).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
    yield from _array(path, f) if is_array else _objects(path, f)


def _array(path: Path, f: IO[bytes]) -> Iterator[tuple[str, Row]]:
    """The entries of an array, read as they come: the array need not fit into memory. Commas between them are not checked."""
    text, place = io.TextIOWrapper(f, "utf-8-sig"), "entry 1"
    buffer, at, line, count, opened = "", 0, 1, 0, False
    try:
        while True:
            at = cast("re.Match[str]", _BETWEEN.match(buffer, at)).end()
            why = "the array does not end"
            if at < len(buffer) and not opened:
                at, opened = at + 1, True
                continue
            if buffer.startswith("]", at):
                if (buffer[at + 1 :] + text.read(_CHUNK)).strip():
                    raise DataError(f"{path}: there is text after the end of the array; write one array, or one object a line")
                return
            if at < len(buffer):
                try:
                    row, end = _decoded(buffer, at)
                    count, place = count + 1, f"entry {count + 2}"
                    yield f"entry {count}", _object(path, f"entry {count}", row)
                    at = end
                    continue
                except json.JSONDecodeError as e:  # wrong, or not yet all there
                    why, wrong = e.msg, line + buffer.count("\n", 0, e.pos)
            more = text.read(max(_CHUNK, len(buffer) - at)) if len(buffer) - at <= LONGEST else ""
            if not more:
                raise DataError(f"{path}, line {wrong if at < len(buffer) else line + buffer.count(chr(10))}: not JSON ({why})")
            line += buffer.count("\n", 0, at)
            buffer, at = buffer[at:] + more, 0
    except UnicodeDecodeError as e:
        raise DataError(f"{path}, {place}: not valid UTF-8 ({e.reason}); convert the file to UTF-8") from e
    except RecursionError as e:
        raise DataError(f"{path}, {place}: not JSON (nested too deeply)") from e
    finally:
        text.detach()


def _table(path: Path, f: IO[bytes]) -> Iterator[tuple[str, Row]]:
    """A CSV file with a line of names. A number in it is a number to `where`."""
    csv.field_size_limit(LONGEST)
    place = "line 1"
    reader = csv.reader((line for _, line in _lines(path, f)), strict=True)
    try:
        header = next(reader, [])
        place = f"line {reader.line_num + 1}"
        for row in reader:
            if len(row) != len(header) and row:
                raise DataError(f"{path}, {place}: {len(row)} columns, and the first line names {len(header)}")
            if row:
                yield place, dict(zip(header, row, strict=True))
            place = f"line {reader.line_num + 1}"
    except csv.Error as e:
        raise DataError(f"{path}, {place}: not CSV ({e})") from e


def _columnar(path: Path, columns: list[str] | None) -> Iterator[tuple[str, Row]]:
    """Parquet, or Arrow's file or stream format, a few rows at a time."""
    count = 0
    for batch in _batches(path, columns):
        for start in range(0, batch.num_rows, _BATCH_ROWS):
            for row in batch.slice(start, _BATCH_ROWS).to_pylist():
                count += 1
                yield f"row {count}", row


def _batches(path: Path, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    if kind(path) == ".parquet":
        # without a buffer all of a row group's column is read at once, which may be all of the file
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=_CHUNK) as file:
            yield from file.iter_batches(_BATCH_ROWS, columns=None if columns is None else _present(columns, file.schema_arrow))
        return
    with pa.memory_map(str(path)) as mapped:
        if mapped.read(6) == b"ARROW1":
            opened = pyarrow.ipc.open_file(mapped)
            batches: Iterator[pa.RecordBatch] = map(opened.get_batch, range(opened.num_record_batches))
        else:
            mapped.seek(0)
            opened = pyarrow.ipc.open_stream(mapped)
            batches = iter(opened)
        wanted = None if columns is None else _present(columns, opened.schema)
        for batch in batches:
            batch.validate(full=True)  # offsets that a damaged file may hold would be followed out of bounds
            yield batch if wanted is None else batch.select(wanted)


def _present(columns: list[str], schema: pa.Schema) -> list[str] | None:
    """The columns to read; all, so that they can be named, where one of them is not there."""
    return columns if set(columns) <= set(schema.names) else None


_DECODER = json.JSONDecoder()
_BETWEEN = re.compile(r"[\s,]*")
_READERS: dict[str, Callable[[Path, IO[bytes]], Iterator[tuple[str, Row]]]] = {
    ".jsonl": _objects,
    ".json": _json,
    ".txt": _documents,
    ".csv": _table,
}
