"""How long a job takes to its first training step: in a process of its own, with an empty cache of kernels and with a kept one, and
forked from a process that is ready, as `ablate run` does on a CPU.

    python -m benchmarks.start

The process imports what a job imports, builds the default study's model, compiles it (launch.compile) and makes one step, on one thread.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from ablate import forkserver, job, resolve
from ablate.launch.local import environment
from ablate.study.load import load
from ablate.train.engine import Engine

STUDY = Path(__file__).parents[1] / "studies" / "quality_vs_quantity.yaml"
PARAMS, VOCABULARY, AGAIN = 100_000, 1024, 5


def first_step() -> None:
    """In the calling process: as a job does, up to its first step."""
    assert job.main
    study = load(STUDY)
    recipe = next(run.recipe for run in resolve.runs(study) if run.params == PARAMS)
    engine = Engine(recipe, torch.device("cpu"), compile=True)
    engine.prepare()
    sequences = recipe["train"]["batch_tokens"] // recipe["data"]["seq_len"]
    batch = np.random.default_rng(0).integers(VOCABULARY, size=(sequences, recipe["data"]["seq_len"] + 1))
    print(float(engine.step(batch, 1.0)[0]))


def forked() -> None:
    """In the calling process: get ready, and print how long forks of it take."""
    forkserver.get_ready(compile=True)
    for _ in range(AGAIN):
        began = time.perf_counter()
        if not (child := os.fork()):
            first_step()
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            raise RuntimeError("a fork failed")
        print("seconds", time.perf_counter() - began, flush=True)


def child(cache: Path, how: str) -> str:
    command = [sys.executable, "-m", "benchmarks.start", how]
    return subprocess.run(command, check=True, env=environment(1, cache, slot=0, gpus=0), stdout=subprocess.PIPE, text=True).stdout


def seconds(cache: Path) -> float:
    began = time.perf_counter()
    child(cache, "--child")
    return time.perf_counter() - began


def main() -> None:
    if "--child" in sys.argv:
        torch.set_num_threads(1)
        first_step()
        return
    if "--forked" in sys.argv:
        forked()
        return
    os.environ.pop("TORCHINDUCTOR_CACHE_DIR", None)  # kernels that are kept there would make every start a warm one
    with tempfile.TemporaryDirectory() as folder:
        cold = seconds(Path(folder))
        warm = [seconds(Path(folder)) for _ in range(AGAIN)]
        forks = [float(line.split()[1]) for line in child(Path(folder), "--forked").splitlines() if line.startswith("seconds")]
    middle, fork = statistics.median(warm), statistics.median(forks)
    print(f"first step {cold:.1f} s after a cold start, {middle:.1f} s ({min(warm):.1f} to {max(warm):.1f}) with kept kernels,")
    print(f"{fork:.2f} s ({min(forks):.2f} to {max(forks):.2f}) after a fork")
    print(f"start_cold_vs_warm ratio {cold / middle:.2f}")
    print(f"start_warm_vs_forked ratio {middle / fork:.2f}")


if __name__ == "__main__":
    main()
