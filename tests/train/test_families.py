"""Every architecture through our pass against transformers' own `model(input_ids, labels=...)`, float32.

Tolerance 1e-5: relative error of the loss, and of the norm of all gradients together (order of sums).
"""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from ablate.model.memory import LOGITS_AT_ONCE
from ablate.train.device import can_compile
from ablate.train.forward import Forward

SEQ_LEN, VOCABULARY = 16, 96
POSITIONS = SEQ_LEN + 1  # transformers is given one token more than it takes a loss of
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": POSITIONS, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
_USUAL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
_GEMMA = {**_USUAL, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": POSITIONS}
FAMILIES = {
    "llama": _USUAL,
    "gpt2": _GPT2,
    "gpt_bigcode": _GPT2,
    "codegen": {**_GPT2, "rotary_dim": 4},
    "gpt_neo": {
        "hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 4,
        "max_position_embeddings": POSITIONS, "resid_dropout": 0.0, "embed_dropout": 0.0, "attention_dropout": 0.0,
    },
    "gpt_neox": _USUAL,
    "phi": {**_USUAL, "partial_rotary_factor": 0.5},
    "falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "alibi": True, "multi_query": False},
    "opt": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 64, "word_embed_proj_dim": 16, "dropout": 0.0},
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": POSITIONS},
    "mistral": {**_USUAL, "num_key_value_heads": 2, "sliding_window": 8},
    "qwen2": {**_USUAL, "num_key_value_heads": 2},
    "gemma2": {**_GEMMA, "final_logit_softcapping": 0.5},
    "cohere": {**_USUAL, "logit_scale": 0.3},
    "granite": {**_USUAL, "logits_scaling": 4.0},
}  # fmt: skip


def _model(family: str, vocabulary: int = VOCABULARY) -> PreTrainedModel:
    torch.manual_seed(0)
    ids = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    config = AutoConfig.for_model(family, vocab_size=vocabulary, **FAMILIES[family], **ids)
    model = AutoModelForCausalLM.from_config(config).train()
    for parameter in model.parameters():  # biases too, so that a forgotten one shows
        torch.nn.init.normal_(parameter, 0.0, 0.2)
    return model


def _gradients(model: PreTrainedModel, loss: torch.Tensor) -> torch.Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


_EACH = [(family, VOCABULARY, False) for family in FAMILIES]
_COMPILED = [
    pytest.param("gpt2", VOCABULARY, True, marks=pytest.mark.slow),
    pytest.param("llama", 1 + LOGITS_AT_ONCE["cpu"] // (3 * SEQ_LEN), True, marks=pytest.mark.slow, id="llama-chunked"),
]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")  # of the compiler
@pytest.mark.parametrize(("family", "vocabulary", "compile"), [*_EACH, *_COMPILED])
def test_a_family_agrees_with_transformers(family: str, vocabulary: int, compile: bool) -> None:
    if compile and not can_compile():
        pytest.skip("torch.compile needs a C++ compiler, and there is none on the PATH")
    model = _model(family, vocabulary)
    tokens = torch.randint(vocabulary, (3, SEQ_LEN + 1), generator=torch.Generator().manual_seed(1))
    loss = Forward(model, SEQ_LEN, bfloat16=False, compile=compile)(tokens)
    plain = model(input_ids=tokens, labels=tokens).loss  # it shifts the labels itself
    assert float(loss.detach()) == pytest.approx(float(plain.detach()), rel=1e-5)
    mine, theirs = _gradients(model, loss), _gradients(model, plain)
    assert float((mine - theirs).norm() / theirs.norm()) < 1e-5
