"""Rules about devices, and what is recorded of them."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

import pytest
import torch

from ablate.errors import StudyError
from ablate.train import device

CPU = torch.device("cpu")


def test_a_cpu_has_no_peak_and_so_no_mfu() -> None:
    said = device.describe(CPU)
    assert said["peak_flops"] is None and said["device"] and said["threads"] >= 1
    assert said["versions"]["torch"].startswith(torch.__version__.split("+")[0])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_missing_gpu_is_refused() -> None:
    assert device.pick("auto") == device.pick("cpu") == CPU
    with pytest.raises(StudyError, match="no CUDA device"):
        device.pick("cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_gpu_is_taken() -> None:
    assert device.pick("auto").type == device.pick("cuda").type == "cuda"
    assert device.peak_memory(device.pick("cuda")) >= 0


def test_without_the_headers_of_python_nothing_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / name))
    assert not device.can_compile()
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "Python.h").touch()
    assert device.can_compile() is (shutil.which("g++") is not None or shutil.which("clang++") is not None)


def test_precision_is_a_rule() -> None:
    assert device.precision(CPU) == device.precision(CPU) in ("float32", "bfloat16")


def test_memory_is_in_bytes() -> None:
    assert 50e6 < device.peak_memory(CPU) < 1e12


def test_without_a_compiler_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    assert not device.can_compile()
