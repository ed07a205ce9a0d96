"""Token ids of texts, without the library's pass over every character where the same can be had from a table of words.

A byte-level BPE (GPT-2's kind) parts a text into words by a pattern and encodes each word alone, so a word has the same ids wherever
it stands: it is encoded once by the library and looked up from then on. Every other tokenizer, and every text with a
character on which two Unicode tables might differ, goes through the library as a whole. Both ways give the same ids (tested).
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ablate.data.building import pool

_SURE = "\t-\r -\u0524\u0590-\u05f4\u0600-\u06ff\u2000-\u2064\u20a0-\u20bf\u2100-\u23ff\u2500-\u27bf"
"""Characters (Latin, Greek, Cyrillic, Hebrew, Arabic, punctuation, symbols) whose classes no Unicode version changes."""
_UNSURE = re.compile(f"[^{_SURE}]")
_CUT = re.compile(r"(?<=\S)\s")
PIECE = 1_000_000
"""Characters of a piece. White space that follows something else always begins a word, so a cut before it changes nothing for a byte-level
BPE. Other tokenizers encode a document of more than this piece by piece, which is how their memory stays bounded."""
MOST_WORDS = 400_000
"""In the table; when it is full it is begun anew."""
ALONE_CHARACTERS = 6_000_000
"""What one process encodes before others are started, which takes them half a second."""


@dataclass(frozen=True)
class Encoded:
    """Some documents as ids."""

    ids: NDArray[np.unsignedinteger[Any]]
    """One after another, each followed by the end."""
    documents: NDArray[np.int64]
    """[documents, 2]: ids (the end included), UTF-8 bytes (without it)."""


class Encoder:
    """Texts to ids; special tokens written in a text are read as the text they are."""

    def __init__(self, definition: str, end: int, dtype: str) -> None:
        """definition: a tokenizer.json; end: the id that follows every document."""
        self._plain = Tokenizer.from_str(definition)
        self._plain.no_truncation()
        self._plain.no_padding()
        self._plain.encode_special_tokens = True
        self._end = np.array([end], dtype).tobytes()
        self._dtype = np.dtype(dtype)
        self._table = _Table(self._plain, self._dtype) if _by_words(json.loads(definition)) else None

    def encode(self, texts: Sequence[str]) -> Encoded:
        parts = [self._whole(text) if self._table is None else self._looked_up(self._table, text) for text in texts]
        counts = [(len(part) // self._dtype.itemsize + 1, len(text.encode())) for part, text in zip(parts, texts, strict=True)]
        return Encoded(np.frombuffer(self._end.join([*parts, b""]), self._dtype), np.array(counts, np.int64).reshape(-1, 2))

    def _looked_up(self, table: _Table, text: str) -> bytes:
        if _UNSURE.search(text):
            return self._whole(text)
        if len(table) > MOST_WORDS:
            table.clear()
        words = _words()
        return b"".join([b"".join(map(table.__getitem__, words(piece))) for piece in _pieces(text)])

    def _whole(self, text: str) -> bytes:
        encoded = self._plain.encode_batch_fast(list(_pieces(text)), add_special_tokens=False)
        return b"".join([np.array(one.ids, self._dtype).tobytes() for one in encoded])


class _Table(dict[str, bytes]):
    """Word → its ids."""

    def __init__(self, plain: Tokenizer, dtype: np.dtype[Any]) -> None:
        super().__init__()
        self._plain, self._dtype = plain, dtype

    def __missing__(self, word: str) -> bytes:
        ids = np.array(self._plain.encode(word, add_special_tokens=False).ids, self._dtype).tobytes()
        self[word] = ids
        return ids


def encoded(texts: Iterator[list[str]], definition: str, end: int, dtype: str, processes: int) -> Iterator[Encoded]:
    """The blocks of texts as ids, in their order; by `processes` processes where there is much."""
    encoder, done = Encoder(definition, end, dtype), 0
    for block in texts:
        yield encoder.encode(block)
        done += sum(map(len, block))
        if processes > 1 and done > ALONE_CHARACTERS:
            yield from _by_many(texts, (definition, end, dtype), processes)


def _by_many(texts: Iterator[list[str]], encoder: tuple[str, int, str], processes: int) -> Iterator[Encoded]:
    with pool(processes, _start, encoder) as many:
        waiting: deque[Future[Encoded]] = deque()
        try:
            for block in texts:
                waiting.append(many.submit(_encode, block))
                if len(waiting) >= 3 * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            many.shutdown(cancel_futures=True)


_of_this_process: list[Encoder] = []


def _start(definition: str, end: int, dtype: str) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _of_this_process.append(Encoder(definition, end, dtype))


def _encode(texts: list[str]) -> Encoded:
    return _of_this_process[0].encode(texts)


def _by_words(definition: dict[str, Any]) -> bool:
    """Whether the tokenizer is a byte-level BPE that parts text by GPT-2's pattern and by nothing else."""
    split, added = definition["pre_tokenizer"] or {}, definition["added_tokens"]
    return (
        definition["model"]["type"] == "BPE"
        and not definition["model"].get("dropout")
        and definition["normalizer"] is None
        and (split.get("type"), split.get("add_prefix_space"), split.get("use_regex", True)) == ("ByteLevel", False, True)
        and all(token["special"] for token in added)
    )


@cache
def _words() -> Callable[[str], list[str]]:
    """GPT-2's pattern (Radford et al. 2019), which the library's ByteLevel pre-tokenizer holds: contractions, letters, numbers, others,
    white space. The classes are written out, for the characters that are _SURE."""
    known = [c for c in map(chr, range(0x2800)) if not _UNSURE.match(c)]
    letters, numbers = (_ranges([c for c in known if unicodedata.category(c)[0] == kind]) for kind in "LN")
    spaces = _ranges([c for c in known if c.isspace()])
    other = f"[^{spaces}{letters}{numbers}]"
    pattern = rf"'(?:[stmd]|re|ve|ll)| ?[{letters}]+| ?[{numbers}]+| ?{other}+|[{spaces}]+(?![^{spaces}])|[{spaces}]+"
    return re.compile(pattern).findall


def _ranges(characters: list[str]) -> str:
    found: list[list[str]] = []
    for c in characters:
        if found and ord(found[-1][1]) == ord(c) - 1:
            found[-1][1] = c
        else:
            found.append([c, c])
    return "".join(f"{re.escape(first)}-{re.escape(last)}" for first, last in found)


def _pieces(text: str) -> Iterator[str]:
    begin = 0
    while len(text) - begin > PIECE and (cut := _CUT.search(text, begin + PIECE)):
        yield text[begin : cut.start()]
        begin = cut.start()
    yield text[begin:]
