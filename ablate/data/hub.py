"""What lies on the Hugging Face hub: data sets file by file, and tokenizers. Fetched once, by commit; from then on no network is needed.

Which commit a branch means is asked once and kept beside the hub's cache ($HF_HOME/ablate), so that a study does not become another one
when somebody pushes; write another `revision:` to move on. A data set's files are read as those of a files: source are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

import huggingface_hub
from huggingface_hub import constants, errors

from ablate.data import readers
from ablate.errors import DataError, NetworkError
from ablate.study import spec
from ablate.workspace import disk_full, is_disk_full, read_json, write_json

Kind = Literal["dataset", "model"]
_HTTPError: type[Exception] = errors.HfHubHTTPError.__mro__[1]
"""Of the library under the hub's, whichever it is: no connection, a time that ran out."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def commit(kind: Kind, name: str, revision: str) -> str:
    """The commit that a branch or tag means; NetworkError where that was never asked and cannot be."""
    return revision if _COMMIT.fullmatch(revision) else str(_known(kind, name, revision)["commit"])


def paths(source: spec.Source) -> Iterator[Path]:
    """The files of a data set's split, one after another, each fetched when its turn comes if it is not here."""
    name = source.hf or ""
    pinned = commit("dataset", name, source.revision)
    for file in _split(name, source.config, source.split, pinned):
        yield _fetched("dataset", name, pinned, file)


def is_here(source: spec.Source) -> bool:
    """Whether all of a data set's split can be read without a network; asks nobody."""
    name = source.hf or ""
    known: dict[str, Any] | None = read_json(_kept("dataset", name, source.revision))
    pinned = source.revision if _COMMIT.fullmatch(source.revision) else known and str(known["commit"])
    split: dict[str, Any] | None = read_json(_kept("split", name, pinned, source.config or "", source.split)) if pinned else None
    if not pinned or split is None:
        return False
    cached = (huggingface_hub.try_to_load_from_cache(name, file, revision=pinned, repo_type="dataset") for file in split["files"])
    return all(isinstance(path, str) for path in cached)


def tokenizer(asked: spec.Tokenizer) -> Path:
    """The folder that holds the tokenizer's files."""
    name = asked.hf or ""
    known = _known("model", name, asked.revision)
    if "tokenizer.json" not in known["files"]:
        raise DataError(f"data.tokenizer.hf: {name} has no tokenizer.json; name a model with a (fast) Hugging Face tokenizer")
    found = [_fetched("model", name, known["commit"], file) for file in _TOKENIZER if file in known["files"]]
    return found[0].parent


@cache
def _known(kind: Kind, name: str, revision: str) -> dict[str, Any]:
    """{"commit", "files"} of a repository at a revision."""
    kept = _kept(kind, name, revision)
    known: dict[str, Any] | None = read_json(kept)
    if known is None:
        with _asking(kind, name, revision):
            hub = huggingface_hub.HfApi()
            info = hub.dataset_info(name, revision=revision) if kind == "dataset" else hub.model_info(name, revision=revision)
            known = {"commit": info.sha, "files": sorted(file.rfilename for file in info.siblings or [])}
        write_json(kept, {"name": name, "revision": revision, **known})
    return known


@cache
def _split(name: str, config: str | None, split: str, pinned: str) -> list[str]:
    """The files of a split, in their order, as the `datasets` library finds them."""
    kept = _kept("split", name, pinned, config or "", split)
    known: dict[str, Any] | None = read_json(kept)
    if known is None:
        files = _data_files(name, config, pinned)
        if split not in files:
            raise DataError(f"hf: {name} has no split {split!r}; it has: {', '.join(files)}")
        known = {"files": files[split]}
        write_json(kept, {"name": name, "config": config, "split": split, "commit": pinned, **known})
    for file in known["files"]:
        if not readers.is_read(Path(file)):
            raise DataError(f"hf: {name}: {file} is not of a kind that is read (.jsonl, .json, .txt, .csv, .parquet, .arrow)")
    return list(known["files"])


def _data_files(name: str, config: str | None, pinned: str) -> dict[str, list[str]]:
    """Split → files."""
    try:
        import datasets
    except ImportError:
        raise DataError("hf: sources need the library `datasets`: pip install 'ablate[hf]'") from None
    with _asking("dataset", name, pinned):
        try:
            found = datasets.load_dataset_builder(name, config, revision=pinned).config.data_files or {}
        except (ValueError, FileNotFoundError) as e:  # no such configuration, one of several to be named, no files of text
            raise DataError(f"hf: {name}: {' '.join(str(e).split())[:300]}") from e
    before = f"hf://datasets/{name}@{pinned}/"
    return {str(split): [str(file).removeprefix(before) for file in files] for split, files in found.items()}


def _fetched(kind: Kind, name: str, pinned: str, file: str) -> Path:
    with _asking(kind, name, pinned):
        return Path(huggingface_hub.hf_hub_download(name, file, revision=pinned, repo_type=kind))


def _kept(*parts: str) -> Path:
    return Path(constants.HF_HOME) / "ablate" / f"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}.json"


@contextmanager
def _asking(kind: Kind, name: str, revision: str) -> Iterator[None]:
    """The hub's many errors as one sentence."""
    what = f"the {'data set' if kind == 'dataset' else 'tokenizer'} hf:{name}"
    try:
        yield
    except (errors.RepositoryNotFoundError, errors.GatedRepoError) as e:
        raise DataError(f"{what} is not on the hub, or not for you: check the name, or log in with `hf auth login`") from e
    except errors.RevisionNotFoundError as e:
        raise DataError(f"{what} has no revision {revision!r}") from e
    except errors.HFValidationError as e:
        raise DataError(f"{what} is no name that the hub could have ({' '.join(str(e).split())[:200]}); write OWNER/NAME") from e
    except errors.HfHubHTTPError as e:
        raise DataError(f"{what}: the hub refused ({' '.join(str(e).split())[:200]}); try again later, or run `hf auth login`") from e
    except (OSError, _HTTPError, RuntimeError) as e:  # no network, a time that ran out, nothing in the cache; RuntimeError: hf_xet's
        if is_disk_full(e):
            raise disk_full(constants.HF_HOME) from e
        raise NetworkError(
            f"{what} is not on this machine, and the hub cannot be reached ({type(e).__name__}): "
            "run `ablate prefetch STUDY` where there is a network"
        ) from e
