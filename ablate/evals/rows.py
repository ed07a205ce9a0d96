"""Rows of a published benchmark, out of local files in their published format or from the Hugging Face hub."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ablate.data import files, hub, readers
from ablate.errors import DataError
from ablate.evals import published
from ablate.evals.catalogue import TABLE, Entry, Hub
from ablate.study import spec

_LABELS = "-labels.lst"
"""Rows in NAME.jsonl may have their labels in NAME-labels.lst beside it, a line each."""


@dataclass(frozen=True)
class Placed:
    """A row, and where it stands."""

    row: Mapping[str, Any]
    place: str
    """`FILE, line 7`, as a sentence about it begins."""


def sources(asked: spec.Benchmark, entry: Entry) -> list[spec.Source]:
    """What a benchmark needs of the hub: its items, unless they come from files, and its examples, if it wants some.

    DataError where the hub does not have them.
    """
    shots = entry.shots if asked.shots is None else asked.shots
    found = [] if asked.files or entry.beside else _hub(entry).sources(_hub(entry).split)
    if shots and not asked.files and not asked.shots_from:
        found += _hub(entry).sources(_examples_split(entry))
    return found


def items(asked: spec.Benchmark, entry: Entry) -> list[Placed]:
    """The rows of the items, all of them."""
    return [placed for placed in _all(asked, entry) if _belongs(placed, entry, "items")]


def examples(asked: spec.Benchmark, entry: Entry, shots: int) -> dict[Any, list[Placed]]:
    """The first `shots` rows of the few-shot split, for each value of `examples_by` (None where there is no such column).

    DataError where there are fewer.
    """
    pools: dict[Any, list[Placed]] = {}
    for placed in _example_rows(asked, entry):
        pool = pools.setdefault(placed.row.get(entry.examples_by) if entry.examples_by else None, [])
        if len(pool) < shots:
            pool.append(placed)
        elif not entry.examples_by:
            break
    few = {key: len(pool) for key, pool in pools.items() if len(pool) < shots} if pools else {None: 0}
    if few:
        key, count = next(iter(few.items()))
        whose = f" for {entry.examples_by} {key}" if key is not None else ""
        raise DataError(
            f"{entry.name}: {shots} solved examples are asked for and {count} are there{whose}; "
            "name their files in shots_from:, or lower shots:"
        )
    return pools


def _example_rows(asked: spec.Benchmark, entry: Entry) -> Iterator[Placed]:
    if asked.shots_from:
        found = _of_files("evaluate.benchmarks.shots_from", asked.shots_from, entry)
    elif asked.files:
        found = iter(_all(asked, entry)) if entry.splits else iter(())
    else:
        found = _of_hub(_hub(entry).sources(_examples_split(entry)), entry)
    return (placed for placed in found if _belongs(placed, entry, "examples"))


def _all(asked: spec.Benchmark, entry: Entry) -> Iterator[Placed]:
    if asked.files:
        return _of_files("evaluate.benchmarks.files", asked.files, entry)
    if entry.beside:
        return _of_files(entry.name, str(TABLE.with_name(entry.beside)), entry)
    return _of_hub(_hub(entry).sources(_hub(entry).split), entry)


def _hub(entry: Entry) -> Hub:
    if entry.hub is None:
        raise DataError(f"{entry.name} is not on the hub; name its files in files: (docs/benchmarks.md says where they are published)")
    return entry.hub


def _examples_split(entry: Entry) -> str:
    split = _hub(entry).examples
    if split is None:
        raise DataError(f"{entry.name} has no few-shot split on the hub; name the files of its examples in shots_from:, or write shots: 0")
    return split


def _belongs(placed: Placed, entry: Entry, part: str) -> bool:
    """Whether a row of a file with several splits belongs to one of them; a row that does not say so does."""
    if entry.splits is None or entry.splits.column not in placed.row:
        return True
    value, wanted = placed.row[entry.splits.column], getattr(entry.splits, part)
    return bool(wanted[0] <= value <= wanted[1] if isinstance(wanted, tuple) else value == wanted)


def _of_hub(wanted: Iterable[spec.Source], entry: Entry) -> Iterator[Placed]:
    for source in wanted:
        for part in hub.parts(source):
            yield from _prepared(entry, part.path, part.rows(None))


def _of_files(key: str, pattern: str, entry: Entry) -> Iterator[Placed]:
    paths = [path for path in files.matching(key, pattern) if not path.name.removesuffix(".gz").endswith(_LABELS)]
    some = False
    for path in paths:
        for placed in _prepared(entry, path, _rows(entry, path)):
            some = True
            yield placed
    if not some:
        raise DataError(f"{key}: {pattern}: the files hold no rows of {entry.name}")


def _rows(entry: Entry, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if entry.lines and readers.kind(path) == ".txt":
        return _written_out(path, entry.lines)
    if entry.header and readers.kind(path) == ".csv":
        return _without_header(path, entry.header)
    if not readers.is_read(path):
        raise DataError(f"{path}: not of a kind that is read (.jsonl, .json, .csv, .txt, plain, .gz or .zst; .parquet, .arrow)")
    return _labelled(path, readers.rows(path, None))


def _prepared(entry: Entry, path: Path, found: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[Placed]:
    """The rows as catalogue.yaml's forms read them."""
    for place, raw in found:
        where = f"{path}, {place}"
        with told(where):
            row = raw
            if entry.examples_column and entry.examples_column in raw:
                if not str(raw.get("", "")).startswith("sample") or not raw[entry.examples_column]:
                    continue
                row = published.literal(raw[entry.examples_column])
            made = list(published.prepared(entry.prepare, row, path.name))
        yield from (Placed(row, where) for row in made)


@contextmanager
def told(where: str) -> Iterator[None]:
    """Whatever is wrong with a row as one sentence, with its place."""
    try:
        yield
    except KeyError as e:
        raise DataError(f"{where}: there is no column {e}") from e
    except (ValueError, IndexError, TypeError, AttributeError, SyntaxError, RecursionError) as e:
        why = " ".join(str(e).split())[:200]
        raise DataError(f"{where}: the row is not one of this benchmark ({why})") from e


def _labelled(path: Path, found: Iterator[tuple[str, Mapping[str, Any]]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Rows with the column `label` of the file of labels beside theirs, if there is one."""
    stem = path.name.removesuffix(".gz").removesuffix(".jsonl")
    beside = next((file for end in ("", ".gz") if (file := path.with_name(stem + _LABELS + end)).is_file()), None)
    if beside is None:
        yield from found
        return
    labels = [line.strip() for _, line in readers.lines(beside) if line.strip()]
    count = 0
    for place, row in found:
        if count < len(labels):
            yield place, {**row, "label": labels[count]}
        count += 1
    if count != len(labels):
        raise DataError(f"{path}: {count} rows, and {beside.name} beside it has {len(labels)} labels")


def _written_out(path: Path, names: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A text file whose items have one line a column; lines of one name are a list."""
    lines = readers.lines(path)
    while group := list(islice(lines, len(names))):
        if len(group) < len(names):
            raise DataError(f"{path}, {group[0][0]}: an item has {len(names)} lines, and here are {len(group)}; the file is cut off")
        row: dict[str, Any] = {name: [] for name in names if names.count(name) > 1}
        for name, (_, line) in zip(names, group, strict=True):
            if name in row:
                row[name].append(line)
            else:
                row[name] = line
        yield group[0][0], row


def _without_header(path: Path, names: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A table that has no line of names."""
    reader = csv.reader((f"{line}\n" for _, line in readers.lines(path)), strict=True)
    place = "line 1"
    try:
        for row in reader:
            if len(row) != len(names):
                raise DataError(f"{path}, {place}: {len(row)} columns, and there should be {len(names)} ({', '.join(names)})")
            yield place, dict(zip(names, row, strict=True))
            place = f"line {reader.line_num + 1}"
    except csv.Error as e:
        raise DataError(f"{path}, {place}: not CSV ({e})") from e
