"""Memory really runs out: a process of its own, given less address space than a whole step needs."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ablate.errors import RunError
from ablate.train.engine import Engine
from ablate.train.oom import is_out_of_memory
from tests.train.family import recipe

SEQ_LEN, SEQUENCES, STEPS = 512, 16, 3
ROOM = 80_000_000
"""Bytes beyond what the process has: a pass over all sequences takes about 200 MB, one over a single sequence about 20."""


def large() -> dict[str, Any]:
    """Of few parameters and many activations."""
    whole = recipe(batch_tokens=SEQ_LEN * SEQUENCES)
    return {**whole, "data": {"seq_len": SEQ_LEN}, "model": {**whole["model"], "max_position_embeddings": SEQ_LEN}}


@contextmanager
def limited(room: int | None) -> Iterator[None]:
    """The process may take `room` bytes more than it has."""
    unlimited = resource.getrlimit(resource.RLIMIT_AS)
    if room is not None:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + room, unlimited[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, unlimited)


def train(room: int | None) -> dict[str, Any]:
    """Some steps in a process that may take `room` bytes more than it has; what came of it."""
    engine = Engine(large(), torch.device("cpu"), compile=False)
    rng = np.random.default_rng(0)
    batches = [rng.integers(0, 96, (SEQUENCES, SEQ_LEN + 1)) for _ in range(STEPS)]
    try:
        with limited(room):
            losses = [[float(x) for x in engine.step(batch, 1.0)] for batch in batches]
    except RunError as e:
        return {"error": str(e)}
    weights = [float(p.detach().norm()) for p in engine.model.parameters()]
    return {"losses": losses, "weights": weights, "micro_batch": engine.micro_batch, "halvings": engine.oom_halvings}


CHILD = """
import json, torch
from tests.train.test_oom import ROOM, train
torch.set_num_threads(1)
print(json.dumps([train(room) for room in (0, ROOM)]))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the size of the address space is read as Linux gives it")
def test_a_step_that_does_not_fit_is_made_in_smaller_passes() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    nothing, pieces = json.loads(done.stdout)
    whole = train(None)
    assert whole["micro_batch"] == SEQUENCES and whole["halvings"] == 0
    assert pieces["micro_batch"] < SEQUENCES and SEQUENCES % pieces["micro_batch"] == 0
    assert pieces["halvings"] >= 1 and f"going on with {pieces['micro_batch']} of the 16 sequences" in done.stderr
    assert np.allclose(pieces["losses"], whole["losses"], rtol=1e-5, atol=0)
    assert np.allclose(pieces["weights"], whole["weights"], rtol=1e-5, atol=0)
    assert "out of memory with one sequence of 512 tokens a pass" in nothing["error"] and "lower data.seq_len" in nothing["error"]


def compiled_pass_fails(vocabulary: int, room: int) -> list[tuple[str, bool]]:
    """What a compiled pass raises, and whether that is taken for a lack of memory: with ever more room until it fits, and of a token
    outside the vocabulary."""
    whole = large()
    engine = Engine({**whole, "model": {**whole["model"], "vocab_size": vocabulary}}, torch.device("cpu"), compile=True)
    tokens = torch.zeros(SEQUENCES, SEQ_LEN + 1, dtype=torch.int64)
    engine.prepare()
    found = []
    for left, asked in [*((i * room, tokens) for i in range(20)), (None, tokens + vocabulary)]:
        try:
            with limited(left):
                engine._loss(asked)
        except RuntimeError as e:
            found.append((str(e), is_out_of_memory(e)))
    return found


COMPILED = """
import json, torch
from tests.train.test_oom import compiled_pass_fails
torch.set_num_threads(1)
print(json.dumps(compiled_pass_fails(VOCABULARY, 10_000_000)))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the size of the address space is read as Linux gives it")
@pytest.mark.parametrize(("vocabulary", "fails"), [(96, "empty_strided"), (8192, "chunked_cross_entropy")])
def test_a_compiled_pass_says_that_memory_ran_out(vocabulary: int, fails: str) -> None:
    # by default malloc keeps what the first pass gave back, and the second has it
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    child = [sys.executable, "-c", COMPILED.replace("VOCABULARY", str(vocabulary))]
    done = subprocess.run(child, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    *without_room, out_of_bounds = json.loads(done.stdout)
    assert all(told for _, told in without_room) and any(fails in sentence for sentence, _ in without_room)
    assert "out of bounds" in out_of_bounds[0] and not out_of_bounds[1]


@pytest.mark.parametrize("said", ["CUDA error: out of memory\nCUDA kernel errors might be", "Triton Error [CUDA]: out of memory"])
def test_a_kernel_that_finds_no_room_beside_what_the_allocator_holds_is_told(said: str) -> None:
    assert is_out_of_memory(RuntimeError(said))


def test_other_errors_are_not_taken_for_it() -> None:
    engine = Engine(recipe(), torch.device("cpu"), compile=False)
    with pytest.raises(IndexError):
        engine.step(np.full((4, 17), 5_000), 1.0)
    assert engine.oom_halvings == 0
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
