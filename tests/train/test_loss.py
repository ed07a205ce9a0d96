"""The loss by chunks against torch's own cross-entropy over all logits: values and gradients, and what it holds in memory.

Tolerances are relative errors in the norm of each gradient: 1e-5 in float32 (order of sums), 2e-2 in bfloat16 products
(8 bits of mantissa; the plain side rounds its products too).
"""

from __future__ import annotations

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ablate.train import loss as loss_module
from ablate.train.device import can_compile
from ablate.train.loss import IGNORED, next_token_loss

ROWS, WIDTH, VOCABULARY = 50, 24, 300
Inputs = tuple[Tensor, Tensor, Tensor, Tensor | None]


@pytest.fixture(autouse=True)
def _chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(loss_module.LOGITS_AT_ONCE, "cpu", 16 * VOCABULARY)  # 50 rows in four unequal chunks


def _inputs(bias: bool, ignored: bool, dtype: torch.dtype = torch.float32) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    shapes = ((ROWS, WIDTH), (VOCABULARY, WIDTH), (VOCABULARY,))
    hidden, head, offset = (torch.randn(*shape, generator=generator).to(dtype) for shape in shapes)
    targets = torch.randint(VOCABULARY, (ROWS,), generator=generator)
    if ignored:
        targets[torch.arange(ROWS) % 3 == 0] = IGNORED
        targets[16:32] = IGNORED  # a whole chunk
    for leaf in (hidden, head, offset):
        leaf.requires_grad_()
    return hidden, head, targets, offset if bias else None


def _plain(hidden: Tensor, head: Tensor, targets: Tensor, bias: Tensor | None) -> Tensor:
    return F.cross_entropy(F.linear(hidden, head, bias).float(), targets)


def _agree(inputs: Inputs, mine: Tensor, plain: Tensor, tolerance: float) -> None:
    assert float(mine.detach()) == pytest.approx(float(plain.detach()), rel=tolerance)
    leaves = [leaf for leaf in (inputs[0], inputs[1], inputs[3]) if leaf is not None]
    for a, b in zip(torch.autograd.grad(3 * mine, leaves), torch.autograd.grad(3 * plain, leaves), strict=True):
        assert a.dtype == b.dtype
        assert float((a - b).float().norm() / b.float().norm()) < tolerance


@pytest.mark.parametrize(("bias", "ignored"), list(product([False, True], repeat=2)))
def test_chunks_agree_with_torch(bias: bool, ignored: bool) -> None:
    inputs = _inputs(bias, ignored)
    _agree(inputs, next_token_loss(*inputs), _plain(*inputs), 1e-5)


@pytest.mark.parametrize(("bias", "ignored"), list(product([False, True], repeat=2)))
def test_chunks_agree_under_autocast(bias: bool, ignored: bool) -> None:
    inputs = _inputs(bias, ignored)
    with torch.autocast("cpu", torch.bfloat16):
        mine, plain = next_token_loss(*inputs), _plain(*inputs)
    assert mine.dtype == torch.float32
    _agree(inputs, mine, plain, 2e-2)


def test_chunks_agree_on_bfloat16_weights() -> None:
    inputs = _inputs(True, True, torch.bfloat16)
    _agree(inputs, next_token_loss(*inputs), _plain(*inputs), 2e-2)


def test_a_small_vocabulary_goes_at_once_to_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = _inputs(True, True)
    chunked = next_token_loss(*inputs)
    monkeypatch.setitem(loss_module.LOGITS_AT_ONCE, "cpu", ROWS * VOCABULARY)
    _agree(inputs, chunked, next_token_loss(*inputs), 1e-5)


def test_no_target_at_all_is_no_loss() -> None:
    hidden, head, targets, _ = _inputs(False, False)
    loss = next_token_loss(hidden, head, torch.full_like(targets, IGNORED))
    assert float(loss.detach()) == 0 and float(torch.autograd.grad(loss, [head])[0].norm()) == 0


def test_a_stack_of_models_maps_over_it() -> None:
    hidden, head, targets, _ = _inputs(False, True)
    heads, states = torch.stack([head, 2 * head]).detach().requires_grad_(), torch.stack([hidden, -hidden]).detach()
    stacked = torch.vmap(next_token_loss)(states, heads, torch.stack([targets, targets]))
    for i in range(2):
        alone = next_token_loss(states[i], heads[i], targets)
        assert float(stacked[i].detach()) == pytest.approx(float(alone.detach()), rel=1e-5)
        ours, plain = (torch.autograd.grad(loss, [heads], retain_graph=True)[0][i] for loss in (stacked.sum(), alone))
        assert float((ours - plain).norm() / plain.norm()) < 1e-5


def test_no_tensor_as_large_as_all_logits_is_kept() -> None:
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        next_token_loss(*_inputs(True, False))
    assert max(kept) == VOCABULARY * WIDTH < ROWS * VOCABULARY


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
@pytest.mark.skipif(not can_compile(), reason="torch.compile needs a C++ compiler, and there is none on the PATH")
def test_compiled_chunks_agree_with_torch() -> None:
    inputs = _inputs(True, True)
    compiled = torch.compile(next_token_loss, dynamic=False)
    _agree(inputs, compiled(*inputs), _plain(*inputs), 1e-5)
    _agree(inputs, next_token_loss(*inputs, fused=True), _plain(*inputs), 1e-5)  # as in a pass that is not compiled as a whole
    with torch.autocast("cpu", torch.bfloat16):
        mine, plain = compiled(*inputs), _plain(*inputs)
    _agree(inputs, mine, plain, 2e-2)
