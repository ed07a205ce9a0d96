"""Where text comes from: the embedded corpora, or files. One document after another, never a whole corpus in memory.

Text from files is cleaned as `hygiene:` says (data/hygiene.py), and about one document in 50 is held out, with its near-duplicates.
The embedded corpora are taken as they are generated, unless `hygiene:` is written: their duplicates are a measured kind of noise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ablate.data import chat, files, hub, hygiene, neutral, readers, ready, textbook, web, world
from ablate.errors import DataError, StudyError
from ablate.study import where
from ablate.study.grid import digest as digest_of
from ablate.study.spec import Hygiene, Source
from ablate.study.split import parse_split

HELD_OUT = -1
"""The stream of documents that no run trains on."""
TOKENIZER = -2
"""The stream that a tokenizer is trained on."""

SEPARATOR = readers.SEPARATOR
HELD_OUT_EVERY = 50
FEWEST_TO_HOLD_OUT = 10
"""Where chance held no document out, one is taken all the same from a source of at least this many."""
_NUMBER = re.compile(r"[+-]?[0-9]{1,300}(\.[0-9]{1,300})?([eE][+-]?[0-9]{1,2})?")


def is_finite(source: Source) -> bool:
    """Whether the source ends: the embedded corpora alone do not."""
    return source.builtin is None


def digest(source: Source) -> str:
    """What the source's text depends on, as 16 hex digits: for files their content, wherever they lie."""
    if source.builtin is not None:
        noise = source.noise.model_dump() if source.builtin == "web" else None
        parts: dict[str, Any] = {"builtin": source.builtin, "seed": source.seed, "noise": noise, "world": world.WORLD_VERSION}
    elif source.tokens is not None:
        hashes = [[path.suffix, files.file_hash(path)] for path in ready.paths(source)]
        parts = {"tokens": hashes, "dtype": source.dtype, "end_of_text": source.end_of_text}
    else:
        kept = {"where": _condition(source).text} if source.where else {}
        if source.messages_field is not None:
            kept |= {"messages_field": source.messages_field, "chat": digest_of(chat.identity(source.chat_template))}
        parts = {**_content(source), "text_field": source.text_field, "reader": 3, "held_out_every": HELD_OUT_EVERY, **kept}
    rules = source.hygiene or _unasked(source)
    if rules is not None:
        parts["hygiene"] = [rules.model_dump(mode="json"), hygiene.VERSION]
    return digest_of(parts)


def shares_text(source: Source, other: Source) -> bool:
    """Whether both read one file, or one row of a data set's split. Two conditions (`where`) may part it; the embedded corpora hold out
    streams of their own. A data set without `config:` may be any of its configs: the hub says which."""
    if source.where and other.where and source.where != other.where:
        return False
    if source.hf is not None and source.hf == other.hf:
        configs = {source.config, other.config}
        may_be_one = (len(configs) == 1 or None in configs) and _commit(source) == _commit(other)
        return may_be_one and parse_split(source.split).overlaps(parse_split(other.split))
    return bool(_texts(source) & _texts(other))


def _texts(source: Source) -> set[str]:
    return {files.file_hash(path) for path in paths(source)} if source.files is not None else set()


def _content(source: Source) -> dict[str, Any]:
    if source.hf is None:
        return {"files": [[readers.kind(path), files.file_hash(path)] for path in paths(source)]}
    return {"hf": source.hf, "config": source.config, "commit": _commit(source), "split": source.split}


def _commit(source: Source) -> str:
    return hub.commit("dataset", source.hf or "", source.revision)


def _unasked(source: Source) -> Hygiene | None:
    """What is done to a source without `hygiene:`: nothing to generated text, nor to tokens."""
    return Hygiene() if is_finite(source) and source.tokens is None else None


def documents(source: Source, stream: int, tally: hygiene.Tally | None = None) -> Iterator[str]:
    """The documents of one stream, in their order.

    Embedded corpora: stream n >= 0 is what a run with seed n reads, HELD_OUT and TOKENIZER are streams of their own; all
    are endless. Files: HELD_OUT gives the documents held out, any other stream all the others, in the order of the files.
    `tally` counts, as they pass, what is kept and what is dropped and why.
    """
    tally = hygiene.Tally() if tally is None else tally
    if source.tokens is not None:
        raise DataError(f"{source.name}: ready tokens have no text")
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
        yield from texts
    elif source.hygiene.dedup == "near":
        yield from (kept.text for kept in hygiene.clean(texts, source.hygiene, lambda key: False, tally))
    else:
        for text, _ in hygiene.distinct(texts, source.hygiene, tally):
            tally.keep()
            yield text


def measured(source: Source, trained_on: bool) -> Iterator[str]:
    """The documents on which bits per byte are measured: the held-out ones, or all of the files of a source that no run
    trains on. Empty for a trained-on source of so few documents that none is held out, or none but near-duplicates of earlier ones,
    and for one of ready tokens."""
    if source.tokens is not None:
        return iter(())
    if is_finite(source) and not trained_on:
        return (text for text, _ in _distinct(source, hygiene.Tally()))
    return documents(source, HELD_OUT)


def _file_documents(source: Source, held_out: bool, tally: hygiene.Tally) -> Iterator[str]:
    nothing = True
    for document in hygiene.clean(read(source, tally), source.hygiene or Hygiene(), _split(source, digest(source)), tally):
        if document.held_out == held_out:
            nothing = False
            yield document.text
    if nothing and not held_out:
        counts = "".join(f", {count} {reason}" for reason, count in tally.dropped.items())
        unknown = "; unknown: a column that `where` names is null or missing in the row" if "unknown" in tally.dropped else ""
        raise DataError(f"{source.name}: no document to train on was found ({tally.read} read{counts}, {tally.held_out} held out){unknown}")


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
    return hygiene.distinct(read(source, tally), source.hygiene or Hygiene(), tally)


def read(source: Source, tally: hygiene.Tally) -> Iterator[str]:
    """The texts of a finite source as they lie in its files, in their order: the only place where they are read.

    `tally` counts what is left out: files of no bytes ("empty_file"), rows that `where` drops ("filtered"; "unknown" where a
    column of the condition is null or missing), rows whose text is null ("empty"). A row that `where` drops needs no text.
    """
    condition = _condition(source) if source.where else None
    columns = {source.messages_field or source.text_field, *(condition.names if condition else ())}
    for part in map(readers.Part, paths(source)) if source.hf is None else hub.parts(source):
        path = part.path
        if path.stat().st_size == 0:
            tally.leave_out("empty_file", path.name)
            continue
        field = "text" if readers.kind(path) == ".txt" else source.text_field
        for place, row in part.rows(columns):
            if condition and (why := _left_out(condition, path, place, row)):
                tally.leave_out(why, str(row.get(source.messages_field or field) or ""))
                continue
            if source.messages_field is None:
                text = readers.text(path, place, row, field)
            else:
                text = chat.text(path, place, row, source.messages_field, source.chat_template)
            if text is None:
                tally.leave_out("empty", "")
            else:
                yield text


@lru_cache(maxsize=64)
def _condition(source: Source) -> where.Where:
    try:
        return where.parse(source.where or "", None)
    except StudyError as e:
        raise DataError(f"{source.name}: {e}") from None


def _left_out(condition: where.Where, path: Path, place: str, row: Mapping[str, Any]) -> str | None:
    """Why a row is dropped; None for one that is kept."""
    values = {name: _value(row, name, readers.kind(path) == ".csv") for name in condition.names}
    if None in values.values():
        return "unknown"
    try:
        return None if condition.holds(values) else "filtered"
    except StudyError as e:
        raise DataError(f"{path}, {place}: {e}") from None


def _value(row: Any, name: str, is_text: bool) -> Any:
    """The column `a`, or `a.b` in an object (or of that name); None where there is none, or no finite one. is_text: numbers are
    written as text (CSV)."""
    for key in [name] if name in row else name.split("."):
        row = row.get(key) if isinstance(row, Mapping) else None
    if is_text and isinstance(row, str) and _NUMBER.fullmatch(row):
        row = float(row) if set(row) & set(".eE") else int(row)
    return None if isinstance(row, float) and not math.isfinite(row) else row


def paths(source: Source) -> list[Path]:
    """The files of a files: source, every one of a kind that is read."""
    found = files.matching("files", source.files or "")
    for path in found:
        if not readers.is_read(path):
            raise DataError(
                f"files: {path} is not of a kind that is read: .jsonl, .json, .txt, .csv (plain, .gz or .zst), .parquet or .arrow; "
                "narrow the pattern"
            )
    return found
