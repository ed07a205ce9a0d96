"""Runs Python programs that a model wrote, each in a process that can do no harm; where no such process can be had, none is run.

confined.py is what runs in the process and says what it gives up; this file starts it, watches it and ends it.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from ablate.errors import StudyError, UsageError
from ablate.evals import confined

LOOK_SECONDS = 0.05
"""How often the folder of a running program is measured."""


@dataclass(frozen=True)
class Limits:
    """What a program may use. What it may do is confined.py's to say."""

    cpu_seconds: int = 5
    wall_seconds: float = 30.0
    memory_bytes: int = 2**30
    """Of address space."""
    file_bytes: int = 2**20
    """In one file."""
    folder_bytes: int = 2**24
    """In all files of its folder; it is ended within LOOK_SECONDS of writing more."""
    folder_files: int = 1000
    descriptors: int = 64


@dataclass(frozen=True)
class Verdict:
    """How a program ended."""

    passed: bool
    """It ran to its end, and no exception left it."""
    why: str
    """"passed", the exception, or the limit that stopped it."""
    stopped: bool
    """It went over a limit or crashed: it did not come to its end or to an exception."""


def run(programs: Sequence[str], limits: Limits | None = None) -> list[Verdict]:
    """The verdict on each program, as many at once as this process may have threads (OMP_NUM_THREADS, else one a core).

    UsageError where they cannot be confined: then none is run."""
    if sys.platform != "linux":
        raise _refusal("this is no Linux")
    with ThreadPoolExecutor(int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))) as pool:
        return list(pool.map(partial(_run, limits=limits or Limits()), programs))


def check(allowed: bool, task: str, here: bool = True) -> None:
    """StudyError where a study does not allow what `task` needs, UsageError where programs cannot be confined on this machine, if it is
    to run `here`."""
    if not allowed:
        raise StudyError(
            f"evaluate.benchmarks: {task} runs what the model writes; allow that with evaluate.allow_code_execution: true "
            "(it runs in a sandbox without a network), or leave the task out"
        )
    if here:
        run([""])


def _refusal(why: str) -> UsageError:
    return UsageError(
        f"generated code is not executed here, for it could not be kept from the network and from your files ({why}); "
        "it takes Linux, seccomp allowed by the kernel and the container, and the library libseccomp.so.2 (package libseccomp2)"
    )


def _run(program: str, limits: Limits) -> Verdict:
    secret = secrets.token_hex()
    with (
        tempfile.TemporaryDirectory(prefix="ablate-program-", ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile() as source,
        tempfile.TemporaryFile() as report,
        tempfile.TemporaryFile() as setting_up,
    ):
        source.write(f"{secret}\n{program}".encode(errors="replace"))
        source.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-s", "-P", "-B", "-X", "utf8", confined.__file__, _settings(folder, limits)],
            stdin=source,
            stdout=report,
            stderr=setting_up,
            cwd=folder,
            env=_environment(folder),
            start_new_session=True,  # without the user's terminal
        )
        try:
            over = _watch(process, Path(folder), limits)
        finally:
            process.kill()  # it cannot have children, so nothing is left of it
            process.wait()
        if (said := _read(setting_up)) != confined.CONFINED:
            raise _refusal(said.strip()[-300:])
        return _verdict(process.returncode, over, _read(report), secret, limits)


def _settings(folder: str, limits: Limits) -> str:
    resources = {
        "RLIMIT_CPU": limits.cpu_seconds,
        "RLIMIT_AS": limits.memory_bytes,
        "RLIMIT_FSIZE": limits.file_bytes,
        "RLIMIT_NOFILE": limits.descriptors,
        "RLIMIT_CORE": 0,
    }
    return json.dumps({"parent": os.getpid(), "folder": folder, "resources": resources})


def _environment(folder: str) -> dict[str, str]:
    """All that a program finds of the environment: the same every time, and nothing of the user's but where shared libraries lie."""
    own = {"HOME": folder, "TMPDIR": folder, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return own | {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}


def _watch(process: subprocess.Popen[bytes], folder: Path, limits: Limits) -> str | None:
    """Wait for its end. → which limit it went over, of those that the kernel does not watch."""
    deadline = time.monotonic() + limits.wall_seconds
    while True:
        try:
            process.wait(LOOK_SECONDS)
            return None
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                return f"ran longer than {limits.wall_seconds:g} s"
            if _overfull(folder, limits):
                return f"wrote more than {limits.folder_bytes} bytes or {limits.folder_files} files"


def _overfull(folder: Path, limits: Limits) -> bool:
    files = total = 0
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # gone by now
                continue
            files += 1
            if total > limits.folder_bytes or files > limits.folder_files:
                return True
    return False


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(4096).decode(errors="replace")


def _verdict(status: int, over: str | None, report: str, secret: str, limits: Limits) -> Verdict:
    said, _, why = report.partition("\n")
    if over is None and said == secret:
        return Verdict(why == confined.PASSED, why, stopped=False)
    if status == -signal.SIGXCPU:
        over = f"used more than {limits.cpu_seconds} s of processor time"
    ended = f"ended by {signal.Signals(-status).name}" if status < 0 else "ended itself before its tests were over"
    return Verdict(False, over or ended, stopped=True)
