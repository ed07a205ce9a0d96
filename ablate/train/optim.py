"""The optimiser a recipe names, its gradient clipping, and its state as named tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Optimizer:
    """Fused AdamW (Loshchilov and Hutter 2019, 1711.05101); weight decay acts on matrices only."""

    def __init__(self, model: nn.Module | Iterable[tuple[str, Tensor]], recipe: dict[str, Any]) -> None:
        every = model.named_parameters() if isinstance(model, nn.Module) else model
        named = [(name, p) for name, p in every if p.requires_grad]
        settings = recipe["optimizer"]
        groups = [
            {"params": [p for _, p in named if p.dim() > 1], "weight_decay": settings["weight_decay"]},
            {"params": [p for _, p in named if p.dim() <= 1], "weight_decay": 0.0},
        ]
        self._named = named
        self._lr = float(recipe["lr"])
        self._clip = float(recipe["clip"])
        self._adamw = torch.optim.AdamW(groups, lr=self._lr, betas=tuple(settings["betas"]), eps=settings["eps"], fused=True)

    def step(self, scale: float) -> Tensor:
        """One update at `scale` of the peak learning rate; returns the gradient's norm before clipping (a tensor, not yet waited for)."""
        norm = nn.utils.clip_grad_norm_([p for _, p in self._named], self._clip)
        for group in self._adamw.param_groups:
            group["lr"] = self._lr * scale
        self._adamw.step()
        self._adamw.zero_grad(set_to_none=True)
        return norm

    def tensors(self) -> dict[str, Tensor]:
        """Its state: the two moments and the count of every parameter that has been updated."""
        return {f"{key}/{name}": value for name, p in self._named for key, value in self._adamw.state[p].items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over exactly what `tensors` gave, or start afresh where it gave nothing."""
        self._adamw.state.clear()
        for name, p in self._named:
            for key in ("step", "exp_avg", "exp_avg_sq"):
                if f"{key}/{name}" in tensors:
                    self._adamw.state[p][key] = tensors[f"{key}/{name}"].to(p.device, copy=True)
