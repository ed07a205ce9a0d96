"""benchmarks/memory.py on files that are small for it: preparing more text takes no more memory."""

from __future__ import annotations

import sys

import pytest

from benchmarks.memory import prepared


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_five_times_the_bytes_take_no_more_memory() -> None:
    """40 and 200 MB, both long enough for a pool of processes. 60 MB more are allowed for what is under way between them when a peak is
    met: a file that was kept would take 160 MB more as bytes alone."""
    short, long = prepared(2_500, 1_800), prepared(12_500, 1_800)
    assert short.processes == long.processes > 1
    assert long.apart < short.apart + 60e6 < 2e9
