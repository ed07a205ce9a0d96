"""Which device a job uses, what it may do there, and what is recorded about it. Rules only: nothing is timed,
because a choice that depends on timing could differ after a restart."""

from __future__ import annotations

import gc
import os
import platform
import resource
import shutil
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from ablate.errors import StudyError
from ablate.model import gpus

Precision = Literal["float32", "bfloat16"]


def pick(device: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device asked for; auto is the current GPU where there is one. StudyError where there is no such device."""
    if device == "cuda" and not torch.cuda.is_available():
        raise StudyError("launch.device: cuda is asked for, but torch sees no CUDA device here; write auto or cpu")
    if device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def precision(device: torch.device) -> Precision:
    """What `precision: auto` means: bfloat16 where the hardware multiplies it.

    On a CPU with AVX512_BF16 that made a compiled step 1.17 times as fast at 0.1M parameters, 1.45 at 0.3M and 1.6 at 1M,
    so it does not depend on the size; where a CPU only emulates it, it is slower at every size.
    """
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    flags = _first("/proc/cpuinfo", "flags").split()
    return "bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def can_compile() -> bool:
    """Whether torch.compile can build kernels here: it needs a C++ compiler (on CUDA triton the C compiler that comes with one) and
    Python's headers, which some systems install apart."""
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    return headers.exists() and any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++"))


def describe(device: torch.device) -> dict[str, Any]:
    """What is recorded with an attempt."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _first("/proc/cpuinfo", "model name") or platform.machine()
    word = gpus.of(name) if device.type == "cuda" else None
    return {
        "device": name,
        "peak_flops": gpus.GPUS[word].peak_flops if word else None,
        "host": platform.node(),
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("torch", "transformers", "safetensors", "numpy")},
        },
    }


def free_unreferenced(device: torch.device) -> None:
    """On a GPU, give back the memory of models that nobody uses any more. They refer to themselves (a compiled method of a
    module is its attribute), so that they would stay until Python's collector comes by."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def peak_memory(device: torch.device) -> int:
    """Most bytes held so far: by torch on the GPU, or by this process on the CPU.

    On Linux from /proc: getrusage's figure of a process begins at that of the process which started it.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if high := _first("/proc/self/status", "VmHWM"):
        return int(high.split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def held_memory(device: torch.device) -> int:
    """Bytes held now: by torch on the GPU, or by this process on the CPU (0 where the system does not say)."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return int((_first("/proc/self/status", "VmRSS") or "0").split()[0]) * 1024


def _first(table: str, key: str) -> str:
    """The first entry of that name in one of Linux's tables; nothing on other systems."""
    try:
        lines = Path(table).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
