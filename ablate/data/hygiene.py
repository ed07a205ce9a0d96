"""Which documents of a source are kept, and as what text: normalised, of a length asked for, each once.

Near-duplicates are found by MinHash (Broder 1997) over 5-word shingles: 112 minima in 14 bands of 8 (those of FineWeb, Penedo et al.
2024), so that two texts whose shingles have the Jaccard similarity s are taken for one with probability 1 - (1 - s^8)^14: 57% at 0.7,
92% at 0.8, 99.96% at 0.9. Memory: 4 bytes a document for exact and 56 for near-duplicates, and a few for what is new; the
documents themselves are not kept. Of a hash 48 bits are: of 10^8 documents some 18 are taken for copies by chance, and one in 14,000
for a near-duplicate.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

from ablate.data import hashes
from ablate.data.blocks import blocks
from ablate.data.hashes import Hashes
from ablate.data.sets import Packed, Seen
from ablate.study import spec

VERSION = 2
"""Raise it when the same rules would keep other documents or other text."""
SHINGLE_WORDS = 5
BANDS, ROWS = 14, 8
SAMPLES = 3
SAMPLE_CHARACTERS = 200
_SEED = 1


@dataclass
class Tally:
    """What became of the documents that have passed: how many were kept, and of those left out how many and some samples, by reason.
    read = kept + dropped.

    Reasons: empty_file, filtered and unknown (by `where`), empty, short, long, duplicates, near_duplicates, straddles (alike to a
    held-out document and to one that is not), contaminated. What was `cut` out of documents that are kept is counted apart
    (decontaminate.py): they go on as several.
    """

    read: int = 0
    kept: int = 0
    held_out: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    samples: dict[str, list[str]] = field(default_factory=dict)

    def keep(self, held_out: bool = False) -> None:
        """One more that is kept. Documents count when it is decided what becomes of them, so that the sum is right at every moment."""
        self.read += 1
        self.kept += 1
        self.held_out += held_out

    def leave_out(self, reason: str, text: str) -> None:
        """One more that is dropped."""
        self.read += 1
        self._count(self.dropped, reason, text)

    def take_back(self, reason: str, text: str) -> None:
        """One that was kept so far is dropped after all."""
        self.kept -= 1
        self._count(self.dropped, reason, text)

    def cut_out(self, reason: str, text: str) -> None:
        """Something of a document that is kept."""
        self._count(self.cut, reason, text)

    def _count(self, counts: dict[str, int], reason: str, text: str) -> None:
        counts[reason] = counts.get(reason, 0) + 1
        shown = self.samples.setdefault(reason, [])
        if len(shown) < SAMPLES:
            shown.append(text[:SAMPLE_CHARACTERS].encode(errors="replace").decode())  # half a surrogate pair cannot be printed


@dataclass(frozen=True)
class Document:
    """A document that is kept."""

    text: str
    key: int
    """128 bits of the SHA-256 of the text."""
    held_out: bool


def normalised(text: str, form: Literal["NFC", "NFKC", "none"] = "NFC") -> str:
    """The Unicode normal form, newlines as \\n, no blank lines or spaces around the document; `none`: the text as it is."""
    if form == "none":
        return text
    return unicodedata.normalize(form, text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def key_of(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def distinct(texts: Iterable[str], rules: spec.Hygiene, tally: Tally) -> Iterator[tuple[str, int]]:
    """The texts that the rules keep, normalised, with their keys, exact duplicates (unless dedup: none) dropped. The tally counts
    those that are dropped; whoever takes the others counts these."""
    seen = Seen()
    for raw in texts:
        text = normalised(raw, rules.normalize)
        key = key_of(text)
        if reason := _unfit(text, rules):
            tally.leave_out(reason, text)
        elif rules.dedup != "none" and seen.add(key >> 80):
            tally.leave_out("duplicates", text)
        else:
            yield text, key


def clean(texts: Iterable[str], rules: spec.Hygiene, is_held_out: Callable[[int], bool], tally: Tally) -> Iterator[Document]:
    """The documents that are kept, in order, each with its side of the held-out split.

    A near-duplicate of an earlier document is dropped (dedup: near), else it goes to that document's side, whatever its own key
    says: no document that is trained on has a near-duplicate among the held-out ones. One that is alike to documents of both sides is
    dropped.
    """
    before = Packed()
    for block in blocks(distinct(texts, rules, tally), lambda kept: len(kept[0]), hashes.BLOCK_CHARACTERS):
        here: dict[int, bool] = {}
        for (text, key), bands, sides in zip(block, *_looked_up([text for text, _ in block], before), strict=True):
            sides |= {here[band] for band in bands if band in here}
            if sides and rules.dedup == "near":
                tally.leave_out("near_duplicates", text)
            elif len(sides) > 1:
                tally.leave_out("straddles", text)
            else:
                held_out = sides.pop() if sides else is_held_out(key)
                here.update(dict.fromkeys(bands, held_out))
                tally.keep(held_out)
                yield Document(text, key, held_out)
        before.add(np.array([band | side for band, side in here.items()], np.uint64))


def _looked_up(texts: Sequence[str], before: Packed) -> tuple[list[list[int]], list[set[bool]]]:
    """Of each text its bands, 48 bits whose lowest is free for the side, and the sides of the earlier documents that it is alike to."""
    bands = (band_hashes(texts) >> np.uint64(16)) & ~np.uint64(1)
    found = np.stack([before.find(bands | np.uint64(side)).any(axis=1) for side in (0, 1)], axis=1)
    return bands.tolist(), [{bool(side) for side in (0, 1) if row[side]} for row in found]


def band_hashes(texts: Sequence[str]) -> Hashes:
    """[texts, BANDS]: two texts that agree in one column are taken for near-duplicates. A text of fewer than SHINGLE_WORDS words is
    alike only to one of the same words."""
    grams, starts = _shingles(texts)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(grams, starts, BANDS * ROWS, _SEED)
    minima = np.array(matrix.to_rows(), np.uint64).reshape(len(texts), BANDS, ROWS)
    bands = minima[:, :, 0]
    for row in range(1, ROWS):
        bands = hashes.joined(bands, minima[:, :, row])
    return hashes.joined(bands, np.broadcast_to(np.arange(BANDS, dtype=np.uint64), bands.shape))


def _unfit(text: str, rules: spec.Hygiene) -> str | None:
    if not text.strip():
        return "empty"
    if len(text) < rules.min_chars:
        return "short"
    return "long" if rules.max_chars is not None and len(text) > rules.max_chars else None


def _shingles(texts: Sequence[str]) -> tuple[Hashes, NDArray[np.uint64]]:
    """The hashes of the shingles of all texts, and where those of each begin ([texts + 1])."""
    words, starts = hashes.words(texts)
    *_, (_, grams) = hashes.ngrams(words, SHINGLE_WORDS)
    own = [grams[a : b - SHINGLE_WORDS + 1] if b - a >= SHINGLE_WORDS else _whole(words[a:b], text)
           for text, a, b in zip(texts, starts[:-1].tolist(), starts[1:].tolist(), strict=True)]  # fmt: skip
    return np.concatenate(own), np.cumsum([0, *map(len, own)]).astype(np.uint64)


def _whole(words: Hashes, text: str) -> Hashes:
    content = words.tobytes() if words.size else text.encode()
    return np.frombuffer(hashlib.sha256(content).digest()[:8], np.uint64)
