"""From a step to a batch: sequence i of a run is a function of the data, the seed, the shares and i alone.

Each source is an endless stream of sequences of its own (common to all arms), and a closed form says from which
source sequence i comes. So nothing depends on how sequences are cut into batches, on devices or on restarts, and
the sequences of a small budget are the first ones of a larger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.data.shards import Shards
from ablate.errors import DataError

Ints = NDArray[np.int64]


def assign(index: Ints, shares: Sequence[Fraction]) -> tuple[Ints, Ints]:
    """For each sequence index: which source it comes from, and how many earlier sequences came from that source.

    Source 1 has sequence i iff floor((i+1) r) > floor(i r), r its share: after n sequences it has had floor(n r). The
    sequences that it leaves are numbered anew, and source 2 takes of them by the same rule, with the share r2 / (1 - r1)
    of what is left; and so on; the last source takes what remains. Exact: fractions, no floats.

    Bound: after n sequences source s has had n*r_s + e sequences with |e| < 1 for one or two sources, |e| < k-1 for k.
    Proof: let m_s be the number that sources s, s+1, ... have had together, D_s its excess over n times their share,
    and q_s = r_s / (r_s + ... + r_k). D_1 = 0. Source s has had floor(m_s q_s) = m_s q_s - d_s, 0 <= d_s < 1, so its
    excess is D_s q_s - d_s, and D_{s+1} = D_s (1 - q_s) + d_s, hence 0 <= D_s < s-1 for s >= 2. So source s < k has an
    excess above -1 and below max(0, s-1), and the last one, for which q = 1 and d = 0, one in [0, k-1).
    """
    which = np.full(index.shape, len(shares) - 1, dtype=np.int64)
    earlier = index.copy()
    open_ = np.ones(index.shape, dtype=bool)
    for source, part in enumerate(_parts(shares)[:-1]):
        taken = _floor(earlier, part)
        mine = open_ & (_floor(earlier + 1, part) > taken)
        which[mine] = source
        earlier = np.where(mine, taken, np.where(open_, earlier - taken, earlier))
        open_ &= ~mine
    return which, earlier


def counts(sequences: int, shares: Sequence[Fraction]) -> list[int]:
    """How many of the first `sequences` sequences come from each source."""
    taken = []
    for part in _parts(shares):
        taken.append(sequences * part.numerator // part.denominator)
        sequences -= taken[-1]
    return taken


def _parts(shares: Sequence[Fraction]) -> list[Fraction]:
    """Of each source its share of what the sources before it leave."""
    if not shares or min(shares) < 0 or sum(shares) != 1:
        raise ValueError(f"the shares {', '.join(map(str, shares))} do not add up to exactly 1")
    parts, left = [], Fraction(1)
    for share in shares:
        parts.append(share / left if left else Fraction(0))
        left -= share
    # where the last shares are 0 the last source that has one takes what remains: its part is 1
    return parts


def _floor(index: Ints, part: Fraction) -> Ints:
    largest = int(index.max(initial=0)) * max(part.numerator, 1)
    if largest < 1 << 62 and part.denominator < 1 << 62:
        return index * part.numerator // part.denominator
    return (index.astype(object) * part.numerator // part.denominator).astype(np.int64)


@dataclass(frozen=True)
class Usage:
    """What was read of one source."""

    source: str
    """Its role in the study."""
    sequences: int
    tokens: int
    bytes: int
    """UTF-8 bytes of text; of a document read in part, in proportion to its tokens."""
    unique_tokens: int
    """Tokens read at least once (to within one sequence)."""
    epochs: float
    """tokens / tokens of one pass; 1 for an endless source, which repeats nothing."""
    shards: str
    """Folder in runs/data that holds the tokens."""


@dataclass(frozen=True)
class _Order:
    """One pass through the documents: document `documents[k]` lies at tokens offsets[k] to offsets[k+1] of the pass."""

    documents: Ints
    offsets: Ints
    bytes_before: NDArray[np.float64]
    """UTF-8 bytes before each of the offsets."""


class Stream:
    """The endless sequences of one source for one seed.

    Pass e through a finite source is its documents in an order drawn from (seed, role, e), one pass after the other;
    an endless source is its documents as they come. Window w is tokens [w*L, (w+1)*L] of that: L+1 tokens, the last
    being the first of the next window. Sequence j of an endless source is window j. In a finite source the windows that
    begin in one pass are shuffled too, by (seed, role, e): else a source of a few whole books would be read book by
    book, and a short run would end in one of them.
    """

    def __init__(self, shards: Shards, seed: int, role: str, seq_len: int) -> None:
        self.role = role
        self.seq_len = seq_len
        self.finite = shards.finite
        self._shards = shards
        self._seed = seed
        self._pass_tokens = int(shards.starts[-1])
        self._orders: dict[int, _Order] = {}
        self._shuffled: dict[int, Ints] = {}

    def sequences(self, j: Ints) -> Ints:
        """Sequences `j`, [n, seq_len + 1] token ids. DataError beyond what is prepared of an endless source."""
        if not self.finite:
            return self._tokens_in_order(j)
        positions = self._windows(j)[:, None] * self.seq_len + np.arange(self.seq_len + 1)
        epochs = positions // self._pass_tokens
        found = np.empty(positions.shape, dtype=np.int64)
        for epoch in range(int(epochs.min(initial=0)), int(epochs.max(initial=-1)) + 1):
            here = epochs == epoch
            if here.any():
                found[here] = self._tokens_of_pass(epoch, positions[here] - epoch * self._pass_tokens)
        return found

    def usage(self, sequences: int) -> Usage:
        """What the first `sequences` sequences read."""
        tokens = sequences * self.seq_len
        unique = min(tokens, self._pass_tokens) if self.finite else tokens
        epochs = tokens / self._pass_tokens if self.finite else float(tokens > 0)
        return Usage(self.role, sequences, tokens, round(self._bytes(sequences)), unique, epochs, self._shards.folder.name)

    def _tokens_in_order(self, j: Ints) -> Ints:
        positions = j[:, None] * self.seq_len + np.arange(self.seq_len + 1)
        self._check(int(positions.max(initial=-1)) + 1)
        return np.asarray(self._shards.tokens[positions], np.int64)

    def _check(self, tokens: int) -> None:
        if tokens > self._pass_tokens:
            raise DataError(
                f"only {self._pass_tokens} tokens of data.{self.role} are prepared, and {tokens} are asked for; "
                "run `ablate run` on the study, which prepares enough"
            )

    def _tokens_of_pass(self, epoch: int, positions: Ints) -> Ints:
        order = self._order(epoch)
        place = np.searchsorted(order.offsets, positions, side="right") - 1
        places = self._shards.starts[order.documents[place]] + positions - order.offsets[place]
        return np.asarray(self._shards.tokens[places], np.int64)

    def _first_window(self, epoch: int) -> int:
        """The first window that begins in pass `epoch`."""
        return -(-epoch * self._pass_tokens // self.seq_len)

    def _windows(self, j: Ints) -> Ints:
        """The windows that sequences `j` of a finite source are."""
        epochs = j * self.seq_len // self._pass_tokens
        windows = np.empty_like(j)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            windows[here] = self._shuffle(epoch)[j[here] - self._first_window(epoch)]
        return windows

    def _shuffle(self, epoch: int) -> Ints:
        if epoch not in self._shuffled:
            first = self._first_window(epoch)
            drawn = _permutation(self._first_window(epoch + 1) - first, self._seed, self.role, epoch, "windows")
            _keep_two(self._shuffled, epoch, first + drawn)
        return self._shuffled[epoch]

    def _order(self, epoch: int) -> _Order:
        if epoch not in self._orders:
            starts, byte_counts = self._shards.starts, self._shards.byte_counts
            count = byte_counts.size
            documents = _permutation(count, self._seed, self.role, epoch, "documents") if self.finite else np.arange(count)
            offsets, before = np.zeros(count + 1, np.int64), np.zeros(count + 1)
            np.cumsum(np.diff(starts)[documents], out=offsets[1:])
            np.cumsum(byte_counts[documents], out=before[1:])
            _keep_two(self._orders, epoch, _Order(documents, offsets, before))
        return self._orders[epoch]

    def _bytes(self, sequences: int) -> float:
        """UTF-8 bytes of the first `sequences` sequences: whole passes from end to end, then window by window."""
        if not self.finite:
            self._check(sequences * self.seq_len)
            return float(self._bytes_before(np.array([sequences * self.seq_len]))[0])
        epoch = sequences * self.seq_len // self._pass_tokens
        whole = min(self._first_window(epoch), sequences)
        rest = self._windows(np.arange(whole, sequences))
        ends = self._bytes_before((rest + 1) * self.seq_len)
        return float(self._bytes_before(np.array([whole * self.seq_len]))[0] + (ends - self._bytes_before(rest * self.seq_len)).sum())

    def _bytes_before(self, positions: Ints) -> NDArray[np.float64]:
        """Bytes of text before each of these tokens of the endless stream."""
        epochs = positions // self._pass_tokens if self.finite else np.zeros_like(positions)
        total = float(self._shards.byte_counts.sum())
        found = epochs.astype(np.float64) * total
        for epoch in np.unique(epochs).tolist():
            here, order = epochs == epoch, self._order(epoch)
            found[here] += np.interp(positions[here] - epoch * self._pass_tokens, order.offsets, order.bytes_before)
        return found


class Mixture:
    """The sequences of a run: its sources' streams, mixed by exact shares."""

    def __init__(self, streams: Sequence[Stream], shares: Sequence[Fraction]) -> None:
        _parts(shares)
        if len(streams) != len(shares):
            raise ValueError(f"{len(streams)} streams but {len(shares)} shares")
        self.streams = tuple(streams)
        self.shares = tuple(shares)

    def batch(self, first: int, count: int) -> Ints:
        """Sequences first to first + count - 1: [count, seq_len + 1] token ids."""
        which, earlier = assign(np.arange(first, first + count), self.shares)
        found = np.empty((count, self.streams[0].seq_len + 1), dtype=np.int64)
        for source, stream in enumerate(self.streams):
            mine = which == source
            if mine.any():
                found[mine] = stream.sequences(earlier[mine])
        return found

    def usage(self, count: int) -> list[Usage]:
        """What the first `count` sequences read of each source."""
        return [stream.usage(n) for stream, n in zip(self.streams, counts(count, self.shares), strict=True)]


def _permutation(size: int, *key: Any) -> Ints:
    """An order of `size` things drawn from `key`. Made of PCG64's raw output, which stays the same from NumPy to NumPy;
    that of Generator.permutation need not."""
    seed = int.from_bytes(hashlib.sha256("/".join(map(str, key)).encode()).digest(), "big")
    return np.argsort(np.random.PCG64(seed).random_raw(size), kind="stable")


def _keep_two(kept: dict[int, Any], epoch: int, value: Any) -> None:
    """Keep what is known of at most two passes: a batch lies in one, or across two."""
    while len(kept) >= 2:
        del kept[min(kept)]
    kept[epoch] = value
