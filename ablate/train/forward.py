"""The training pass, tokens → loss: the same function as transformers' own forward and cross-entropy, arranged to be fast.

A Llama differs from transformers' in three ways: the rotary tables and the causal mask are made once and not in every
layer of every step; attention is the plain product form where that is faster (on a CPU); the logits are made once, by
the loss. Every other causal model goes through its own decoder into the same loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, LlamaForCausalLM, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from ablate.model.logits import are_plain
from ablate.train.loss import next_token_loss

_PLAIN, _FUSED = "ablate_plain", "ablate_fused"
_KERNELS = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
_STACKED_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
"""Under vmap: there no input says that it wants a gradient, and the others keep for the backward pass what they are asked for."""
_CACHEABLE = (
    "torch.amp.autocast_mode._enter_autocast",
    "torch.amp.autocast_mode._exit_autocast",
    "torch.nn.attention._backend_from_string",
    "torch.nn.attention._sdpa_kernel",
)
_MOST_SHAPES = 64
"""That one process compiles of a pass; torch's own bound is 8, and what comes after it runs uncompiled."""


class Forward(nn.Module):
    """Tokens → mean next-token loss. Parameters keep their type; `bfloat16` is the precision of the matrix products.

    `graphs` replays the compiled pass as CUDA graphs. It must be off where a step has more than one pass: their gradients
    are summed, and a replay overwrites those of the one before. `stacked` is for a pass that is itself called under vmap, and
    `fused_loss` has the loss compiled where the pass is not.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        seq_len: int,
        bfloat16: bool,
        compile: bool,
        checkpointing: bool = False,
        stacked: bool = False,
        fused_loss: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self._bfloat16 = bfloat16
        self._device = model.device.type
        self.graphs = False
        self._kernels = _STACKED_KERNELS if stacked else _KERNELS  # in order of preference; one that cannot take the shapes is passed over
        self._fused_loss = fused_loss
        self._attention = model.config._attn_implementation
        if isinstance(model, LlamaForCausalLM):
            self._prepare_llama(seq_len)
            passed = self._llama_loss
        else:
            passed = self._decoder_loss if are_plain(model) else self._logits_loss
        self._loss = compiled(passed, self._device) if compile else passed
        self._graphed = compiled(passed, self._device, graphs=True) if compile else passed
        if checkpointing:
            self._keep_inputs_only(compile)

    def forward(self, tokens: Tensor) -> Tensor:
        """Loss in nats a token; tokens [sequences, seq_len + 1]."""
        passed = self._graphed if self.graphs else self._loss
        with self._own_attention():
            loss: Tensor = passed(tokens[:, :-1], tokens[:, 1:])
            return loss

    @contextmanager
    def _own_attention(self) -> Iterator[None]:
        """While the block runs; others who use the model find it as transformers made it."""
        config = self.model.config
        before = config._attn_implementation
        config._attn_implementation = self._attention
        try:
            with sdpa_kernel(self._kernels, set_priority=True) if self._device == "cuda" else nullcontext():
                yield
        finally:
            config._attn_implementation = before

    def _keep_inputs_only(self, compiled: bool) -> None:
        """Keep of every layer only its input, and compute the rest once more in the backward pass (Chen et al. 2016, 1604.06174).

        That second time comes after `forward` has returned, so it needs its own word on attention, unless a graph holds it.
        """
        how: dict[str, Any] = {} if compiled else {"context_fn": lambda: (nullcontext(), self._own_attention())}
        for layer in layers(self.model):
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, **how)

    def _prepare_llama(self, seq_len: int) -> None:
        AttentionInterface.register(_PLAIN, _plain_attention)
        AttentionInterface.register(_FUSED, _fused_attention)
        device = self.model.device
        with torch.no_grad():
            cos, sin = self.model.model.rotary_emb(torch.empty(0, device=device), torch.arange(seq_len, device=device)[None])
        # On CUDA the flash kernel makes its own causal mask. On a CPU its backward pass is slower than the plain products.
        cuda = self._device == "cuda"
        self._attention = _FUSED if cuda else _PLAIN
        mask = None if cuda else torch.full((seq_len, seq_len), float("-inf"), device=device).triu(1)
        for name, table in (("cos", cos), ("sin", sin), ("mask", mask)):
            self.register_buffer(name, table, persistent=False)

    def _llama_loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        llama = self.model.model
        with torch.autocast(self._device, torch.bfloat16, enabled=self._bfloat16):
            hidden = llama.embed_tokens(inputs)
            if self._bfloat16 and self._device == "cuda":
                hidden = hidden.bfloat16()  # what runs from layer to layer, as where weights are bfloat16: half the traffic
            for layer in llama.layers:
                hidden = layer(hidden, attention_mask=self.mask, position_embeddings=(self.cos, self.sin))
            return self._head_loss(llama.norm(hidden), targets)

    def _decoder_loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(self._device, torch.bfloat16, enabled=self._bfloat16):
            return self._head_loss(self.model.base_model(input_ids=inputs, use_cache=False).last_hidden_state, targets)

    def _head_loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        head = self.model.get_output_embeddings()
        return next_token_loss(hidden.flatten(0, 1), head.weight, targets.flatten(), head.bias, self._fused_loss)

    def _logits_loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(self._device, torch.bfloat16, enabled=self._bfloat16):
            logits = self.model(input_ids=inputs, use_cache=False).logits
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def compiled(passed: Callable[..., Tensor], device_type: str, graphs: bool = False) -> Callable[..., Tensor]:
    """The pass, compiled for one shape; with `graphs` replayed as CUDA graphs.

    What is made of it is kept on the disk for the next process. torch keeps nothing of a pass that enters autocast or chooses
    kernels of attention, unless it is told that it may: these are nodes of the graph that the cache goes by, with their arguments.
    On a CPU the kernels of a pass are one C++ file with what calls them: g++ starts twice and not once a kernel, some 40 times.
    """
    options: dict[str, Any] = {
        "unsafe_marked_cacheable_functions": dict.fromkeys(_CACHEABLE, "1"),
        "triton.cudagraphs": graphs,
        "cpp_wrapper": device_type == "cpu",
    }
    torch._dynamo.config.recompile_limit = _MOST_SHAPES
    made: Callable[..., Tensor] = torch.compile(passed, dynamic=False, options=options)
    return made


def load_compiler() -> None:
    """Have torch import its compiler, find out which vectors the CPU has and keep its headers precompiled, by compiling next to
    nothing. Nothing is recorded for a backward pass, whose engine may start threads."""
    with torch.no_grad():
        compiled(torch.neg, "cpu")(torch.ones(1))


def layers(model: PreTrainedModel) -> list[nn.Module]:
    """The layers of a model of any family: what is sharded, compiled and recomputed one at a time."""
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def _fused_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """Causal attention by torch's fused kernels, in the type of the values; shapes as of `_plain_attention`.

    The float32 rotary tables leave queries and keys in float32. Autocast would round them here, but for a pack: under vmap the
    call is taken apart before autocast sees it, and refuses mixed types.
    """
    query, key = query.to(value.dtype), key.to(value.dtype)
    grouped = query.shape[1] != key.shape[1]
    mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling, enable_gqa=grouped)
    return mixed.transpose(1, 2), None


def _plain_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """softmax(Q Kᵀ + mask) V with query, key, value [batch, heads, seq_len, head size].

    In two blocks of queries, of which the first meets only the keys that it may see: a quarter of the products is left out.
    """
    repeat = query.shape[1] // key.shape[1]
    if repeat > 1:
        key, value = key.repeat_interleave(repeat, 1), value.repeat_interleave(repeat, 1)
    length = query.shape[2]
    blocks = []
    for first, last in ((0, length // 2), (length // 2, length)):
        own, seen = slice(first, last), slice(last)
        with torch.autocast(query.device.type, enabled=False):  # compiled bfloat16 scores have given NaN gradients on one kind of CPU
            scores = query[:, :, own].float() @ key[:, :, seen].float().transpose(2, 3) * scaling + attention_mask[own, seen]
            weights = scores.softmax(-1)
        blocks.append(weights @ value[:, :, seen])  # of the precision of other products
    return torch.cat(blocks, 2).transpose(1, 2), None
