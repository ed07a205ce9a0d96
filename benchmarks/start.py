"""How long a job takes from the start of its process to its first training step: with an empty cache of kernels, and with a kept one.

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

from ablate import job, resolve
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


def seconds(cache: Path) -> float:
    began = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.start", "--child"]
    subprocess.run(command, check=True, env=environment(1, cache, slot=0, gpus=0), stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    if "--child" in sys.argv:
        torch.set_num_threads(1)
        first_step()
        return
    os.environ.pop("TORCHINDUCTOR_CACHE_DIR", None)  # kernels that are kept there would make every start a warm one
    with tempfile.TemporaryDirectory() as folder:
        cold = seconds(Path(folder))
        warm = [seconds(Path(folder)) for _ in range(AGAIN)]
    middle = statistics.median(warm)
    print(f"first step {cold:.1f} s after a cold start, {middle:.1f} s ({min(warm):.1f} to {max(warm):.1f}) with kept kernels")
    print(f"start_cold_vs_warm ratio {cold / middle:.2f}")


if __name__ == "__main__":
    main()
