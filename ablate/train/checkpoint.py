"""A training state in one safetensors file: tensors, and the progress as JSON in its header.

The file before it is kept as `NAME.previous.safetensors`, so that whatever is damaged or half written, there
is a whole one: a kill costs the steps since, never the run.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ablate.workspace import renamed_into_place

_log = logging.getLogger(__name__)

State = tuple[dict[str, Tensor], dict[str, Any]]


def save(folder: Path, name: str, tensors: dict[str, Tensor], progress: dict[str, Any], suspect: bool = False) -> None:
    """Write the state and keep the one before. Raises DiskFullError, with both older files untouched.

    Where the state is `suspect`, the newest that was not is kept too, until one is saved that is above suspicion.
    """
    target, previous = _paths(folder, name)
    if not suspect:
        _good(folder, name).unlink(missing_ok=True)
    elif not _good(folder, name).exists():
        _link(target, _good(folder, name))
    tensors = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    text = json.dumps(progress)
    header = {"progress": text, "crc32": str(_crc32(tensors, text))}
    with renamed_into_place(target) as part:
        save_file(tensors, part, header)
        if target.exists():
            target.replace(previous)


def load(folder: Path, name: str) -> State | None:
    """The newest whole state, or None where there is none (said in the log where there should have been one)."""
    for part in folder.glob(f".{name}.safetensors.*.part"):
        part.unlink(missing_ok=True)  # what a killed process was writing
    return next((state for path in _paths(folder, name) if (state := _read_or_none(path)) is not None), None)


def keep_good(folder: Path, name: str, steps: int) -> Path | None:
    """Of a run that diverged, keep the newest state with at most `steps` steps behind it under a name that says so. The run would
    go on from it: later ones are deleted. None where there is none."""
    newest, good = _paths(folder, name)[0], _good(folder, name)
    for path in (*_paths(folder, name), good):
        state = _read_or_none(path)
        if state is not None and state[1]["step"] <= steps:
            _link(path, good)
            _link(path, newest)
            return good if good.exists() else path
        path.unlink(missing_ok=True)
    return None


def remove(folder: Path, name: str) -> None:
    """Delete all states."""
    for path in (*_paths(folder, name), _good(folder, name)):
        path.unlink(missing_ok=True)


def _paths(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.safetensors", folder / f"{name}.previous.safetensors"


def _good(folder: Path, name: str) -> Path:
    return folder / f"{name}.before-it-diverged.safetensors"


def _link(path: Path, other: Path) -> None:
    """Give the file another name; a file system without hard links leaves it as it is."""
    if path != other and path.exists():
        other.unlink(missing_ok=True)
        with suppress(OSError):
            os.link(path, other)


def _read_or_none(path: Path) -> State | None:
    if not path.exists():
        return None
    try:
        return _read(path)
    except (SafetensorError, OSError, ValueError, KeyError) as e:
        _log.warning("%s is damaged (%s); going on from the one before it, or from the start", path, e)
        return None


def _read(path: Path) -> State:
    with safe_open(path, framework="pt") as f:
        header = f.metadata() or {}
        tensors = {key: f.get_tensor(key) for key in f.keys()}  # noqa: SIM118 (safe_open is no mapping)
    if int(header["crc32"]) != _crc32(tensors, header["progress"]):
        raise ValueError("its checksum does not match")
    return tensors, json.loads(header["progress"])


def _crc32(tensors: dict[str, Tensor], progress: str) -> int:
    """Of everything that a restore relies on: names, types and shapes too, which no checksum of safetensors covers."""
    value = zlib.crc32(progress.encode())
    for key in sorted(tensors):
        value = zlib.crc32(f"{key} {tensors[key].dtype} {list(tensors[key].shape)}".encode(), value)
        value = zlib.crc32(tensors[key].reshape(-1).view(torch.uint8).numpy().data, value)
    return value
