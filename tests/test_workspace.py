"""Done means renamed into place: nobody ever sees half a file, and what was there survives a failure."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ablate.errors import DiskFullError
from ablate.workspace import read_json, renamed_into_place, write_json


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "outcome.json"
    write_json(path, {"status": "done"})
    with pytest.raises(RuntimeError), renamed_into_place(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"status": "done"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_has_its_own_error(tmp_path: Path) -> None:
    path = tmp_path / "outcome.json"
    write_json(path, 1)
    with pytest.raises(DiskFullError, match="no room left"), renamed_into_place(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert read_json(path) == 1


def test_no_number_that_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", float("nan"))
    assert list(tmp_path.iterdir()) == []
