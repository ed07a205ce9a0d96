"""How rows are put into batches."""

from __future__ import annotations

import random
from itertools import combinations, pairwise

from ablate.evals.trees import BATCH_TOKENS, CALL_TOKENS, by_length


def cost(batches: list[list[int]]) -> int:
    return sum(len(batch) * max(batch) + CALL_TOKENS for batch in batches)


def fits(batch: list[int]) -> bool:
    return len(batch) == 1 or len(batch) * max(batch) <= BATCH_TOKENS


def every_way(rows: list[int]) -> list[list[list[int]]]:
    """All cuts of the sorted rows whose batches are small enough."""
    ordered, places = sorted(rows), range(1, len(rows))
    cuts = [(0, *some, len(rows)) for n in range(len(rows)) for some in combinations(places, n)]
    ways = [[ordered[a:b] for a, b in pairwise(cut)] for cut in cuts]
    return [way for way in ways if all(map(fits, way))]


def test_batches_hold_every_row_once_and_cost_least() -> None:
    generator = random.Random(0)
    for _ in range(5):
        rows = [generator.randrange(1, 400) for _ in range(9)] + [2 * BATCH_TOKENS]
        batches = list(by_length(rows, int))
        assert [row for batch in batches for row in batch] == sorted(rows)
        assert all(map(fits, batches))
        assert cost(batches) == min(map(cost, every_way(rows)))
    assert list(by_length([], int)) == []


def test_short_rows_share_a_batch_and_far_lengths_do_not() -> None:
    assert [len(batch) for batch in by_length([10] * 30, int)] == [30]
    assert list(by_length([10, 10, 10, 200, 200], int)) == [[10, 10, 10], [200, 200]]
