"""Our steps against torch's plain AdamW and LAMB's formula, Apex against both, and the state through a restore."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ablate.train import apex
from ablate.train.optim import Optimizer, apply_together, backend_of
from tests.train.family import recipe


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 3))


def _train(name: str) -> dict[str, Any]:
    train = recipe()["train"]
    return {**train, "optimizer": {**train["optimizer"], "name": name}}


def _give_gradients(model: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for p in model.parameters():
        p.grad = (10 * torch.randn(p.shape, generator=generator)).to(p.device)


def test_ten_steps_equal_plain_adamw() -> None:
    ours, plain = _model(), _model()
    optimizer = Optimizer(ours, recipe()["train"])
    matrices = [p for p in plain.parameters() if p.dim() > 1]
    vectors = [p for p in plain.parameters() if p.dim() == 1]
    groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=0.004, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=False, foreach=False)
    for step in range(10):
        _give_gradients(ours, step)
        _give_gradients(plain, step)
        norm = optimizer.step(scale=0.5)
        assert torch.allclose(norm, torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)) and norm > 1
        for group in reference.param_groups:
            group["lr"] = 0.002
        reference.step()
        assert all(torch.allclose(a, b, rtol=1e-6, atol=1e-7) for a, b in zip(ours.parameters(), plain.parameters(), strict=True))


def _naive_lamb(weights: list[torch.Tensor], gradients: list[list[torch.Tensor]], lr: float) -> list[torch.Tensor]:
    """Algorithm 2 of 1904.00962 in float64, tensor by tensor, after clipping all of a step's gradients to norm 1."""
    beta1, beta2, eps = 0.9, 0.95, 1e-8
    norms = [sum(float(g.double().square().sum()) for g in step) ** 0.5 for step in gradients]
    found = []
    for i, weight in enumerate(weights):
        w, decay = weight.double(), 0.1 if weight.dim() > 1 else 0.0
        m = v = torch.zeros_like(w)
        for t, (step, norm) in enumerate(zip(gradients, norms, strict=True), start=1):
            g = step[i].double() / max(norm, 1.0)
            m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
            u = (m / (1 - beta1**t)) / ((v / (1 - beta2**t)).sqrt() + eps) + decay * w
            trust = float(w.norm() / u.norm()) if decay and w.norm() > 0 and u.norm() > 0 else 1.0
            w = w - lr * trust * u
        found.append(w)
    return found


def test_ten_steps_equal_the_formula_of_lamb() -> None:
    model = _model()
    nn.init.zeros_(model[2].weight)  # a tensor of norm 0 is not scaled
    optimizer, start = Optimizer(model, _train("lamb")), [p.detach().clone() for p in model.parameters()]
    gradients = []
    for step in range(10):
        _give_gradients(model, step)
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        optimizer.step(scale=0.5)
    for ours, naive in zip(model.parameters(), _naive_lamb(start, gradients, 0.002), strict=True):
        assert torch.allclose(ours.double(), naive, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_the_state_is_restored_exactly(name: str) -> None:
    model, other = _model(), _model()
    first, second = Optimizer(model, _train(name)), Optimizer(other, _train(name))
    for step in range(3):
        _give_gradients(model, step)
        first.step(1.0)
    second.restore({key: value.clone() for key, value in first.tensors().items()})
    other.load_state_dict(model.state_dict())
    for m, optimizer in ((model, first), (other, second)):
        _give_gradients(m, 3)
        optimizer.step(1.0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    second.restore({})
    assert second.tensors() == {}


def test_named_tensors_are_taken_as_they_come() -> None:
    """A model of a stack is given as views, which ask for no gradient of their own."""
    model, other = _model(), _model()
    stacked = {name: torch.stack([p.detach(), p.detach()]) for name, p in other.named_parameters()}
    views = {name: both[1] for name, both in stacked.items()}
    ours, lane = Optimizer(model, recipe()["train"]), Optimizer(views.items(), recipe()["train"])
    for step in range(3):
        _give_gradients(model, step)
        for name, p in model.named_parameters():
            views[name].grad = p.grad.clone() if p.grad is not None else None
        assert torch.equal(ours.step(1.0), lane.step(1.0))
    assert all(torch.equal(stacked[name][1], p) and not torch.equal(stacked[name][0], p) for name, p in model.named_parameters())
    assert lane.tensors().keys() == ours.tensors().keys()


def _apex_missing() -> str | None:
    return apex.obstacle(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


@pytest.mark.gpu
@pytest.mark.skipif(_apex_missing() is not None, reason=f"Apex cannot run here: {_apex_missing()}")
@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_apex_takes_the_steps_of_torch_and_its_checkpoints(name: str) -> None:
    """Every weight within 1e-6 after each of 20 steps: float32 on both sides, other orders of operations and other roots."""
    models = [_model().cuda() for _ in range(3)]
    fused, plain, resumed = (Optimizer(m, _train(name), b) for m, b in zip(models, ("apex", "torch", "apex"), strict=True))
    for step in range(20):
        if step == 10:  # from a checkpoint of the other backend, through the disk's types
            resumed.restore({key: value.cpu() for key, value in plain.tensors().items()})
            models[2].load_state_dict(models[1].state_dict())
        for model, optimizer in zip(models, (fused, plain, resumed), strict=True):
            _give_gradients(model, step)
            optimizer.step(0.5)
        compared = models[:2] if step < 10 else models
        for weights in zip(*(m.parameters() for m in compared), strict=True):
            assert all(torch.allclose(weights[0], w, rtol=1e-6, atol=1e-6) for w in weights[1:])
    assert fused.tensors().keys() == plain.tensors().keys()


@pytest.mark.gpu
@pytest.mark.skipif(_apex_missing() is not None, reason=f"Apex cannot run here: {_apex_missing()}")
def test_auto_takes_apex_where_it_works() -> None:
    assert backend_of("auto", torch.device("cuda", torch.cuda.current_device())) == "apex"


@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_updates_made_together_are_those_made_one_by_one(name: str) -> None:
    train = {**_train(name), "clip": 1e9}
    both = [[_model() for _ in range(3)] for _ in range(2)]
    ours, theirs = ([Optimizer(model, {**train, "lr": 0.004 * (1 + i // 2)}) for i, model in enumerate(models)] for models in both)
    for step in range(6):
        for models in both:
            for i, model in enumerate(models):
                _give_gradients(model, 10 * step + i)
        scales = [1.0, 1.0 if step < 3 else 0.5, 1.0]
        apply_together(ours, scales)
        for optimizer, scale in zip(theirs, scales, strict=True):
            optimizer.step(scale)
        if step == 3:  # a state that was restored is the one that goes on
            ours[0].restore({key: value.clone() for key, value in theirs[0].tensors().items()})
    for mine, other in zip(*both, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), other.parameters(), strict=True))
        assert all(p.grad is None for p in mine.parameters())
