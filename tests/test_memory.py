"""benchmarks/memory.py on files that are small for it: preparing more text takes no more memory."""

from __future__ import annotations

import sys

import pytest

from benchmarks.memory import prepared


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_four_times_the_bytes_take_no_more_memory() -> None:
    """40 and 160 MB in as many documents, both long enough for a pool of processes. 150 MB more are allowed, for what is under way between
    them when a peak is met: a file that was kept would take 120 MB more as bytes alone, and several times that as text and tokens."""
    short, long = prepared(2_500, 1_800), prepared(2_500, 7_200)
    assert short.processes == long.processes > 1
    assert long.apart < short.apart + 150e6 < 2e9
