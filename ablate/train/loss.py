"""Next-token cross-entropy that does not hold the logits of a large vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ablate.model.memory import LOGITS_AT_ONCE

IGNORED = -100
"""A target of which no loss is taken."""


def next_token_loss(hidden: Tensor, head: Tensor, targets: Tensor, bias: Tensor | None = None, fused: bool = False) -> Tensor:
    """Mean cross-entropy in nats over the targets that are not IGNORED; hidden [n, width], head [vocabulary, width], targets [n],
    bias [vocabulary].

    A vocabulary whose logits are many goes chunk by chunk: memory holds one chunk in float32 and never the whole, and no
    product is made twice. What is done to a chunk is compiled where the caller is, or where it is to be `fused`.
    """
    counted = (targets != IGNORED).sum().clamp(min=1)
    rows = max(1, LOGITS_AT_ONCE[hidden.device.type] // head.shape[0])
    if hidden.shape[0] <= rows:
        return F.cross_entropy(F.linear(hidden, head, bias).float(), targets, reduction="sum") / counted
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    with torch.autocast(device, enabled=False):
        loss: Tensor = _chunked(hidden, head, targets, bias, rows, dtype, fused or torch.compiler.is_compiling())[0]
    return loss / counted


@torch.library.custom_op("ablate::chunked_cross_entropy", mutates_args=())
def _chunked(
    hidden: Tensor, head: Tensor, targets: Tensor, bias: Tensor | None, rows: int, dtype: torch.dtype, fused: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(Summed cross-entropy of a linear map, its gradients by hidden, head and bias), made while a chunk's logits are at hand.

    The arrangement of Liger kernel's fused linear cross-entropy (Hsu et al. 2024, 2410.10989, section 3.2), in plain
    torch. Against recomputing the logits in the backward pass it makes three products a chunk and not four. `dtype` is that
    of the products; sums are float32. An operator of its own, because a compiler that saw the chunks would hold several of
    them at once; `fused` compiles what is done to one chunk.
    """
    weight, offset = head.to(dtype), None if bias is None else bias.to(dtype)
    gradient_of = _compiled() if fused else _loss_and_gradient
    sums: list[Tensor] = []
    by_hidden = []
    for first in range(0, hidden.shape[0], rows):
        chunk = hidden[first : first + rows].to(dtype)
        loss, by_logits, by_bias = gradient_of(F.linear(chunk, weight, offset), targets[first : first + rows])
        by_hidden.append((by_logits @ weight).to(hidden.dtype))
        pieces = [loss, (by_logits.t() @ chunk).to(head.dtype), by_bias]
        sums = [total.add_(piece) for total, piece in zip(sums, pieces, strict=True)] if sums else pieces
    return sums[0], torch.cat(by_hidden), sums[1], sums[2]


@_chunked.register_fake
def _(
    hidden: Tensor, head: Tensor, targets: Tensor, bias: Tensor | None, rows: int, dtype: torch.dtype, fused: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    def float32(*shape: int) -> Tensor:
        return hidden.new_empty(shape, dtype=torch.float32)

    return float32(), torch.empty_like(hidden), torch.empty_like(head), float32(head.shape[0])


@_chunked.register_vmap
def _(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """Model by model."""
    lanes = [[x if dim is None else x.select(dim, i) for x, dim in zip(inputs, in_dims, strict=True)] for i in range(info.batch_size)]
    return tuple(torch.stack(parts) for parts in zip(*(_chunked(*lane) for lane in lanes), strict=True)), (0, 0, 0, 0)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.dtype = None if inputs[3] is None else inputs[3].dtype
    ctx.save_for_backward(*output[1:])


def _backward(ctx: Any, by_loss: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    by_hidden, by_head, by_bias = ctx.saved_tensors
    return by_hidden * by_loss, by_head * by_loss, None, (by_bias * by_loss).to(ctx.dtype) if ctx.dtype else None, None, None, None


_chunked.register_autograd(_backward, setup_context=_save)


@cache
def _compiled() -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    return torch.compile(_loss_and_gradient, dynamic=False)


def _loss_and_gradient(products: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(summed cross-entropy, softmax − one-hot, its sum over the rows) of logits [rows, vocabulary]."""
    counted = targets != IGNORED
    index = torch.where(counted, targets, 0)[:, None]
    logits = products.to(torch.float32, copy=True)
    total = logits.logsumexp(-1, keepdim=True)
    loss = torch.where(counted[:, None], total - logits.gather(1, index), 0.0).sum()
    words = torch.arange(logits.shape[1], device=logits.device)
    gradient = logits.sub_(total).exp_().add_(words == index, alpha=-1).mul_(counted[:, None])
    return loss, gradient.to(products.dtype), gradient.sum(0)
