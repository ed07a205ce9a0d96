"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch loads: two threads on a busy core are slower than one


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of sample texts and benchmarks beside the checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the sample texts (../shared/data beside the checkout) are not on this machine")
    return folder
