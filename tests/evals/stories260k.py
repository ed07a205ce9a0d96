"""Karpathy's stories260K as a transformers model and tokenizer: reads llama2.c's legacy .bin export and its tokenizer file."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPACE = "▁"
"""How SentencePiece writes it."""
BOS = 1


def load_model(path: Path) -> LlamaForCausalLM:
    """The model of an export, in float32. Its header is 7 int32: width, MLP width, layers, heads, KV heads, vocabulary (negative where
    the output has a matrix of its own), context; then float32 tensors, each for all layers, in the order below."""
    raw = path.read_bytes()
    width, hidden, layers, heads, kv_heads, vocabulary, context = struct.unpack("7i", raw[:28])
    assert vocabulary > 0, "the embedding is shared"
    values = torch.from_numpy(np.frombuffer(raw, dtype="<f4", offset=28).copy())
    kv_width, at = width // heads * kv_heads, 0

    def take(*shape: int) -> Tensor:
        nonlocal at
        at += int(np.prod(shape))
        return values[at - int(np.prod(shape)) : at].view(shape)

    embedding, norm1 = take(vocabulary, width), take(layers, width)
    q, k, v = take(layers, width, width), take(layers, kv_width, width), take(layers, kv_width, width)
    o, norm2 = take(layers, width, width), take(layers, width)
    gate, down, up = take(layers, hidden, width), take(layers, width, hidden), take(layers, hidden, width)
    state = {"model.embed_tokens.weight": embedding, "lm_head.weight": embedding, "model.norm.weight": take(width)}
    assert at + context * (width // heads) == len(values), "what is left are the tables of the rotary embedding"
    for i in range(layers):
        parts = {
            "input_layernorm": norm1[i], "post_attention_layernorm": norm2[i],
            "self_attn.q_proj": _halves(q[i], heads), "self_attn.k_proj": _halves(k[i], kv_heads), "self_attn.v_proj": v[i],
            "self_attn.o_proj": o[i], "mlp.gate_proj": gate[i], "mlp.down_proj": down[i], "mlp.up_proj": up[i],
        }  # fmt: skip
        state |= {f"model.layers.{i}.{name}.weight": value for name, value in parts.items()}
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=kv_heads, max_position_embeddings=context, rms_norm_eps=1e-5, tie_word_embeddings=True, bos_token_id=BOS,
        eos_token_id=2,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    model.load_state_dict(state)
    return model


def _halves(weight: Tensor, heads: int) -> Tensor:
    """Rows of a head in transformers' order: llama2.c turns neighbours (0, 1), transformers the i-th of one half with that of the other."""
    rows, width = weight.shape
    return weight.view(heads, rows // heads // 2, 2, width).transpose(1, 2).reshape(rows, width)


def load_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """SentencePiece BPE: of two neighbours that make a token, those of the highest score are merged first; what is no token becomes bytes.

    The file: int32, then per token float32 score, int32 length and its text, with plain spaces.
    """
    raw, at = path.read_bytes(), 4
    scores: dict[str, float] = {}
    while at < len(raw):
        score, length = struct.unpack_from("fi", raw, at)
        token = raw[at + 8 : at + 8 + length].decode()
        scores[token.strip("\n") if len(scores) in (1, 2) else token.replace(" ", SPACE)] = score
        at += 8 + length
    ids = {token: i for i, token in enumerate(scores)}
    merges = [
        (scores[token], token[:cut], token[cut:])
        for token in list(scores)[3 + 256 :]
        for cut in range(1, len(token))
        if token[:cut] in ids and token[cut:] in ids
    ]
    pairs = [(left, right) for _, left, right in sorted(merges, key=lambda merge: -merge[0])]
    bpe = Tokenizer(models.BPE(ids, pairs, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    bpe.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    bpe.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
