"""Minimal pairs from files in BLiMP's format (Warstadt et al. 2020): one JSON object a line with sentence_good and sentence_bad."""

from __future__ import annotations

import glob
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ablate.errors import DataError
from ablate.evals.items import Item

CHANCE = 0.5


def load(pattern: str) -> list[Item]:
    """All pairs of the files that match `pattern` ($VARIABLES and ~ are replaced), by file name and line.

    DataError, with file and line, for anything that cannot be read.
    """
    found = glob.glob(os.path.expanduser(os.path.expandvars(pattern)), recursive=True)
    paths = sorted(Path(name) for name in found if os.path.isfile(name))
    if not paths:
        raise DataError(f"blimp: {pattern}: no file matches (looked in {os.getcwd()})")
    return [_item(path, number, line) for path in paths for number, line in _lines(path)]


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error) as e:
        raise DataError(f"{path}: cannot be read after line {number} ({e}); fetch the file again") from e


def _item(path: Path, number: int, line: bytes) -> Item:
    try:
        return _pair(json.loads(line), path.name)
    except (ValueError, RecursionError) as e:
        raise DataError(
            f"{path}, line {number}: {e}; every line must be a JSON object with sentence_good and sentence_bad, two different sentences"
        ) from e


def _pair(row: Any, file: str) -> Item:
    """The item of one row; ValueError where it has no two sentences.

    Its template is its paradigm (UID), else its linguistics_term, else the file's name. Which sentence comes first
    follows from a hash of the pair: the same on every machine, and each comes first in about half of the items.
    """
    if not isinstance(row, dict):
        raise ValueError("not an object")
    good, bad = row.get("sentence_good"), row.get("sentence_bad")
    if not (isinstance(good, str) and isinstance(bad, str) and good and bad and good != bad):
        raise ValueError("a sentence is missing or the two are the same")
    answer = hashlib.sha256(f"{good}\n{bad}".encode()).digest()[0] & 1
    template = row.get("UID") or row.get("linguistics_term") or file
    return Item(context="", choices=(bad, good) if answer else (good, bad), answer=answer, template=str(template))
