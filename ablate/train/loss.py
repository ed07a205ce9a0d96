"""Next-token cross-entropy that does not hold the logits of a large vocabulary."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ablate.model.memory import LOGITS_AT_ONCE

IGNORED = -100
"""A target of which no loss is taken."""


def next_token_loss(hidden: Tensor, head: Tensor, targets: Tensor, bias: Tensor | None = None) -> Tensor:
    """Mean cross-entropy in nats over the targets that are not IGNORED; hidden [n, width], head [vocabulary, width], targets [n],
    bias [vocabulary].

    A vocabulary whose logits are many goes chunk by chunk: memory holds one chunk in float32 and never the whole, and no
    product is made twice.
    """
    counted = (targets != IGNORED).sum().clamp(min=1)
    rows = max(1, LOGITS_AT_ONCE[hidden.device.type] // head.shape[0])
    if hidden.shape[0] <= rows:
        return F.cross_entropy(F.linear(hidden, head, bias).float(), targets, reduction="sum") / counted
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    with torch.autocast(device, enabled=False):
        loss: Tensor = _Chunked.apply(hidden, head, targets, bias, rows, dtype)[0]  # type: ignore[no-untyped-call]
    return loss / counted


class _Chunked(torch.autograd.Function):
    """Summed cross-entropy of a linear map, with the gradients made in the forward pass while a chunk's logits are at hand.

    The arrangement of Liger kernel's fused linear cross-entropy (Hsu et al. 2024, 2410.10989, section 3.2), in plain
    torch. Against recomputing the logits in the backward pass it makes three products a chunk and not four.
    """

    generate_vmap_rule = True  # models trained as one stack map over it

    @staticmethod
    def forward(
        hidden: Tensor, head: Tensor, targets: Tensor, bias: Tensor | None, rows: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """(loss, its gradients by hidden, head and bias). `dtype` is that of the products; sums are float32."""
        weight, offset = head.to(dtype), None if bias is None else bias.to(dtype)
        sums: list[Tensor] = []
        by_hidden = []
        for first in range(0, hidden.shape[0], rows):
            chunk = hidden[first : first + rows].to(dtype)
            loss, by_logits = _loss_and_gradient(F.linear(chunk, weight, offset).float(), targets[first : first + rows])
            small = by_logits.to(dtype)
            by_hidden.append((small @ weight).to(hidden.dtype))
            pieces = [loss, (small.t() @ chunk).to(head.dtype)] + ([] if bias is None else [by_logits.sum(0)])
            sums = [total.add_(piece) for total, piece in zip(sums, pieces, strict=True)] if sums else pieces
        return sums[0], torch.cat(by_hidden), sums[1], None if bias is None else sums[2].to(bias.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor, Tensor | None]) -> None:
        _, *gradients = output
        ctx.mark_non_differentiable(*[g for g in gradients if g is not None])
        ctx.save_for_backward(*gradients)

    @staticmethod
    def backward(ctx: Any, by_loss: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        by_hidden, by_head, by_bias = ctx.saved_tensors
        return by_hidden * by_loss, by_head * by_loss, None, None if by_bias is None else by_bias * by_loss, None, None


def _loss_and_gradient(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """(summed cross-entropy, softmax − one-hot) of logits [rows, vocabulary], whose memory is taken over."""
    counted = targets != IGNORED
    index = torch.where(counted, targets, 0)[:, None]
    total = logits.logsumexp(-1, keepdim=True)
    loss = torch.where(counted[:, None], total - logits.gather(1, index), 0.0).sum()
    gradient = logits.sub_(total).exp_()
    gradient.scatter_add_(1, index, gradient.new_full((), -1.0).expand_as(index))
    return loss, gradient.mul_(counted[:, None])
