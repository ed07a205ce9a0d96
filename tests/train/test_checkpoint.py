"""A state survives whatever happens to its newest file."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from ablate.errors import DiskFullError
from ablate.train import checkpoint


def _state(value: float) -> dict[str, torch.Tensor]:
    return {"a": torch.full((3, 5), value), "step": torch.tensor(value), "half": torch.full((2,), value, dtype=torch.bfloat16)}


def _save(folder: Path, value: float) -> None:
    checkpoint.save(folder, "trunk", _state(value), {"step": int(value), "loss": value / 3})


def test_what_is_saved_comes_back_exactly(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path, "trunk") is None
    _save(tmp_path, 1.0)
    loaded = checkpoint.load(tmp_path, "trunk")
    assert loaded is not None
    tensors, progress = loaded
    assert progress == {"step": 1, "loss": 1 / 3}
    assert tensors.keys() == _state(1.0).keys()
    assert all(torch.equal(tensors[key], value) and tensors[key].dtype == value.dtype for key, value in _state(1.0).items())


@pytest.mark.parametrize("damage", [lambda b: b[:-7], lambda b: b[: len(b) // 3], lambda b: b"", lambda b: b[:-9] + b"x" + b[-8:]])
def test_a_damaged_file_gives_way_to_the_one_before(damage: object, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    newest = tmp_path / "trunk.safetensors"
    _save(tmp_path, 1.0)
    _save(tmp_path, 2.0)
    newest.write_bytes(damage(newest.read_bytes()))  # type: ignore[operator]
    with caplog.at_level(logging.WARNING):
        loaded = checkpoint.load(tmp_path, "trunk")
    assert loaded is not None and loaded[1]["step"] == 1
    assert str(newest) in caplog.text
    (tmp_path / "trunk.previous.safetensors").write_bytes(b"{}")
    assert checkpoint.load(tmp_path, "trunk") is None


def test_killed_between_the_two_renames(tmp_path: Path) -> None:
    _save(tmp_path, 1.0)
    (tmp_path / "trunk.safetensors").rename(tmp_path / "trunk.previous.safetensors")
    (tmp_path / ".trunk.safetensors.123.part").write_bytes(b"half")
    loaded = checkpoint.load(tmp_path, "trunk")
    assert loaded is not None and loaded[1]["step"] == 1
    assert not list(tmp_path.glob(".*.part"))


def test_remove_leaves_nothing(tmp_path: Path) -> None:
    _save(tmp_path, 1.0)
    _save(tmp_path, 2.0)
    checkpoint.remove(tmp_path, "trunk")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_sentence_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object, path: Path, __: object) -> None:  # what safetensors does on a real full disk, in its words
        path.write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    _save(tmp_path, 1.0)
    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(DiskFullError, match="no room left"):
        _save(tmp_path, 2.0)
    loaded = checkpoint.load(tmp_path, "trunk")
    assert loaded is not None and loaded[1]["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["trunk.safetensors"]
