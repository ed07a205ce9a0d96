"""Documents out of ready token files: nanoGPT's .bin (bare uint16 or uint32), llm.c's .bin (with its header), NumPy's .npy.

The ids must be those of the study's tokenizer. `end_of_text` says which id ends a document; without it a file is one document. Nothing
is held out of such a source, for its text is not at hand: its own bits per byte are NULL, those of the other texts are as ever.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from ablate.data import files
from ablate.data.blocks import blocks
from ablate.data.encoding import Encoded
from ablate.data.hygiene import Tally
from ablate.errors import DataError
from ablate.study.spec import Source

Ids = NDArray[np.unsignedinteger[Any]]
LONGEST = 1 << 28
"""Tokens of a document, which has to fit into memory."""
_CHUNK = 1 << 22
_LLM_C_MAGIC, _LLM_C_HEADER = 20240520, 1024


def paths(source: Source) -> list[Path]:
    found = files.matching("tokens", source.tokens or "")
    for path in found:
        if path.suffix not in (".bin", ".npy"):
            raise DataError(f"tokens: {path} is not of a kind that is read: .bin or .npy; narrow the pattern")
    return found


def documents(source: Source, tally: Tally) -> Iterator[Ids]:
    """The documents without the id that ends them; those of no token are counted as "empty", files of no bytes as "empty_file"."""
    for path in paths(source):
        if path.stat().st_size == 0:
            tally.leave_out("empty_file", path.name)
            continue
        for document in _documents(_mapped(path, source.dtype), source.end_of_text):
            if document.size > LONGEST:
                raise DataError(f"{path}: a document of {document.size:,} tokens; say with end_of_text: which id ends a document")
            if document.size == 0:
                tally.leave_out("empty", "")
                continue
            tally.keep()
            yield document


def _documents(ids: Ids, end: int | None) -> Iterator[Ids]:
    begin = 0
    if end is not None:
        for start in range(0, ids.size, _CHUNK):
            for found in (np.flatnonzero(ids[start : start + _CHUNK] == end) + start).tolist():
                yield ids[begin:found]
                begin = found + 1
    if begin < ids.size:
        yield ids[begin:]


def _mapped(path: Path, dtype: str) -> Ids:
    if path.suffix == ".npy":
        try:
            array: Ids = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError) as e:
            raise DataError(f"{path}: the file is damaged, cut off or holds no array of numbers ({e}); fetch it again") from e
        if array.dtype not in (np.uint16, np.uint32) or array.ndim != 1:
            raise DataError(f"{path}: an array of {array.ndim} dimensions of {array.dtype}; it has to be one of uint16 or uint32")
        return array
    size, width = path.stat().st_size, np.dtype(dtype).itemsize
    skip = _LLM_C_HEADER if size >= _LLM_C_HEADER and int(np.fromfile(path, "<i4", 1)[0]) == _LLM_C_MAGIC else 0
    if size % width:
        raise DataError(f"{path}: {size} bytes are no whole number of {dtype}; the file is cut off, or of another dtype:")
    return np.memmap(path, np.dtype(dtype).newbyteorder("<"), mode="r", offset=skip) if size > skip else np.empty(0, dtype)


def encoded(ready: Iterator[Ids], most: int, tokenizer: PreTrainedTokenizerFast, dtype: str) -> Generator[Encoded, None, None]:
    """Blocks of about `most` tokens in the form of those that are encoded from text. DataError for an id that the tokenizer lacks."""
    lengths, end = _byte_lengths(tokenizer), np.array([tokenizer.eos_token_id], dtype)
    for block in blocks(ready, lambda document: document.size, most):
        yield _block(block, lengths, end)


def _block(block: list[Ids], lengths: NDArray[np.int64], end: Ids) -> Encoded:
    largest = max(int(document.max()) for document in block)
    if largest >= lengths.size:
        raise DataError(
            f"tokens: the files hold the id {largest}, and the study's tokenizer has {lengths.size} ids: "
            "name the tokenizer that made them in data.tokenizer, and their dtype: (uint16 or uint32)"
        )
    counts = [(document.size + 1, int(lengths[document].sum())) for document in block]
    ids = np.concatenate([part for document in block for part in (document.astype(end.dtype), end)])
    return Encoded(ids, np.array(counts, np.int64))


def _byte_lengths(tokenizer: PreTrainedTokenizerFast) -> NDArray[np.int64]:
    """UTF-8 bytes that each id stands for: exact for byte-level BPE, and for SentencePiece's kind but for a text's first space."""
    backend = tokenizer.backend_tokenizer
    vocabulary = backend.get_vocab(with_added_tokens=True)
    byte_level = '"ByteLevel"' in json.dumps(json.loads(backend.to_str())["decoder"])
    lengths = np.zeros(max(vocabulary.values()) + 1, np.int64)
    for token, i in vocabulary.items():
        is_byte = len(token) == 6 and token.startswith("<0x")
        lengths[i] = len(token) if byte_level else 1 if is_byte else len(token.replace("\u2581", " ").encode())
    return lengths
