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
from ablate.data.readers import Part
from ablate.errors import DataError, NetworkError
from ablate.study import spec
from ablate.study.split import parse_split
from ablate.workspace import disk_full, is_disk_full, read_json, write_json

Kind = Literal["dataset", "model"]
_HTTPError: type[Exception] = errors.HfHubHTTPError.__mro__[1]
"""Of the library under the hub's, whichever it is: no connection, a time that ran out."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
UNKNOWN = "0" * 40
"""Stands for the commit of a data set that is not here, in a study that is only planned: nothing can be read of it."""


def commit(kind: Kind, name: str, revision: str) -> str:
    """The commit that a branch or tag means; NetworkError where that was never asked and cannot be."""
    return revision if _COMMIT.fullmatch(revision) else str(_known(kind, name, revision)["commit"])


def parts(source: spec.Source) -> Iterator[Part]:
    """The rows of a data set's split, file after file, each fetched when its turn comes if it is not here.

    Of a slice the files that hold it; those before them are fetched too, for their rows have to be counted. DataError where the split
    has fewer rows than the slice asks for.
    """
    pinned = commit("dataset", source.hf or "", source.revision)
    return _parts(source, pinned, _split(source.hf or "", source.config, parse_split(source.split).name, pinned), fetch=True)


def is_here(source: spec.Source) -> bool:
    """Whether `parts` needs no network; asks nobody."""
    name, split = source.hf or "", parse_split(source.split).name
    known: dict[str, Any] | None = read_json(_kept("dataset", name, source.revision))
    pinned = source.revision if _COMMIT.fullmatch(source.revision) else known and str(known["commit"])
    found: dict[str, Any] | None = read_json(_kept("split", name, pinned, source.config or "", split)) if pinned else None
    if not pinned or found is None:
        return False
    try:
        return all(part.path.exists() for part in _parts(source, pinned, found["files"], fetch=False))
    except NetworkError:
        return False


def _parts(source: spec.Source, pinned: str, files: list[str], fetch: bool) -> Iterator[Part]:
    """fetch: where it is False, a file that is not here is a NetworkError."""
    name, wanted = source.hf or "", parse_split(source.split)
    found = ((file, _fetched("dataset", name, pinned, file, fetch)) for file in files)
    if wanted.is_whole:
        yield from (Part(path) for _, path in found)
        return
    before = 0
    for file, path in found:
        count = _count(name, pinned, file, path)
        if rows := wanted.within(before, count):
            yield Part(path, rows.start, rows.stop)
        before += count
        if wanted.end is not None and before >= wanted.end:
            return
    if wanted.end is not None or before <= wanted.first:
        raise DataError(f"{source.name}: the split {wanted.name} has {before} rows, fewer than {wanted} asks for; ask for less")


def _count(name: str, pinned: str, file: str, path: Path) -> int:
    """The rows of a file. It is read for them once."""
    kept = _kept("rows", name, pinned, file)
    known: dict[str, Any] | None = read_json(kept)
    if known is None:
        known = {"rows": readers.count(path)}
        write_json(kept, {"name": name, "commit": pinned, "file": file, **known})
    return int(known["rows"])


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


def _fetched(kind: Kind, name: str, pinned: str, file: str, fetch: bool = True) -> Path:
    with _asking(kind, name, pinned):
        return Path(huggingface_hub.hf_hub_download(name, file, revision=pinned, repo_type=kind, local_files_only=not fetch))


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
