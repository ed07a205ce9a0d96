"""NVIDIA Apex, the only place that imports it: whether its fused optimisers work here, why not, and how they are made.

Its optimisers get float32 parameters, which are the master weights: the products are bfloat16 by autocast, and the
copies in bfloat16 are never updated. So a checkpoint of the parameters holds the masters, and either backend goes on
from the other's. (FusedAdam's own `master_weights=True` keeps masters for float16 and float32 parameters only: at the
commit that pyproject.toml names its branch for bfloat16 updates the rounded weights and never reads the masters,
apex/optimizers/fused_adam.py.)
"""

from __future__ import annotations

import json
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

_BUILD = "build NVIDIA's from its source as the README says"


@cache
def obstacle(device: torch.device) -> str | None:
    """Why Apex cannot optimise on `device`, as half a sentence; None where a real step of its FusedAdam gave the right numbers."""
    spec = find_spec("apex")
    if spec is None:
        return f"NVIDIA Apex is not installed; {_BUILD}"
    if not any((Path(place) / "optimizers").is_dir() for place in spec.submodule_search_locations or ()):
        return f"the package apex that is installed ({version()}) is an unrelated one of that name from PyPI; uninstall it and {_BUILD}"
    try:
        import_module("amp_C")
    except ImportError as e:
        return f"NVIDIA Apex is installed without working CUDA extensions ({e}); {_BUILD}, with APEX_CPP_EXT=1 APEX_CUDA_EXT=1"
    if device.type != "cuda":
        why = f"launch.device chose {device.type}" if torch.cuda.is_available() else "there is no GPU here"
        return f"NVIDIA Apex runs on a GPU and {why}"
    return _trial(device)


def version() -> str:
    """The installed version, with the commit it was built from where pip knows it: Apex calls every version 0.1."""
    try:
        installed = distribution("apex")
    except PackageNotFoundError:
        return "unknown"
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    commit = origin.get("vcs_info", {}).get("commit_id", "")
    return installed.version + (f"+{commit[:12]}" if commit else "")


def adam(groups: list[dict[str, Any]], lr: float, betas: tuple[float, float], eps: float) -> torch.optim.Optimizer:
    """FusedAdam as AdamW; its learning rates and step counts are tensors on the device (capturable)."""
    from apex.optimizers import FusedAdam

    made: torch.optim.Optimizer = FusedAdam(groups, lr=lr, betas=betas, eps=eps, adam_w_mode=True, capturable=True)
    return made


def lamb(groups: list[dict[str, Any]], lr: float, betas: tuple[float, float], eps: float) -> torch.optim.Optimizer:
    """FusedLAMB in Apex's form with learning rates and step counts on the device, FusedMixedPrecisionLamb.

    It does not clip: gradients come clipped already.
    """
    from apex.optimizers import FusedMixedPrecisionLamb

    made: torch.optim.Optimizer = FusedMixedPrecisionLamb(groups, lr=lr, betas=betas, eps=eps, max_grad_norm=float("inf"))
    return made


def _trial(device: torch.device) -> str | None:
    """Adam's first step moves each weight by the learning rate against the sign of its gradient."""
    weight = torch.zeros(8, device=device, requires_grad=True)
    weight.grad = torch.tensor([1.0, -1.0] * 4, device=device)
    try:
        adam([{"params": [weight], "weight_decay": 0.0}], lr=0.5, betas=(0.9, 0.95), eps=1e-8).step()
        moved = weight.detach().cpu()
    except Exception as e:
        return f"a trial step of NVIDIA Apex's FusedAdam failed on this GPU ({e})"
    if not torch.allclose(moved, torch.tensor([-0.5, 0.5] * 4)):
        return f"a trial step of NVIDIA Apex's FusedAdam gave wrong numbers on this GPU ({moved.tolist()[:2]}, not -0.5 and 0.5)"
    return None
