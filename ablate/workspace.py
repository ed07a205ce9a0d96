"""Where everything made by running lies, and how a file becomes "done": renamed into place.

results.db                 every number (the driver is its only writer)
plots/                     figures, and the table behind each
runs/
    <digest>/              one run: run.json, metrics.jsonl, scores/, answers/, judged/ (replies of a judge), outcome.json, model/
    families/<digest>/     one trunk: its checkpoints and metrics.jsonl, the lock of its worker
    jobs/<id>/             one process: job.json, log.txt, lock, slot
    data/<digest>/         token shards of a source, manifest.json last
    tokenizers/<digest>/   a Hugging Face tokenizer folder
    requests/              tokenised benchmarks, shared by all jobs, a file a benchmark and way of reading it
    compiled/              kernels of torch.compile, shared by all jobs
    latency/               what generating costs, a file a shape and device
    driver.lock            held while `ablate run` lives
baselines/<digest>/        a model from elsewhere: outcome.json, PRECISION/scores/, PRECISION/answers/
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.errors import AblateError, DiskFullError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Workspace:
    """The folders beside one results.db."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "results.db"

    @property
    def plots(self) -> Path:
        return self.root / "plots"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def data(self) -> Path:
        return self.runs / "data"

    @property
    def tokenizers(self) -> Path:
        return self.runs / "tokenizers"

    @property
    def requests(self) -> Path:
        return self.runs / "requests"

    @property
    def compiled(self) -> Path:
        return self.runs / "compiled"

    @property
    def jobs(self) -> Path:
        return self.runs / "jobs"

    @property
    def latency(self) -> Path:
        return self.runs / "latency"

    @property
    def baselines(self) -> Path:
        return self.root / "baselines"

    @property
    def driver_lock(self) -> Path:
        return self.runs / "driver.lock"

    def run(self, digest: str) -> Path:
        return self.runs / digest

    def family(self, digest: str) -> Path:
        return self.runs / "families" / digest

    def job(self, name: str) -> Path:
        return self.jobs / name


def score_file(benchmark: str, register: str, fresh: bool, digest: str | None) -> str:
    """The name of a score's file in scores/ and answers/. Benchmarks of one name may have other items in another study, so the
    digest of the items is in it; not in what was written before it was (None)."""
    return ".".join([benchmark, register, "fresh" if fresh else "public", *([digest[:8]] if digest else []), "json"])


def is_disk_full(error: BaseException) -> bool:
    """Whether a full disk or a spent quota is behind `error`. Libraries in Rust (safetensors, tokenizers) and the
    compiler raise errors of their own that only quote the system's words."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    return any(os.strerror(number) in str(error) for number in _FULL)


def disk_full(what: object) -> DiskFullError:
    """The error for no room while writing `what`."""
    return DiskFullError(f"no room left on the disk while writing {what}; free some space, then run the same command again")


@contextmanager
def room_for(what: object) -> Iterator[None]:
    """Raise DiskFullError where the block finds no room to write `what`."""
    try:
        yield
    except AblateError:
        raise
    except Exception as e:
        if is_disk_full(e):
            raise disk_full(what) from e
        raise


@contextmanager
def renamed_into_place(path: Path) -> Iterator[Path]:
    """A path to write to instead of `path`; it takes the name `path` only if the block succeeds.

    So a reader never sees half a file, and an existing file survives a full disk.
    Raises DiskFullError where the disk has no room.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with room_for(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield part
            with part.open("rb") as f:
                os.fsync(f.fileno())
            part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, renamed into place."""
    with renamed_into_place(path) as part:
        part.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The JSON value in `path`, or None where there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
