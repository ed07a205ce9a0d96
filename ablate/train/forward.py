"""The training pass of a Llama: the same function as transformers' own forward and a cross-entropy, arranged to be fast.

It differs in three ways: the rotary tables and the causal mask are made once and not in every layer of every step;
attention is the plain product form where that is faster (on a CPU); the logits are made once, by the loss.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, LlamaForCausalLM

from ablate.train.loss import next_token_loss

_PLAIN = "ablate_plain"


class Forward:
    """Tokens → mean next-token loss. Parameters stay float32; `bfloat16` is the precision of the matrix products."""

    def __init__(self, model: LlamaForCausalLM, seq_len: int, bfloat16: bool, compile: bool) -> None:
        AttentionInterface.register(_PLAIN, _plain_attention)
        self._model, self._bfloat16 = model, bfloat16
        self._device = model.device.type
        positions = torch.arange(seq_len, device=model.device)[None]
        with torch.no_grad():
            self._rotary = model.model.rotary_emb(torch.empty(0, device=model.device), positions)
        # On CUDA the flash kernel makes its own causal mask. On a CPU its backward pass is slower than the plain products.
        self._attention = "sdpa" if self._device == "cuda" else _PLAIN
        self._mask = None if self._device == "cuda" else torch.full((seq_len, seq_len), float("-inf")).triu(1)
        self._loss = torch.compile(self._plain_loss, dynamic=False) if compile else self._plain_loss

    def __call__(self, tokens: Tensor) -> Tensor:
        """Loss in nats a token; tokens [sequences, seq_len + 1]."""
        before = self._model.config._attn_implementation
        self._model.config._attn_implementation = self._attention
        try:
            loss: Tensor = self._loss(tokens[:, :-1], tokens[:, 1:], self._mask, *self._rotary)
            return loss
        finally:  # others who use the model find it as transformers made it
            self._model.config._attn_implementation = before

    def _plain_loss(self, inputs: Tensor, targets: Tensor, mask: Tensor | None, cos: Tensor, sin: Tensor) -> Tensor:
        llama = self._model.model
        with torch.autocast(self._device, torch.bfloat16, enabled=self._bfloat16):
            hidden = llama.embed_tokens(inputs)
            for layer in llama.layers:
                hidden = layer(hidden, attention_mask=mask, position_embeddings=(cos, sin))
            hidden = llama.norm(hidden)
            return next_token_loss(hidden.flatten(0, 1), self._model.lm_head.weight, targets.flatten())


def _plain_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """softmax(Q Kᵀ + mask) V with query, key, value [batch, heads, seq_len, head size], in float32 whatever the autocast.

    In bfloat16 the compiled Q Kᵀ has given NaN gradients at head size 64 on one kind of CPU.
    """
    repeat = query.shape[1] // key.shape[1]
    if repeat > 1:
        key, value = key.repeat_interleave(repeat, 1), value.repeat_interleave(repeat, 1)
    with torch.autocast(query.device.type, enabled=False):
        scores = query.float() @ key.float().transpose(2, 3) * scaling + attention_mask
        mixed = scores.softmax(-1) @ value.float()
    return mixed.transpose(1, 2), None
