"""Our step against torch's plain AdamW, and its state through a restore."""

from __future__ import annotations

import torch
from torch import nn

from ablate.train.optim import Optimizer
from tests.train.family import recipe


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 3))


def _give_gradients(model: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for p in model.parameters():
        p.grad = 10 * torch.randn(p.shape, generator=generator)


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


def test_the_state_is_restored_exactly() -> None:
    model, other = _model(), _model()
    first, second = Optimizer(model, recipe()["train"]), Optimizer(other, recipe()["train"])
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
