"""benchmarks/gpu.py walked through end to end on a CPU: every section gives its rows, and one that fails costs only its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


def _gpu(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.gpu", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_every_section_runs_on_tiny_sizes() -> None:
    done = _gpu("--device", "cpu", "--tiny", "--verbose")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("train 17M", "train 1.3B", "checkpoint restored", "torch fused", "loss chunks", "attention FLASH", "decode 1.3B"):
        assert name in done.stdout
    assert all(len(line.split(" ratio ")) == 2 for line in done.stdout.split("failed\n\n")[1].splitlines())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU, and what is tested is a machine without")
def test_a_section_that_fails_costs_only_its_own_rows() -> None:
    done = _gpu("--tiny", "--only", "equivalence", "packing")
    assert done.returncode == 1
    assert "2 failed" in done.stdout
    for name in ("equivalence", "packing"):
        assert any(line.startswith(name) and "failed: " in line for line in done.stdout.splitlines())
