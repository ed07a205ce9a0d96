"""What generating text with a model costs: milliseconds a token, tokens a second, memory.

All of it follows from the shape, the number format and the device; the weights do not matter. So it is measured once for these,
greedily and with a key-value cache, and all runs of the shape share it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ablate.evals.likelihood import window
from ablate.study.grid import digest
from ablate.train import device as devices
from ablate.workspace import read_json, write_json

if TYPE_CHECKING:  # who only reads results need not wait for the modelling code
    from transformers import PreTrainedModel

LATENCY_VERSION = 2
"""Raise it when something else is measured; a measurement is found by it."""
PROMPT_TOKENS = 512
BATCH = 16
WARM_UP = 2
"""Passes before those that count: kernels load, caches fill."""
PASSES, PROMPT_PASSES = 34, 8
"""Most passes of a measurement, the warm-up included."""
SECONDS = 1.0
"""A measurement ends after that, once a pass has counted: a large model on a slow device."""

_NOT_SHAPE = ("_name_or_path", "architectures", "dtype", "bos_token_id", "eos_token_id", "pad_token_id", "transformers_version")


def latency(model: PreTrainedModel, device: torch.device, folder: Path) -> dict[str, Any] | None:
    """The latency columns of results.db for a model in eval mode on `device`: from `folder` where they were measured before. None for
    a model that has no key-value cache (a state-space model): nobody would write with it as it is measured here."""
    if not _keeps_keys(model):
        return None
    config = json.loads(model.config.to_json_string(use_diff=False))
    shape = json.dumps({key: value for key, value in config.items() if key not in _NOT_SHAPE}, sort_keys=True)
    where = {"inference_precision": str(model.dtype).removeprefix("torch."), "inference_device": devices.describe(device)["device"]}
    path = folder / f"{digest({'version': LATENCY_VERSION, 'threads': torch.get_num_threads(), 'shape': shape, **where})}.json"
    known: dict[str, Any] | None = read_json(path)
    if known is None:
        measured = {**measure(model, device), **where}
        known = read_json(path)  # another job may have been quicker: a shape has one figure
        if known is None:
            write_json(path, measured)
            known = measured
    return known


def measure(model: PreTrainedModel, device: torch.device) -> dict[str, Any]:
    """Medians of single passes, each waited for, and the memory they took.

    The memory is that of the parameters and buffers and the most that was held beside them: on a GPU by torch; on a CPU it is the
    growth of the process, which is rough: memory that was free before is used again unseen, and what libraries take once is in it.
    """
    limit = window(model.config) or PROMPT_TOKENS + PASSES
    passes = min(PASSES, limit // 2)
    prompt = _tokens(model, 1, min(PROMPT_TOKENS, limit - passes))

    def read_prompt() -> Iterator[Tensor]:
        reading = write(model, prompt)
        next(reading)
        return reading

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    before = devices.held_memory(device)
    alone, held_alone = _timed(write(model, _tokens(model, 1, 1)).__next__, passes, device)
    together, held_together = _timed(write(model, _tokens(model, BATCH, 1)).__next__, passes, device)
    to_first, held_reading = _timed(read_prompt, PROMPT_PASSES, device)
    after, held_after = _timed(read_prompt().__next__, passes, device)
    tensors = {id(t): t for t in (*model.parameters(), *model.buffers())}.values()
    grown = max(held_alone, held_together, held_reading, held_after) - before
    return {
        "ms_per_token": 1000 * alone,
        "ms_to_first_token": 1000 * to_first,
        "ms_per_token_after_prompt": 1000 * after,
        "generate_tokens_per_s": BATCH / together,
        "generate_batch": BATCH,
        "inference_memory_bytes": sum(t.numel() * t.element_size() for t in tensors) + max(0, grown),
    }


@torch.inference_mode()
def write(model: PreTrainedModel, tokens: Tensor) -> Iterator[Tensor]:
    """Greedy text with a key-value cache: after tokens [rows, n] the next token of each row, [rows, 1], again and again."""
    cache, head = None, model.get_output_embeddings()
    while True:
        out = model.base_model(input_ids=tokens, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        tokens = head(out.last_hidden_state[:, -1:]).argmax(dim=-1)
        yield tokens


@torch.inference_mode()
def _keeps_keys(model: PreTrainedModel) -> bool:
    return getattr(model.base_model(input_ids=_tokens(model, 1, 1), use_cache=True), "past_key_values", None) is not None


def _tokens(model: PreTrainedModel, rows: int, length: int) -> Tensor:
    tokens: Tensor = torch.arange(rows * length, device=model.device).view(rows, length) % model.config.vocab_size
    return tokens


def _timed(work: Callable[[], object], most: int, device: torch.device) -> tuple[float, int]:
    """Median seconds of up to `most` calls without the first ones, and the most bytes held while what the last one made was alive."""
    seconds: list[float] = []
    alive: list[object] = []
    while len(seconds) < most and (len(seconds) <= WARM_UP or sum(seconds) < SECONDS):
        began = time.perf_counter()
        alive[:] = [work()]
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    held = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else devices.held_memory(device)
    return median(seconds[WARM_UP:] or seconds), held
