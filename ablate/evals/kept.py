"""Requests kept in the workspace: a benchmark is tokenised and cut into batches once for all jobs of a study, not once in each.

A file's name is a digest of all that its content follows from, and its first 32 bytes are the SHA-256 of that name and of the rest, which
is a safetensors file of flat arrays. So one that is damaged, half written or another's is never read, but made again. Where two processes
make one at the same time both write the same bytes, and it does not matter whose stay.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import tokenizers
import torch
import transformers
from numpy.typing import NDArray
from safetensors import numpy as safetensors
from transformers import PreTrainedTokenizerFast

from ablate.data import tokenizer
from ablate.evals import safety
from ablate.evals.items import Benchmark, Kind
from ablate.evals.requests import Requests, requests
from ablate.evals.trees import Batch
from ablate.study import spec
from ablate.study.grid import digest
from ablate.workspace import Workspace, renamed_into_place

_log = logging.getLogger(__name__)

RULE = 2
"""Raise it when the same benchmark would become other tokens or other batches; a file is found by it."""
KINDS: tuple[Kind, ...] = ("choice", "last_word", "safety")
"""Of the benchmarks that become requests; for the others a model writes."""

_SEAL = hashlib.sha256().digest_size
_NODES = ("tokens", "positions", "last_below")
_TARGETS = ("predictor", "target", "choice")
_CONTINUATIONS = ("first_choice", "choice_bytes", "choice_characters")

Arrays = dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Kept:
    """How the models of one tokenizer read, and the folder of what they are asked."""

    tokenizer: PreTrainedTokenizerFast
    tokenizer_digest: str
    """Of everything that its tokens depend on."""
    prefix: tuple[int, ...]
    """The tokens that every text begins with for these models."""
    max_tokens: int
    """How many they see at once."""
    folder: Path

    def requests(self, benchmark: Benchmark, shared: bool) -> Requests:
        """Out of the folder, or made now and put there. For benchmarks of KINDS; `shared` for models that read trees. DataError where the
        models cannot be asked it, DiskFullError where there is no room for the file."""
        path = self.folder / f"{self._name(benchmark, shared)}.bin"
        arrays = _read(path)
        if arrays is not None:
            return _requests(arrays, benchmark, self.max_tokens, shared)
        made = self._made(benchmark, shared)
        _write(path, _arrays(made))
        return made

    def _name(self, benchmark: Benchmark, shared: bool) -> str:
        libraries = [tokenizers.__version__, transformers.__version__]  # others might read a published tokenizer otherwise
        read_by = {"tokenizer": self.tokenizer_digest, "prefix": self.prefix, "max_tokens": self.max_tokens, "shared": shared}
        return digest({**read_by, "benchmark": benchmark.digest, "rule": RULE, "libraries": libraries})

    def _made(self, benchmark: Benchmark, shared: bool) -> Requests:
        if benchmark.kind == "safety":
            return safety.requests(benchmark, self.tokenizer, self.max_tokens, shared)
        return requests(benchmark, self.tokenizer, self.max_tokens, shared, self.prefix)


def of_study(data: spec.Data, space: Workspace) -> Kept:
    """For the models that train on `data`: a text begins as their documents do. Its tokenizer must be prepared."""
    name = tokenizer.definition(data)
    made = tokenizer.load(space.tokenizers / name)
    return Kept(made, name, (tokenizer.end_of_text(made),), data.seq_len, space.requests)


def _write(path: Path, arrays: Arrays) -> None:
    content = safetensors.save({name: array.astype(np.int32) for name, array in arrays.items()})
    with renamed_into_place(path) as part:
        part.write_bytes(_seal(path, content) + content)


def _read(path: Path) -> Arrays | None:
    """None where there is no such file, or none to be trusted."""
    try:
        whole = path.read_bytes()
    except FileNotFoundError:
        return None
    seal, content = whole[:_SEAL], whole[_SEAL:]
    if seal != _seal(path, content):
        _log.warning("%s is damaged; it is made again", path)
        return None
    return {name: array.astype(np.int64) for name, array in safetensors.load(content).items()}


def _seal(path: Path, content: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + content).digest()


def _arrays(made: Requests) -> Arrays:
    """Everything but the benchmark and what the file is found by."""
    batches = made.batches
    runs = [list(run) for _, run in groupby(batches, key=lambda batch: id(batch.trunk))]
    fields = (*_NODES, "predictors", *_TARGETS)
    return {
        "trunk": _joined(run[0].trunk for run in runs),
        "trunks": np.array([(len(run[0].trunk), len(run)) for run in runs], dtype=np.int64).reshape(-1, 2),
        "sizes": np.array([(*b.tokens.shape, len(b.predictors), len(b.target)) for b in batches], dtype=np.int64).reshape(-1, 4),
        **{name: _joined(getattr(batch, name) for batch in batches) for name in fields},
        **{name: getattr(made, name) for name in _CONTINUATIONS},
        "truncated": np.array([made.truncated]),
    }


def _requests(arrays: Arrays, benchmark: Benchmark, max_tokens: int, shared: bool) -> Requests:
    first_choice, choice_bytes, choice_characters = (arrays[name] for name in _CONTINUATIONS)
    batches = tuple(_batches(arrays))
    return Requests(
        benchmark, batches, first_choice, choice_bytes, choice_characters, int(arrays["truncated"][0]), max_tokens=max_tokens, shared=shared
    )


def _batches(arrays: Arrays) -> Iterator[Batch]:
    starts = _parted(arrays["trunk"], arrays["trunks"][:, 0])
    trunks = (trunk for start, many in zip(starts, arrays["trunks"][:, 1], strict=True) for trunk in [torch.from_numpy(start)] * many)
    rows, lengths, predictors, targets = arrays["sizes"].T
    sizes = {**dict.fromkeys(_NODES, rows * lengths), "predictors": predictors, **dict.fromkeys(_TARGETS, targets)}
    parts = zip(*(_parted(arrays[name], size) for name, size in sizes.items()), strict=True)
    for trunk, row, of_batch in zip(trunks, rows.tolist(), parts, strict=True):
        part = dict(zip(sizes, of_batch, strict=True))
        yield Batch(
            trunk=trunk,
            tokens=torch.from_numpy(part["tokens"].reshape(row, -1)),
            positions=torch.from_numpy(part["positions"].reshape(row, -1)),
            last_below=torch.from_numpy(part["last_below"].reshape(row, -1)),
            predictors=torch.from_numpy(part["predictors"]),
            predictor=part["predictor"],
            target=torch.from_numpy(part["target"]),
            choice=part["choice"],
        )


def _joined(parts: Iterable[torch.Tensor | NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([np.empty(0, dtype=np.int64), *(np.asarray(part).ravel() for part in parts)])


def _parted(joined: NDArray[np.int64], sizes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [joined[end - size : end] for end, size in zip(np.cumsum(sizes).tolist(), sizes.tolist(), strict=True)]
