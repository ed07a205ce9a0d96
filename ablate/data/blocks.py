"""Documents by the block, so that what is done with many at once needs the memory of a few."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def blocks(items: Iterable[T], size: Callable[[T], int], enough: int, most: int | None = None) -> Iterator[list[T]]:
    """Lists of items in a row, each ended by the item that brings its sizes to `enough` or that is its `most`-th. Nothing is read ahead."""
    block: list[T] = []
    total = 0
    for item in items:
        block.append(item)
        total += size(item)
        if total >= enough or len(block) == most:
            yield block
            block, total = [], 0
    if block:
        yield block
