"""GPUs that are known by name: what the maker states of each. Pure facts, no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """From NVIDIA's data sheets."""

    bytes: int
    """Of its memory, as it is sold; what the driver reports is a little more."""
    peak_flops: float
    """Dense bfloat16 FLOP/s of its tensor cores, sums in float32."""
    reported: tuple[str, ...]
    """The exact names under which CUDA reports it. A board that is not here has no peak and so no MFU: boards of one family
    differ by a factor of two."""


_GB = 1_000_000_000

GPUS: dict[str, Gpu] = {
    "A100-40GB": Gpu(40 * _GB, 312e12, ("NVIDIA A100-SXM4-40GB", "NVIDIA A100-PCIE-40GB")),
    "A100-80GB": Gpu(80 * _GB, 312e12, ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 80GB PCIe")),
    "H100": Gpu(80 * _GB, 989.4e12, ("NVIDIA H100 80GB HBM3",)),
    "H100-PCIe": Gpu(80 * _GB, 756e12, ("NVIDIA H100 PCIe",)),
    "H200": Gpu(141 * _GB, 989.4e12, ("NVIDIA H200",)),
    "L4": Gpu(24 * _GB, 121e12, ("NVIDIA L4",)),
    "L40S": Gpu(48 * _GB, 362.05e12, ("NVIDIA L40S",)),
    "A10G": Gpu(24 * _GB, 70e12, ("NVIDIA A10G",)),
    "RTX-4090": Gpu(24 * _GB, 165.2e12, ("NVIDIA GeForce RTX 4090",)),
}
"""By the word that a study writes in launch.gpu."""


def of(reported: str) -> str | None:
    """The word for the GPU that CUDA reports under this name; None where it is not known."""
    return next((word for word, gpu in GPUS.items() if reported in gpu.reported), None)
