"""LAMB in plain torch, which has none: Adam's update, scaled for each tensor to the size of its weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Lamb(torch.optim.Optimizer):
    """You et al. 2020 (1904.00962, algorithm 2), as NVIDIA Apex's FusedLAMB defines it.

    m ← β₁ m + (1 − β₁) g;  v ← β₂ v + (1 − β₂) g²;  u = (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε) + λ w;
    w ← w − lr · (‖w‖ / ‖u‖) · u, norms being those of the tensor; the ratio is 1 where either norm is 0.

    As in FusedLAMB a tensor without weight decay (λ = 0) is not scaled: its ratio is 1. FusedLAMB also clips by the
    global norm of the gradients; here that is done before, for every optimiser alike (train/optim.py).
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, betas: tuple[float, float], eps: float) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every tensor that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)

    def _update(self, weight: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=weight.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
        (beta1, beta2), decay = group["betas"], group["weight_decay"]
        step, first, second = state["step"], state["exp_avg"], state["exp_avg_sq"]
        step += 1
        first.lerp_(weight.grad, 1 - beta1)
        second.mul_(beta2).addcmul_(weight.grad, weight.grad, value=1 - beta2)
        root = (second / (1 - beta2**step)).sqrt_().add_(group["eps"])
        update = (first / (1 - beta1**step)).div_(root).add_(weight, alpha=decay)
        if decay:
            norm, size = weight.norm(), update.norm()
            update *= torch.where((norm > 0) & (size > 0), norm / size, 1.0)
        weight.sub_(update, alpha=group["lr"])
