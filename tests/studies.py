"""Studies small enough for tests, and the real command on them."""

from __future__ import annotations

import glob
import io
import os
import sqlite3
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pytest

from ablate.cli import main

TINY = """
name: tiny
grid:
  params: [50k]
  tokens: [60k, 120k]
  synthetic_ratio: [0, 1]
seeds: [0]
data:
  synthetic: builtin:textbook
  web: builtin:web
  tokenizer: {train_bpe: 512}
  seq_len: 64
train: {lr: 0.004, batch_tokens: 512, warmup_steps: 10}
evaluate: {benchmarks: [builtin:grammar, builtin:which_kind]}
launch: {compile: false, checkpoint_every: 0.3s, slots: 2}
"""


def write(folder: Path, text: str = TINY) -> Path:
    """The study file in `folder`."""
    path = folder / "tiny.yaml"
    path.write_text(text)
    return path


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """`ablate ARGUMENTS` as its own process."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, "-m", "ablate", *arguments], cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def ablate(*arguments: str, cwd: Path, status: int = 0) -> str:
    """What `ablate ARGUMENTS` prints; it must end with `status` and, whatever happens, without a traceback."""
    process = start(*arguments, cwd=cwd)
    out, err = process.communicate(timeout=600)
    assert process.returncode == status, f"exit {process.returncode}\n{out}\n{err}"
    assert "Traceback" not in err
    return out + err


def typed(*arguments: str, cwd: Path, status: int = 0) -> str:
    """The same in this process, for where one of its own proves nothing more: each spends seconds on imports."""
    said, before = io.StringIO(), sys.argv
    sys.argv = ["ablate", *arguments]
    try:
        with chdir(cwd), redirect_stdout(said), redirect_stderr(said), pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    assert ended.value.code == status, f"exit {ended.value.code}\n{said.getvalue()}"
    return said.getvalue()


def written(folder: Path, pattern: str) -> dict[Path, os.stat_result]:
    """The files and folders of `folder` that match, while another process writes, renames and removes there: what vanishes meanwhile is
    left out, where Path.glob and Path.stat would raise."""
    found = {}
    for name in glob.iglob(pattern, root_dir=folder, recursive=True):
        with suppress(FileNotFoundError):
            found[folder / name] = (folder / name).stat()
    return found


def numbers(folder: Path) -> list[tuple[Any, ...]]:
    """Every number of the results that must not depend on what happened on the way."""
    db = sqlite3.connect(f"file:{folder / 'results.db'}?mode=ro", uri=True)
    try:
        runs = db.execute("select run, status, final_loss, bits_per_byte, mean_score, train_flops from results order by run").fetchall()
        scores = db.execute("select run, benchmark, register, score, mean_logprob from scores order by 1, 2, 3").fetchall()
        return runs + scores
    finally:
        db.close()
