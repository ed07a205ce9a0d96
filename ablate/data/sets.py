"""Sets of hashes in few bytes each: what there is to know of the documents that have passed, to tell whether one was there before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ablate.data.hashes import Hashes


class Sorted:
    """A set of 64-bit numbers in 8 bytes each, 16 while runs are merged: sorted runs, each at most half as long as the one before it."""

    def __init__(self) -> None:
        self._runs: list[Hashes] = []

    @property
    def size(self) -> int:
        return sum(run.size for run in self._runs)

    def find(self, keys: Hashes) -> NDArray[np.bool_]:
        """Which of the keys are in the set."""
        found = np.zeros(keys.shape, np.bool_)
        for run in self._runs:
            found |= run[np.minimum(np.searchsorted(run, keys), run.size - 1)] == keys
        return found

    def add(self, keys: Hashes) -> None:
        if keys.size:
            self._runs.append(np.sort(keys))
        while len(self._runs) > 1 and self._runs[-2].size < 2 * self._runs[-1].size:
            self._runs.append(_merged([self._runs.pop(), self._runs.pop()]))

    def taken(self) -> Hashes:
        """All of the numbers, in their order; the set is empty afterwards."""
        runs, self._runs = self._runs, []
        return _merged(runs)


class Packed:
    """A set of 48-bit numbers in 4 bytes each: the upper 16 bits are told by the place where the lower 32 stand.

    What is added is gathered first and then merged in place: there is never a second copy of the set.
    """

    GATHERED = 1 << 20
    """Numbers that are gathered at least, and at least a 64th of the set."""
    _TOGETHER = 1 << 8

    def __init__(self) -> None:
        self._gathered = Sorted()
        self._low = np.zeros(0, np.uint32)
        self._starts = np.zeros((1 << 16) + 1, np.int64)
        """Where the numbers of each upper half begin in `_low`; last, the end."""

    def find(self, keys: Hashes) -> NDArray[np.bool_]:
        """Which of the keys are in the set."""
        found = self._gathered.find(keys)
        return found | self._find_packed(keys) if self._low.size else found

    def __contains__(self, key: int) -> bool:
        """For one key, which costs less than an array of one."""
        here = self._low[self._starts[key >> 32] : self._starts[(key >> 32) + 1]]
        low = np.uint32(key & 0xFFFFFFFF)
        at = here.searchsorted(low)
        return bool(at < here.size and here[at] == low) or bool(self._gathered.find(np.array([key], np.uint64))[0])

    def add(self, keys: Hashes) -> None:
        self._gathered.add(keys)
        if self._gathered.size >= max(self.GATHERED, self._low.size >> 6):
            self._merge(self._gathered.taken())

    def _find_packed(self, keys: Hashes) -> NDArray[np.bool_]:
        """A binary search for all keys at once, each among the numbers of its upper half."""
        high, low = (keys >> np.uint64(32)).astype(np.int64), keys.astype(np.uint32)
        first, end, last = self._starts[high], self._starts[high + 1], self._low.size - 1
        after = end
        while (is_open := first < after).any():
            middle = (first + after) >> 1
            is_below = is_open & (self._low[np.minimum(middle, last)] < low)
            first, after = np.where(is_below, middle + 1, first), np.where(is_open & ~is_below, middle, after)
        found: NDArray[np.bool_] = (first < end) & (self._low[np.minimum(first, last)] == low)
        return found

    def _merge(self, new: Hashes) -> None:
        """Sorted numbers put in their places, from the last on: what has still to be moved lies below what is written."""
        before = np.searchsorted(new, np.arange((1 << 16) + 1, dtype=np.uint64) << np.uint64(32))
        starts = self._starts + before
        self._low.resize(self._low.size + new.size, refcheck=False)
        for first in range((1 << 16) - self._TOGETHER, -1, -self._TOGETHER):
            last = first + self._TOGETHER
            high = np.repeat(np.arange(first, last, dtype=np.uint64) << np.uint64(32), np.diff(self._starts[first : last + 1]))
            old = high | self._low[self._starts[first] : self._starts[last]]
            self._low[starts[first] : starts[last]] = _merged([old, new[before[first] : before[last]]]).astype(np.uint32)
        self._starts = starts


class Seen:
    """Keys of 48 bits that have passed, one at a time."""

    PENDING = 1 << 14

    def __init__(self) -> None:
        self._pending: set[int] = set()
        self._before = Packed()

    def add(self, key: int) -> bool:
        """Whether the key was there already; now it is."""
        if key in self._pending or key in self._before:
            return True
        self._pending.add(key)
        if len(self._pending) >= self.PENDING:
            self._before.add(np.fromiter(self._pending, np.uint64, len(self._pending)))
            self._pending.clear()
        return False


def _merged(runs: list[Hashes]) -> Hashes:
    """Sorted runs as one; the list is emptied, so that they are gone before the sort, which needs room of its own."""
    merged = np.concatenate(runs)
    runs.clear()
    merged.sort(kind="stable")
    return merged
