"""Tokens of a source, made once and only ever added to.

    data/<digest>/tokens.bin       uint16 or uint32, one document after another, each followed by <|endoftext|>
    data/<digest>/documents.bin    int64 pairs, one a document: tokens (separator included), UTF-8 bytes (without)
    data/<digest>/manifest.json    how much of both counts; renamed into place after them

What lies beyond the manifest's counts was written by a process that died, and is written again. So a reader,
who maps the counted part only, never sees a byte change.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from ablate.data import hygiene, ready, sources
from ablate.data.blocks import blocks
from ablate.data.building import alone
from ablate.data.decontaminate import Screen
from ablate.data.encoding import Encoded, encoded
from ablate.data.tokenizer import end_of_text
from ablate.errors import DataError
from ablate.study.grid import digest
from ablate.study.spec import Source
from ablate.workspace import Workspace, read_json, write_json

FORMAT = 1
BLOCK_DOCUMENTS = 256
BLOCK_CHARACTERS = 4_000_000
"""A block is tokenised at once, in parallel: so many documents, fewer where they are long."""
COMMIT_BYTES = 64_000_000
"""The manifest is written each time so many bytes were added: what a killed process loses at most."""


@dataclass(frozen=True)
class Shards:
    """The tokens of one stream of one source, as they lie on the disk."""

    tokens: NDArray[np.unsignedinteger[Any]]
    """One dimension, mapped from the file."""
    starts: NDArray[np.int64]
    """First token of each document and, last, the end: one entry more than there are documents."""
    byte_counts: NDArray[np.int64]
    """UTF-8 bytes of each document, without its separator."""
    finite: bool
    """Whether this is all there is; if not, more can be prepared."""
    folder: Path = Path()
    """Its name is the digest of all that the tokens depend on; empty where they lie on no disk."""
    content: str = ""
    """Hash of the tokens."""


@dataclass(frozen=True)
class Manifest:
    """manifest.json"""

    definition: dict[str, Any]
    dtype: str
    vocabulary: int
    documents: int = 0
    tokens: int = 0
    bytes: int = 0
    complete: bool = False
    """The source ended: nothing can be added."""
    hygiene: dict[str, Any] = field(default_factory=dict)
    """What became of the documents that were read to build it (hygiene.Tally), from the first, those of earlier parts included."""
    content: str = ""
    """SHA-256 chained over the blocks of tokens: the same for the same text, however often the building was interrupted."""


def prepare(
    source: Source, stream: int, tokenizer_digest: str, tokenizer: PreTrainedTokenizerFast, tokens: int, workspace: Workspace,
    screen: Screen | None = None, processes: int = 1, say: Callable[[str], None] = lambda line: None,
) -> Shards:  # fmt: skip
    """At least `tokens` tokens of the stream (all of a finite source), tokenising only what is missing.

    Any number of processes may call it at once, and any may be killed; `say` is told when another one is waited for. A folder whose
    files are shorter than its manifest says is built anew.
    """
    kept_out = screen.digest if screen else None
    folder = _folder(source, stream, tokenizer_digest, workspace, kept_out)
    if not is_built(source, stream, tokenizer_digest, tokens, workspace, kept_out):
        with alone(folder / "lock", lambda: say(f"waiting for another process that is tokenising {source.name}")):
            manifest = _manifest(folder)
            if manifest is None or not _is_whole(folder, manifest):
                manifest = _fresh(folder, _definition(source, stream, tokenizer_digest, kept_out), len(tokenizer))
            if not _is_enough(manifest, source, tokens):  # what was waited for keeps its count of what was dropped
                _extend(folder, manifest, source, stream, tokenizer, tokens, screen, processes)
    return open_shards(source, stream, tokenizer_digest, workspace, kept_out)


def is_built(
    source: Source, stream: int, tokenizer_digest: str, tokens: int, workspace: Workspace, screen: str | None = None
) -> bool:  # fmt: skip
    """Whether `prepare` would have nothing to do; `screen` is the digest of what is kept out."""
    folder = _folder(source, stream, tokenizer_digest, workspace, screen)
    manifest = _manifest(folder)
    return manifest is not None and _is_whole(folder, manifest) and _is_enough(manifest, source, tokens)


def open_shards(source: Source, stream: int, tokenizer_digest: str, workspace: Workspace, screen: str | None = None) -> Shards:
    """What `prepare` has built; DataError where there is nothing, or less than its manifest says."""
    folder = _folder(source, stream, tokenizer_digest, workspace, screen)
    manifest = _manifest(folder)
    if manifest is None or not _is_enough(manifest, source, 1):
        raise DataError(f"the tokens of a source are not prepared in {folder}; run `ablate run` on the study, which prepares them")
    if not _is_whole(folder, manifest):
        raise DataError(
            f"{folder}: the token files are shorter than manifest.json says; run `ablate run` on the study, which builds them anew"
        )
    shape = (manifest.documents, 2)
    documents = np.fromfile(folder / "documents.bin", dtype=np.int64, count=2 * manifest.documents).reshape(shape)
    starts = np.zeros(manifest.documents + 1, np.int64)
    np.cumsum(documents[:, 0], out=starts[1:])
    return Shards(
        tokens=np.memmap(folder / "tokens.bin", dtype=manifest.dtype, mode="r", shape=(manifest.tokens,)),
        starts=starts,
        byte_counts=np.ascontiguousarray(documents[:, 1]),
        finite=sources.is_finite(source),
        folder=folder,
        content=manifest.content,
    )


def _definition(source: Source, stream: int, tokenizer_digest: str, screen: str | None) -> dict[str, Any]:
    """All that the tokens depend on. Every seed reads the same documents of files, in an order of its own."""
    if sources.is_finite(source) and stream >= 0:
        stream = 0
    kept_out = {"screen": screen} if screen else {}
    return {"source": sources.digest(source), "stream": stream, "tokenizer": tokenizer_digest, "format": FORMAT, **kept_out}


def _folder(source: Source, stream: int, tokenizer_digest: str, workspace: Workspace, screen: str | None) -> Path:
    return workspace.data / digest(_definition(source, stream, tokenizer_digest, screen))


def _manifest(folder: Path) -> Manifest | None:
    """The manifest; None where there is none, or none that can be read: then all is built anew."""
    try:
        return Manifest(**read_json(folder / "manifest.json"))
    except (ValueError, TypeError):
        return None


def _is_enough(manifest: Manifest, source: Source, tokens: int) -> bool:
    return manifest.complete or (not sources.is_finite(source) and manifest.tokens >= tokens)


def _is_whole(folder: Path, manifest: Manifest) -> bool:
    expected = {"tokens.bin": manifest.tokens * np.dtype(manifest.dtype).itemsize, "documents.bin": manifest.documents * 16}
    return all((folder / name).exists() and (folder / name).stat().st_size >= size for name, size in expected.items())


def _fresh(folder: Path, definition: dict[str, Any], vocabulary: int) -> Manifest:
    """New files under the names: a reader that has mapped the old ones keeps them."""
    for name in ("manifest.json", "tokens.bin", "documents.bin"):
        (folder / name).unlink(missing_ok=True)
    for name in ("tokens.bin", "documents.bin"):
        (folder / name).touch()
    return Manifest(definition, "uint16" if vocabulary <= 1 << 16 else "uint32", vocabulary)


def _extend(
    folder: Path,
    manifest: Manifest,
    source: Source,
    stream: int,
    tokenizer: PreTrainedTokenizerFast,
    tokens: int,
    screen: Screen | None,
    processes: int,
) -> None:
    """Append blocks until there are enough tokens, or the source ends."""
    tally = hygiene.Tally()
    blocks = _blocks(manifest, source, stream, tokenizer, tally, screen, processes)
    width = np.dtype(manifest.dtype).itemsize
    with (folder / "tokens.bin").open("r+b") as token_file, (folder / "documents.bin").open("r+b") as document_file, closing(blocks):
        token_file.truncate(manifest.tokens * width)
        document_file.truncate(manifest.documents * 16)
        token_file.seek(0, 2)
        document_file.seek(0, 2)
        committed = manifest.tokens
        while not _is_enough(manifest, source, tokens):
            block = next(blocks, None)
            if block is None:
                manifest = replace(manifest, complete=True)
                break
            manifest = _append(token_file, document_file, manifest, block)
            if (manifest.tokens - committed) * width >= COMMIT_BYTES:
                _refuse_changed(folder, source, manifest)
                _commit(folder, manifest, token_file, document_file)
                committed = manifest.tokens
        _refuse_changed(folder, source, manifest)
        _commit(folder, replace(manifest, hygiene=asdict(tally)), token_file, document_file)


def _blocks(
    manifest: Manifest,
    source: Source,
    stream: int,
    tokenizer: PreTrainedTokenizerFast,
    tally: hygiene.Tally,
    screen: Screen | None,
    processes: int,
) -> Generator[Encoded, None, None]:
    """What follows the documents that the manifest counts."""
    # a source cannot be entered in the middle: what is there already is generated or read once more, and skipped
    if source.tokens is not None:
        ids = islice(ready.documents(source, tally), manifest.documents, None)
        yield from ready.encoded(ids, BLOCK_CHARACTERS, tokenizer, manifest.dtype)
        return
    documents = sources.documents(source, stream, tally)
    texts = islice(screen.apply(documents, tally) if screen else documents, manifest.documents, None)
    definition = tokenizer.backend_tokenizer.to_str()
    yield from encoded(blocks(texts, len, BLOCK_CHARACTERS, BLOCK_DOCUMENTS), definition, end_of_text(tokenizer), manifest.dtype, processes)


def _refuse_changed(folder: Path, source: Source, manifest: Manifest) -> None:
    """DataError where files are no longer those whose digest the tokens would carry. What is there is then built anew: the files
    may be put back, and the part that was written before anybody noticed would be taken for theirs."""
    if sources.is_finite(source) and sources.digest(source) != manifest.definition["source"]:
        (folder / "manifest.json").unlink(missing_ok=True)
        raise DataError(
            f"{source.name}: the files were changed while they were tokenised; run the same command again when they are at rest "
            "(changed files are another source, whose runs are other runs)"
        )


def _append(token_file: IO[bytes], document_file: IO[bytes], manifest: Manifest, block: Encoded) -> Manifest:
    """Write one block; the manifest that counts it."""
    token_file.write(block.ids.tobytes())
    document_file.write(block.documents.tobytes())
    return replace(
        manifest,
        documents=manifest.documents + len(block.documents),
        tokens=manifest.tokens + block.ids.size,
        bytes=manifest.bytes + int(block.documents[:, 1].sum()),
        content=hashlib.sha256(bytes.fromhex(manifest.content) + block.ids.tobytes()).hexdigest(),
    )


def _commit(folder: Path, manifest: Manifest, *files: IO[bytes]) -> None:
    for file in files:
        file.flush()
        os.fsync(file.fileno())
    write_json(folder / "manifest.json", asdict(manifest))
