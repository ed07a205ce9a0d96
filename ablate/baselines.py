"""A study's baselines: models that others trained, or an earlier run did, scored by the same code as its runs and never trained here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ablate.data.files import file_hash
from ablate.errors import DataError, StudyError
from ablate.model import build, ladder
from ablate.model.presets import window_key
from ablate.model.pretrained import is_here, pretrained
from ablate.study.grid import digest
from ablate.workspace import Workspace

LONGEST = 2048
"""Most tokens that a baseline is given at once: a larger window costs memory, and few items are longer."""
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model", "vocab.json", "merges.txt")
_FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Baseline:
    """One model, found and usable. JSON-able."""

    name: str
    """As it was asked for: a hub id, a folder, or run:DIGEST."""
    revision: str | None
    """The hub's commit; None where it is not the hub's."""
    folder: str
    digest: str
    """Of its weights, its shape and its tokenizer, wherever they lie."""
    model: dict[str, Any]
    """Its shape, as of model.from."""
    saved_as: str
    """Number format of its weights on the disk."""
    params_non_embedding: int
    params_total: int

    @property
    def max_tokens(self) -> int:
        """How many it is given at once."""
        return min(int(self.model[window_key(self.model)]), LONGEST)

    def precision(self, device_type: str) -> str:
        """Number format of its weights while it is scored: as saved on a GPU. On a CPU float32, which holds every saved number exactly:
        few CPUs multiply in 16 bits, and rounding after each layer would be another model's scores."""
        return "float32" if device_type == "cpu" else self.saved_as

    def scored_in(self, precision: str) -> str:
        """What its scores in a number format are known by; in another they are other scores."""
        return digest({"model": self.digest, "precision": precision})

    def dtype(self, device_type: str) -> torch.dtype:
        """Of its weights while it is scored."""
        return _FORMATS[self.precision(device_type)]

    def bytes_on(self, device_type: str) -> int:
        """Of its weights there."""
        return self.params_total * self.dtype(device_type).itemsize

    def load(self, chosen: torch.device) -> Any:
        """The model. RunError where tensors are missing."""
        return build.load(self.model, Path(self.folder), self.dtype(chosen.type)).to(chosen)

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Its own. DataError where it cannot be loaded."""
        try:
            return AutoTokenizer.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)
        except Exception as e:  # each class of tokenizer fails in its own way
            raise DataError(f"the tokenizer in {self.folder} cannot be loaded: {' '.join(str(e).split())[:300]}") from e

    @property
    def tokenizer_digest(self) -> str:
        """Of the files that its tokenizer is loaded from."""
        return digest(_tokenizer_files(Path(self.folder)))

    def outcome(self, error: str | None = None, **found: Any) -> dict[str, Any]:
        """What is said of it once it was scored, or why it could not be. `digest`: what the scores in `found` are known by."""
        known = ("digest", "name", "revision", "folder", "params_total", "params_non_embedding")
        status = {"status": "failed" if error else "done", "error": error}
        return {"baseline": self.digest, **{key: getattr(self, key) for key in known}, **status, "scores": [], "texts": [], **found}


def resolve(names: Sequence[str], space: Workspace, key: str = "baselines") -> list[Baseline]:
    """The models that a study names, those of the hub fetched. StudyError, naming the study's `key`, for one that cannot be used."""
    found: dict[str, Baseline] = {}
    for name in names:
        one = _baseline(name, space, key)
        if one.digest in found:
            raise StudyError(f"{key}: {found[one.digest].name} and {name} are the same model; name it once")
        found[one.digest] = one
    return list(found.values())


def absent(names: Sequence[str]) -> list[str]:
    """Those of the hub that are not on this machine; asks nobody."""
    return [name for name in names if not is_here(name)]


def prefix_of(tokenizer: PreTrainedTokenizerFast) -> tuple[int, ...]:
    """The tokens that it puts before every text of its own accord."""
    plain, whole = (list(tokenizer("a", add_special_tokens=added)["input_ids"]) for added in (False, True))
    start = next((i for i in range(len(whole) - len(plain) + 1) if whole[i : i + len(plain)] == plain), 0)
    return tuple(whole[:start])


def _baseline(name: str, space: Workspace, key: str) -> Baseline:
    found = pretrained(name, space, key)
    kind, _, identity = str(found.model["weights"]).partition(":")
    tokenizers = _tokenizer_files(found.folder)
    if not tokenizers:
        raise StudyError(f"{key}: {name}: there is no tokenizer in {found.folder}; save the model's own there (tokenizer.json)")
    config = json.loads((found.folder / "config.json").read_text(encoding="utf-8"))
    saved_as = config.get("dtype") or config.get("torch_dtype") or "float32"
    if saved_as not in _FORMATS:
        raise StudyError(f"{key}: {name}: its weights are {saved_as}, and what can be scored here is {', '.join(_FORMATS)}")
    counts = ladder.count(found.model)
    return Baseline(
        name=name, revision=identity.rpartition("@")[2] if kind == "hub" else None, folder=str(found.folder),
        digest=digest({"model": found.model, "tokenizer": tokenizers}), model=found.model, saved_as=saved_as,
        params_non_embedding=counts.non_embedding, params_total=counts.total,
    )  # fmt: skip


def _tokenizer_files(folder: Path) -> dict[str, str]:
    """The hash of each file of the tokenizer in `folder`."""
    return {file: file_hash(path) for file in _TOKENIZERS if (path := folder / file).exists()}
