"""A training state in a folder of safetensors files, each process writing the shards it holds (torch's distributed checkpoint).

Of the formats that torch.distributed.checkpoint writes, its own has a pickled index, which a damaged or foreign folder could
abuse; the Hugging Face one keeps names, shapes and offsets in the headers of safetensors files and needs none. It holds
whatever is named and so the optimiser's state too, and can be read by another number of processes than wrote it.

The promises are those of checkpoint.py: written under another name and renamed when whole, the one before kept, a damaged one
passed over. `state.json`, written last, holds the progress and the checksum of every file.
"""

from __future__ import annotations

import logging
import os
import shutil
import warnings
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter

from ablate.errors import RunError
from ablate.train.world import World
from ablate.workspace import disk_full, is_disk_full, read_json, write_json

_log = logging.getLogger(__name__)

_STATE = "state.json"


def save(folder: Path, name: str, tensors: Mapping[str, Tensor], progress: dict[str, Any], world: World, suspect: bool = False) -> None:
    """Write the state and keep the one before; everybody calls it. Raises DiskFullError everywhere, with both older ones untouched.

    Where the state is `suspect`, the newest that was not is kept too, until one is saved that is above suspicion.
    """
    part = folder / f".{name}.sharded.part"
    sums: list[dict[str, int]] = []

    def empty() -> None:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)

    def write() -> None:
        try:
            state_dict_saver.save(dict(tensors), storage_writer=HuggingFaceStorageWriter(str(part), save_distributed=True))
        except CheckpointException as e:  # no Exception to Python; raised everywhere, with what happened where
            raise next(iter(e.failures.values()))[0] from e

    def put() -> None:
        write_json(part / _STATE, {"progress": progress, "crc32": sums[0]})
        _rename(folder, name, part, suspect)

    _together(world, folder, empty if world.leads else None)
    _together(world, folder, write)
    _together(world, folder, lambda: sums.append(_checksums(part, world)))
    _together(world, folder, put if world.leads else None)


def load(folder: Path, name: str, parameters: Mapping[str, Tensor], world: World | None) -> tuple[dict[str, Tensor], Any] | None:
    """The newest whole state, or None where there is none; everybody calls it, or one process alone where world is None.

    Of each tensor this process gets what it has of the parameter of that name (what stands after the first slash): a shard, or
    the whole.
    """
    for path in paths(folder, name):
        state = _state(path)
        whole = state is not None and _is_whole(path, state["crc32"], world)
        if world is not None:
            whole = world.worst(0 if whole else 1) == 0
        if state is not None and whole:
            reader = HuggingFaceStorageReader(str(path))
            stored = reader.read_metadata().state_dict_metadata
            tensors: dict[str, Any] = {key: _place(parameters[key.partition("/")[2]], of) for key, of in stored.items()}
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*assuming the intent is to load in a single process")
                state_dict_loader.load(tensors, storage_reader=reader, no_dist=world is None)
            return tensors, state["progress"]
        if path.exists():
            _log.warning("%s is damaged; going on from the one before it, or from the start", path)
    return None


def keep_good(folder: Path, name: str, steps: int) -> Path | None:
    """Of a run that diverged, keep the newest whole state with at most `steps` steps behind it, and no other: the run goes on from
    it. None where there is none. One process calls it, for all."""
    good = paths(folder, name)[2]
    states = [(path, state) for path in paths(folder, name) if (state := _state(path)) is not None]
    states.sort(key=lambda one: int(one[1]["progress"]["step"]), reverse=True)
    whole = (path for path, state in states if state["progress"]["step"] <= steps and _is_whole(path, state["crc32"], None))
    kept = next(whole, None)
    for path in paths(folder, name):
        if path != kept:
            shutil.rmtree(path, ignore_errors=True)
    if kept is not None:
        kept.rename(good)
    return None if kept is None else good


def paths(folder: Path, name: str) -> tuple[Path, Path, Path]:
    """The folder of the state, of the one before it, and of the last one above suspicion where a later one was not."""
    return folder / f"{name}.sharded", folder / f"{name}.previous.sharded", folder / f"{name}.before-it-diverged.sharded"


def remove(folder: Path, name: str) -> None:
    """Delete all states."""
    for path in (*paths(folder, name), folder / f".{name}.sharded.part"):
        shutil.rmtree(path, ignore_errors=True)


def _together(world: World, folder: Path, work: Callable[[], None] | None) -> None:
    """Do `work` and wait for the others. If it fails anywhere, raise everywhere."""
    failure: Exception | None = None
    try:
        if work is not None:
            work()
    except Exception as e:
        failure = e
    worst = world.worst(0 if failure is None else 2 if is_disk_full(failure) else 1)
    if worst == 2:
        raise disk_full(folder) from failure
    if worst:
        raise RunError(f"a checkpoint could not be written to {folder}: {failure or 'another process failed'}") from failure


def _rename(folder: Path, name: str, part: Path, suspect: bool) -> None:
    target, previous, good = paths(folder, name)
    if suspect and target.exists() and not good.exists():
        target.rename(good)
    elif target.exists():
        shutil.rmtree(previous, ignore_errors=True)
        target.rename(previous)
    part.rename(target)
    if not suspect:
        shutil.rmtree(good, ignore_errors=True)


def _checksums(part: Path, world: World) -> dict[str, int]:
    """Of every file; each process reads its share of them and sees it onto the disk."""
    files = sorted(part.glob("*.safetensors"))
    mine = [0] * len(files)
    for i in range(world.rank, len(files), world.size):
        with files[i].open("rb") as f:
            os.fsync(f.fileno())
        mine[i] = _crc32(files[i])
    return dict(zip([path.name for path in files], world.sum(mine), strict=True))


def _is_whole(path: Path, sums: dict[str, int], world: World | None) -> bool:
    """Whether this process's share of the files is what was written."""
    rank, size = (world.rank, world.size) if world else (0, 1)
    return all(_crc32(path / name) == crc for i, (name, crc) in enumerate(sorted(sums.items())) if i % size == rank)


def _place(parameter: Tensor, stored: Any) -> Tensor:
    """Room for a stored tensor: like the parameter it belongs to, but for a step count."""
    if parameter.shape == stored.size:
        return torch.empty_like(parameter, dtype=stored.properties.dtype, requires_grad=False)
    return torch.empty(stored.size, dtype=stored.properties.dtype)


def _state(path: Path) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] | None = read_json(path / _STATE)
        return state
    except ValueError:  # no JSON, or not even text
        return None


def _crc32(path: Path) -> int:
    value = 0
    try:
        with path.open("rb") as f:
            while block := f.read(1 << 24):
                value = zlib.crc32(block, value)
    except OSError:
        return -1
    return value
