"""Fixtures every test may use."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch loads: two threads on a busy core are slower than one
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # as in jobs: more are processes that first load torch themselves

LONGEST = ("test_drive.py", "test_agreement.py", "test_baselines.py", "test_devices.py", "test_full_disk.py")
"""Files that are begun first, whole files being dealt to the workers: none is left alone with one of these at the end."""


def pytest_configure(config: pytest.Config) -> None:
    """One folder of compiled kernels for all tests, unless one is named, so that a shape is compiled once; gone when they end."""
    if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="kernels-")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder.name  # the workers, started later, inherit it
        config.add_cleanup(folder.cleanup)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of sample texts and benchmarks beside the checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the sample texts (../shared/data beside the checkout) are not on this machine")
    return folder
