"""The fast pass against the plain one: transformers' own forward, float32, eager, the whole batch at once.

Tolerances are relative errors in the norm of all gradients together: 1e-5 in float32 (order of sums), 3e-2 in
bfloat16 (8 bits of mantissa, a dozen products deep).
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call, vmap
from transformers import LlamaForCausalLM

from ablate.model.build import build
from ablate.model.memory import ACTIVATION_BYTES, micro_batch
from ablate.train import loss as loss_module
from ablate.train.device import can_compile
from ablate.train.engine import Engine
from ablate.train.forward import _FUSED, Forward
from tests.train.family import SEQ_LEN, batch, recipe

TOLERANCE = {"float32": 1e-5, "bfloat16": 3e-2}


def _model(head_size: int = 32, shared_keys: int = 1) -> LlamaForCausalLM:
    shape = {**recipe()["model"], "hidden_size": 128, "num_attention_heads": 128 // head_size, "num_hidden_layers": 2}
    return build({**shape, "num_key_value_heads": shape["num_attention_heads"] // shared_keys}, seed=0).train()


def _plain(model: LlamaForCausalLM, tokens: torch.Tensor) -> torch.Tensor:
    logits = model(input_ids=tokens[:, :-1]).logits
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def _gradients(model: LlamaForCausalLM, loss: torch.Tensor) -> torch.Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


def _agree(model: LlamaForCausalLM, fast: Any, precision: str) -> None:
    tokens = torch.from_numpy(batch(0, 4))
    plain_loss, fast_loss = _plain(model, tokens), fast(tokens)
    plain, quick = _gradients(model, plain_loss), _gradients(model, fast_loss)
    tolerance = TOLERANCE[precision]
    assert float(fast_loss.detach()) == pytest.approx(float(plain_loss.detach()), rel=tolerance)
    assert float((quick - plain).norm() / plain.norm()) < tolerance


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("head_size", [32, 64, 128])
def test_eager_agrees_with_transformers(head_size: int, precision: str) -> None:
    model = _model(head_size)
    _agree(model, Forward(model, SEQ_LEN, precision == "bfloat16", compile=False), precision)


def test_shared_keys_agree_with_transformers() -> None:
    model = _model(shared_keys=2)
    _agree(model, Forward(model, SEQ_LEN, bfloat16=False, compile=False), "float32")


@pytest.mark.filterwarnings("ignore:.*not yet implemented the batching rule:UserWarning")  # for the CPU's kernel
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_attention_of_a_gpu_agrees_alone_and_stacked(precision: str) -> None:
    model = _model(shared_keys=2)
    fast = Forward(model, SEQ_LEN, precision == "bfloat16", compile=False)
    fast._attention, fast.mask = _FUSED, None
    _agree(model, fast, precision)

    def stacked(tokens: torch.Tensor) -> torch.Tensor:
        two = {name: p.expand(2, *p.shape) for name, p in fast.named_parameters()}
        losses: torch.Tensor = vmap(lambda one: functional_call(fast, one, (tokens,)))(two)
        return losses.mean()

    _agree(model, stacked, precision)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
@pytest.mark.skipif(not can_compile(), reason="torch.compile needs a C++ compiler, and there is none on the PATH")
@pytest.mark.parametrize(("head_size", "precision"), [(32, "float32"), (64, "float32"), (64, "bfloat16")])
def test_compiled_agrees_with_transformers(head_size: int, precision: str) -> None:
    model = _model(head_size)
    _agree(model, Forward(model, SEQ_LEN, precision == "bfloat16", compile=True), precision)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
@pytest.mark.skipif(not can_compile(), reason="torch.compile needs a C++ compiler, and there is none on the PATH")
def test_what_was_compiled_agrees_and_is_kept() -> None:
    """A pass whose kernels are on the disk is not made again, autocast and all."""
    for _ in range(2):
        torch._dynamo.reset()  # type: ignore[no-untyped-call]
        torch._dynamo.utils.counters.clear()
        model = _model()
        _agree(model, Forward(model, SEQ_LEN, bfloat16=True, compile=True), "bfloat16")
    found = torch._dynamo.utils.counters["aot_autograd"]
    assert (found["autograd_cache_hit"], found["autograd_cache_miss"], found["autograd_cache_bypass"]) == (1, 0, 0)


def test_the_model_is_left_as_it_was_found() -> None:
    model = _model()
    before = model.config._attn_implementation
    Forward(model, SEQ_LEN, bfloat16=False, compile=False)(torch.from_numpy(batch(0, 1)))
    assert model.config._attn_implementation == before


def test_chunks_of_logits_give_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model()
    monkeypatch.setitem(loss_module.LOGITS_AT_ONCE, "cpu", 20 * model.config.vocab_size)  # 64 rows in four unequal chunks
    _agree(model, Forward(model, SEQ_LEN, bfloat16=False, compile=False), "float32")


def test_micro_batches_give_the_same_step(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Engine(recipe(), torch.device("cpu"), compile=False)
    monkeypatch.setitem(ACTIVATION_BYTES, "cpu", 1)
    pieces = Engine(recipe(), torch.device("cpu"), compile=False)
    for step in range(5):
        tokens = batch(4 * step, 4)
        (loss, norm), (loss_2, norm_2) = whole.step(tokens, 1.0), pieces.step(tokens, 1.0)
        assert float(loss) == pytest.approx(float(loss_2), rel=1e-5) and float(norm) == pytest.approx(float(norm_2), rel=1e-4)


def test_a_micro_batch_divides_the_batch() -> None:
    shape = recipe()["model"]
    assert micro_batch(shape, _train(4 * 128), 128, "cpu") == 4
    seven = {**shape, "hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32}
    assert micro_batch(seven, _train(12 * 4096), 4096, "cuda") in (1, 2, 3, 4, 6)
    assert micro_batch({**seven, "hidden_size": 8192, "num_hidden_layers": 96}, _train(7 * 4096), 4096, "cpu") == 1


def _train(batch_tokens: int) -> dict[str, Any]:
    return {"batch_tokens": batch_tokens, "precision": "bfloat16"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_cuda_agrees_with_transformers(precision: str) -> None:
    model = _model(64).cuda()
    forward = Forward(model, SEQ_LEN, precision == "bfloat16", compile=False)
    tokens = torch.from_numpy(batch(0, 4)).cuda()
    plain, fast = _gradients(model, _plain(model, tokens)), _gradients(model, forward(tokens))
    assert float((fast - plain).norm() / plain.norm()) < 10 * TOLERANCE[precision]
