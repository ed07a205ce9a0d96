"""Which files a pattern means, and the hash of what is in them."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from contextlib import suppress
from functools import cache
from pathlib import Path

from ablate.errors import DataError
from ablate.workspace import renamed_into_place

KEPT_FROM_BYTES = 64_000_000
"""The hash of a file of this size is kept in the cache folder, so that not every process reads the file for it."""
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_POINTER, _POINTER_BYTES = b"version https://git-lfs.github.com/spec/v1", 1024
"""How a Git LFS pointer begins; by its specification it is shorter than this."""


def matching(key: str, pattern: str) -> list[Path]:
    """The files that `pattern` matches, in the order of their names; ** goes into folders, $VARIABLES and ~ are replaced.

    DataError, naming the study's `key`, where there is none, or a link or a Git LFS pointer to one that is not there.
    """
    where = os.path.expanduser(_VARIABLE.sub(lambda m: _variable(m[1] or m[2], key, pattern), pattern))
    # a set: a pattern with ** twice finds a file several times
    found = [where] if os.path.isfile(where) else sorted(set(glob.glob(where, recursive=True)))
    if dangling := [name for name in found if os.path.islink(name) and not os.path.exists(name)]:
        raise DataError(f"{key}: {dangling[0]} is a link to a file that is not there; fetch what it stands for, or narrow the pattern")
    paths = [Path(name) for name in found if os.path.isfile(name)]
    if not paths:
        hint = "it is a folder: write FOLDER/*.jsonl" if os.path.isdir(where) else f"looked for {os.path.abspath(where)}"
        raise DataError(f"{key}: {pattern}: no file matches ({hint})")
    if pointer := next(filter(_is_pointer, paths), None):
        raise DataError(f"{key}: {pointer} is a Git LFS pointer to a file that is not there; run `git lfs pull` in its repository")
    return paths


def _variable(name: str, key: str, pattern: str) -> str:
    if name not in os.environ:
        raise DataError(f"{key}: {pattern}: the environment variable {name} is not set; set it or write the path out")
    return os.environ[name]


def _is_pointer(path: Path) -> bool:
    with suppress(OSError):  # whoever reads the file says what is wrong with it
        return path.stat().st_size < _POINTER_BYTES and path.read_bytes().startswith(_POINTER)
    return False


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes; read again only when its size or one of its times has changed: archives and copies put back the time
    of modification, nobody that of the last change (ctime)."""
    stat = path.stat()
    return _file_hash(path.absolute(), stat.st_size, (stat.st_mtime_ns, stat.st_ctime_ns))


@cache
def _file_hash(path: Path, size: int, times_ns: tuple[int, int]) -> str:
    key = hashlib.sha256(f"{path}\0{size}\0{times_ns}".encode()).hexdigest()
    kept = cache_folder() / "hashes" / key[:2] / key
    if size >= KEPT_FROM_BYTES:
        with suppress(OSError, ValueError, KeyError):
            return str(json.loads(kept.read_text())["sha256"])
    try:
        with path.open("rb") as f:
            found = hashlib.file_digest(f, "sha256").hexdigest()
    except OSError as e:
        raise DataError(f"{path}: cannot be read: {e.strerror}") from e
    if size >= KEPT_FROM_BYTES:
        with suppress(OSError), renamed_into_place(kept) as part:  # without a cache folder it is only slower
            part.write_text(json.dumps({"sha256": found, "path": str(path)}))
    return found


def cache_folder() -> Path:
    """What every study of this user may share: $XDG_CACHE_HOME/ablate, or ~/.cache/ablate."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ablate"
