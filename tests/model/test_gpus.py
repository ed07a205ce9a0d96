"""What is known of GPUs."""

from __future__ import annotations

from typing import get_args

from ablate.model import gpus
from ablate.study import spec


def test_a_study_may_name_every_gpu_and_no_other() -> None:
    assert get_args(spec.Gpu) == tuple(gpus.GPUS)


def test_a_gpu_is_known_by_its_exact_name() -> None:
    assert gpus.of("NVIDIA A100 80GB PCIe") == "A100-80GB"
    assert gpus.of("NVIDIA H100") is None  # SXM, PCIe or NVL: no guess
    names = [name for gpu in gpus.GPUS.values() for name in gpu.reported]
    assert len(names) == len(set(names))
