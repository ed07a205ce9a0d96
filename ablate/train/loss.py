"""Next-token cross-entropy that does not hold the logits of a large vocabulary."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_MOST_LOGITS = 1 << 24  # at once: 64 MiB in float32


def next_token_loss(hidden: Tensor, head: Tensor, targets: Tensor, bias: Tensor | None = None) -> Tensor:
    """Mean cross-entropy in nats; hidden [n, width], head [vocabulary, width], targets [n], bias [vocabulary].

    Beyond 2^24 logits it goes chunk by chunk and computes each chunk's logits again in the backward pass, so that
    memory holds one chunk in float32 and never the whole.
    """
    rows = max(1, _MOST_LOGITS // head.shape[0])
    if hidden.shape[0] <= rows:
        return _summed(hidden, head, targets, bias) / targets.numel()
    total = hidden.new_zeros((), dtype=torch.float32)
    for first in range(0, hidden.shape[0], rows):
        chunk = slice(first, first + rows)
        total = total + checkpoint(_summed, hidden[chunk], head, targets[chunk], bias, use_reentrant=False)
    return total / targets.numel()


def _summed(hidden: Tensor, head: Tensor, targets: Tensor, bias: Tensor | None) -> Tensor:
    return F.cross_entropy(F.linear(hidden, head, bias).float(), targets, reduction="sum")
