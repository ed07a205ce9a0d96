"""The optimiser a recipe names, its gradient clipping, and its state as named tensors."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from ablate.errors import StudyError
from ablate.train import apex
from ablate.train.lamb import Lamb

_log = logging.getLogger(__name__)

Backend = Literal["apex", "torch"]
_STATE = ("step", "exp_avg", "exp_avg_sq")
_Lists = tuple[dict[str, Any], list[Tensor], list[Tensor], list[Tensor], list[Tensor]]
"""(group, its parameters, and of each its `_STATE`)"""


@cache
def backend_of(asked: Literal["auto", "apex", "torch"], device: torch.device) -> Backend:
    """What `optimizer.backend` means on `device`: auto is Apex on a GPU where it works, and says which.

    Raises StudyError where apex is asked for and cannot work.
    """
    if asked == "torch" or (asked == "auto" and device.type != "cuda"):
        return "torch"
    obstacle = apex.obstacle(device)
    if obstacle and asked == "apex":
        raise StudyError(f"train.optimizer.backend: apex is asked for, but {obstacle}; or write auto or torch")
    _log.warning("optimizer: %s", f"torch's, because {obstacle}" if obstacle else f"NVIDIA Apex's, version {apex.version()}")
    return "torch" if obstacle else "apex"


class Optimizer:
    """AdamW (Loshchilov and Hutter 2019, 1711.05101) or LAMB (train/lamb.py); weight decay acts on matrices only.

    Parameters and state are float32. The global norm of the gradients is clipped first, for every rule alike. The state's
    form does not depend on the backend: `step`, `exp_avg` and `exp_avg_sq` of each parameter.
    """

    def __init__(self, parameters: nn.Module | Iterable[tuple[str, Tensor]], recipe: dict[str, Any], backend: Backend = "torch") -> None:
        if isinstance(parameters, nn.Module):
            self._named: list[tuple[str, Tensor]] = [(name, p) for name, p in parameters.named_parameters() if p.requires_grad]
        else:
            self._named = list(parameters)
        settings = recipe["optimizer"]
        matrices, vectors = [p for _, p in self._named if p.dim() > 1], [p for _, p in self._named if p.dim() <= 1]
        groups = [{"params": matrices, "weight_decay": settings["weight_decay"]}, {"params": vectors, "weight_decay": 0.0}]
        self.backend = backend
        self.version = apex.version() if backend == "apex" else torch.__version__
        self._lr = float(recipe["lr"])
        self.clip = float(recipe["clip"])
        self._lists: list[_Lists] | None = None
        self._rule = _rule(settings, [group for group in groups if group["params"]], self._lr, backend)

    def step(self, scale: float) -> Tensor:
        """One update at `scale` of the peak learning rate; returns the gradient's norm before clipping (a tensor, not yet waited for)."""
        norm = nn.utils.clip_grad_norm_([p for _, p in self._named], self.clip)
        apply_together([self], [scale])
        return norm

    def _apply(self, scale: float) -> None:
        for group in self._rule.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(self._lr * scale)
            else:
                group["lr"] = self._lr * scale
        self._rule.step()
        for _, p in self._named:
            p.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """Its state: the two moments and the count of every parameter that has been updated."""
        found = {}
        for name, group, p in self._places():
            if state := self._rule.state.get(p):
                step = group["step"].float().reshape(()) if self.backend == "apex" else state["step"]
                found.update({f"step/{name}": step, f"exp_avg/{name}": state["exp_avg"], f"exp_avg_sq/{name}": state["exp_avg_sq"]})
        return found

    @property
    def is_new(self) -> bool:
        """Whether nothing has been updated, here or behind the state that was restored."""
        return not self._rule.state

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over exactly what `tensors` gave, under either backend, or start afresh where it gave nothing."""
        self._rule.state.clear()
        self._lists = None
        for name, group, p in self._places():
            given = {key: tensors[f"{key}/{name}"].to(p.device, copy=True) for key in _STATE if f"{key}/{name}" in tensors}
            if self.backend == "apex":  # counts the steps of a group, not of a parameter
                group["step"] = given.pop("step", torch.zeros((), device=p.device)).to(torch.int32).reshape(1)
            if given:
                self._rule.state[p] = given

    def _fused_lists(self) -> list[_Lists] | None:
        """What the call of fused AdamW takes, group by group; None for another rule, and before the first step."""
        fused = isinstance(self._rule, torch.optim.AdamW) and all(p in self._rule.state for _, p in self._named)
        if self._lists is None and fused:
            states = [(group, [self._rule.state[p] for p in group["params"]]) for group in self._rule.param_groups]
            self._lists = [(group, group["params"], *([state[key] for state in own] for key in _STATE)) for group, own in states]
        return self._lists

    def _places(self) -> list[tuple[str, dict[str, Any], Tensor]]:
        """Every parameter with its name and the rule's group that it is in."""
        names = {p: name for name, p in self._named}
        return [(names[p], group, p) for group in self._rule.param_groups for p in group["params"]]


def apply_together(optimizers: Sequence[Optimizer], scales: Sequence[float]) -> None:
    """The updates of optimisers over different parameters, whose gradients are clipped already: the same numbers as one by one.

    Fused AdamW is called directly, and once for all groups that agree in their rates, since of small tensors the calls take the time.
    """
    calls: dict[tuple[float, ...], list[list[Tensor]]] = {}
    for optimizer, scale in zip(optimizers, scales, strict=True):
        lists = optimizer._fused_lists()
        if lists is None:
            optimizer._apply(scale)
            continue
        for group, parameters, steps, averages, squares in lists:
            key = (optimizer._lr * scale, group["weight_decay"], *group["betas"], group["eps"])
            gradients = [p.grad for p in parameters if p.grad is not None]
            together = calls.setdefault(key, [[] for _ in range(5)])
            for all_of, own in zip(together, (parameters, gradients, steps, averages, squares), strict=True):
                all_of.extend(own)
    for (lr, weight_decay, beta1, beta2, eps), (parameters, gradients, steps, averages, squares) in calls.items():
        with torch.no_grad():
            adamw(
                parameters, gradients, averages, squares, [], steps, fused=True, amsgrad=False, maximize=False,
                lr=lr, weight_decay=weight_decay, beta1=beta1, beta2=beta2, eps=eps,
            )  # fmt: skip
        for p in parameters:
            p.grad = None


def _rule(settings: dict[str, Any], groups: list[dict[str, Any]], lr: float, backend: Backend) -> torch.optim.Optimizer:
    values = {"lr": lr, "betas": tuple(settings["betas"]), "eps": settings["eps"]}
    if backend == "apex":
        return apex.lamb(groups, **values) if settings["name"] == "lamb" else apex.adam(groups, **values)
    return Lamb(groups, **values) if settings["name"] == "lamb" else torch.optim.AdamW(groups, **values, fused=True)
