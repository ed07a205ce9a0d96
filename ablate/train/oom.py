"""Running out of memory: how to tell that from other errors, and what a user is told when nothing smaller is left to try."""

from __future__ import annotations

import torch

from ablate.errors import RunError
from ablate.model.memory import Memory

# What torch says where it has no class of its own for it: the CPU's allocator (two wordings); cuBLAS and cuDNN for their workspaces;
# CUDA and Triton where a graph or a kernel is loaded into what the allocator has left; and a compiled pass on a CPU, which names the
# call that failed (of a tensor, or of an operator that makes its own) and leaves the reason on stderr: its shapes are fixed and it says
# of an index that is out of bounds in other words, so what fails a call is memory.
_WORDS = ("can't allocate memory", "not enough memory", "STATUS_ALLOC_FAILED", "out of memory", "API call failed at")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory of the device or of the host ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


def one_is_too_much(needed: Memory, seq_len: int, device: torch.device) -> RunError:
    """The error when one sequence a pass does not fit; `needed` for one."""
    parts = {
        "weights": needed.parameters, "gradients": needed.gradients, "optimiser": needed.optimizer,
        "activations": needed.activations, "logits": needed.logits,
    }  # fmt: skip
    total = " + ".join(f"{name} {_gigabytes(size)}" for name, size in parts.items())
    return RunError(
        f"out of memory{_of(device)} with one sequence of {seq_len:,} tokens a pass, which by estimate takes {total} = "
        f"{_gigabytes(needed.total)}; lower data.seq_len, params or launch.pack, set launch.activation_checkpointing: true, or spread "
        "the run over more devices (launch.devices)"
    )


def in_the_update(device: torch.device) -> RunError:
    """The error when memory ran out inside the optimiser: some tensors may have been updated and others not."""
    return RunError(
        f"out of memory{_of(device)} in the optimiser's update, which may be half done, so this state was thrown away and the last "
        "checkpoint kept; free memory on the device, or spread the run over more (launch.devices), then run the same command again"
    )


def _of(device: torch.device) -> str:
    return f" on a GPU of {_gigabytes(torch.cuda.get_device_properties(device).total_memory)}" if device.type == "cuda" else ""


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
