"""Sets of hashes against Python's own, and the bytes that they take."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from ablate.data.hashes import Hashes
from ablate.data.sets import Packed, Seen, Sorted

EDGES = np.array([0, 1, (1 << 32) - 1, 1 << 32, (1 << 48) - (1 << 32), (1 << 48) - 1], np.uint64)


def numbers(seed: int, count: int) -> Hashes:
    """48 bits, some of them in crowded places and some there before."""
    draw = np.random.default_rng(seed)
    spread, close = draw.integers(0, 1 << 48, count, np.uint64), draw.integers(0, 3000, count, np.uint64) + np.uint64(5 << 32)
    return np.where(draw.random(count) < 0.3, close, spread)


@pytest.mark.parametrize("kind", [Sorted, Packed])
def test_what_was_added_is_found_and_nothing_else(kind: type[Sorted | Packed], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Packed, "GATHERED", 500)  # many merges
    kept, plain = kind(), set[int]()
    assert not kept.find(EDGES).any()
    for seed in range(60):
        keys = EDGES[seed % 2 :: 2] if seed in (20, 41) else numbers(seed, 20 * seed)
        kept.add(keys)
        plain |= set(keys.tolist())
        asked = np.concatenate([EDGES, numbers(seed // 2, 200), numbers(1000 + seed, 200), keys])
        assert kept.find(asked).tolist() == [key in plain for key in asked.tolist()]
    table = np.array(sorted(plain)[:600], np.uint64).reshape(200, 3)
    assert kept.find(table).all() and kept.find(table).shape == (200, 3)


def test_keys_that_pass_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Seen, "PENDING", 10)
    monkeypatch.setattr(Packed, "GATHERED", 30)
    seen, keys = Seen(), [*EDGES.tolist(), *numbers(0, 60).tolist()]
    assert [seen.add(key) for key in [*keys, *keys]] == [key in keys[:n] for n, key in enumerate(keys)] + [True] * len(keys)


def peak(kept: Sorted | Packed, count: int) -> float:
    """Bytes a number at the highest, filled in the blocks of a corpus."""
    draw = np.random.default_rng(0)
    tracemalloc.start()
    for _ in range(count // 2000):
        kept.add(draw.integers(0, 1 << 48, 2000, np.uint64))
    _, highest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return highest / count


def test_a_number_takes_the_bytes_that_are_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Packed, "GATHERED", 1 << 15)
    count = 1_000_000
    # 4 bytes; a 64th is gathered, at 16 in its own last merge; six tables of 65,537 places; half a byte for the rest
    assert peak(Packed(), count) < 4 + 16 / 64 + 6 * 8 * 65_537 / count + 0.5
    assert peak(Sorted(), count) < 17
