"""Memory a device: sums done by hand, and what they say of the sizes people ask about."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ablate.model import ladder
from ablate.model.build import build
from ablate.model.gpus import GPUS
from ablate.model.memory import LOGIT_BYTES, LOGITS_AT_ONCE, RESERVED, activation_bytes, fits, memory
from ablate.model.presets import preset
from ablate.train.device import can_compile
from ablate.train.forward import Forward

LLAMA_2_7B: dict[str, Any] = {
    "family": "llama",
    "vocab_size": 32_000,
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "tie_word_embeddings": False,
    "max_position_embeddings": 4096,
}
BF16 = {"precision": "bfloat16", "batch_tokens": 4 << 20}
FLOAT = {"precision": "float32", "batch_tokens": 4 << 20}
SEVEN = 6_738_415_616  # parameters, as published


def test_state_on_one_device_is_16_bytes_a_parameter_and_2_more_for_autocast() -> None:
    held = memory(LLAMA_2_7B, FLOAT, 4096, 1)
    assert (held.parameters, held.gradients, held.optimizer) == (4 * SEVEN, 4 * SEVEN, 8 * SEVEN)
    assert memory(LLAMA_2_7B, BF16, 4096, 1).parameters == 4 * SEVEN + 2 * (SEVEN - 32_000 * 4096)
    assert held.total == sum(vars(held).values())


def test_a_shard_is_its_part_and_what_is_whole_for_a_while() -> None:
    held = memory(LLAMA_2_7B, BF16, 4096, 1, devices=8)
    outer, layer = 2 * 32_000 * 4096, (SEVEN - 2 * 32_000 * 4096) // 32
    assert held.optimizer == SEVEN  # 8 bytes / 8 devices
    assert held.parameters == SEVEN // 2 + 4 * outer + 2 * 2 * layer
    assert held.gradients == SEVEN // 2 + 4 * (outer + layer), "28 GB are never summed whole"
    small = ladder.shape(1_000_000, 1024, 128, False)
    total = ladder.count(small).total
    train = {"precision": "float32", "batch_tokens": 128 * 16}
    assert memory(small, train, 128, 4, devices=2).gradients == 4 * (total // 2 + total), "two passes, summed whole"
    one_pass = memory(small, train, 128, 8, devices=2).gradients
    assert one_pass == 4 * (total // 2 + 2 * 1024 * 128 + ladder.count(small).non_embedding // 5)


def test_activations_by_hand() -> None:
    width, inner = 4096, 11_008
    layer = 2 * 2 * width + 2 * 3 * (width + inner) + 3 * 2 * width
    assert activation_bytes(LLAMA_2_7B, 4096, 2) == 32 * layer + 2 * width
    assert activation_bytes(LLAMA_2_7B, 4096, 2, checkpointing=True) == 32 * 2 * width + layer
    maps = activation_bytes(LLAMA_2_7B, 4096, 4, maps=True) - activation_bytes(LLAMA_2_7B, 4096, 4)
    assert maps == 32 * 4 * 32 * 4096, "a probability a head and position, in float32"
    held = memory(LLAMA_2_7B, BF16, 4096, 3)
    assert held.activations == 3 * 4096 * (32 * layer + 2 * width)
    assert held.logits == LOGIT_BYTES * LOGITS_AT_ONCE["cuda"], "never more of them at once"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
@pytest.mark.skipif(not can_compile(), reason="torch.compile needs a C++ compiler, and there is none on the PATH")
def test_activations_are_those_of_the_compiled_pass() -> None:
    precision, tolerance = "bfloat16", 0.12  # float32: 0.03
    sequences, seq_len, shape = 4, 128, ladder.shape(1_000_000, 1024, 128, False)
    model = build(shape, 0)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    forward = Forward(model, seq_len, precision == "bfloat16", compile=True)
    kept: dict[int, int] = {}

    def pack(saved: torch.Tensor) -> torch.Tensor:
        storage = saved.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        forward(torch.randint(1024, (sequences, seq_len + 1)))
    found = sum(size for pointer, size in kept.items() if pointer not in weights)
    train = {"precision": precision, "batch_tokens": sequences * seq_len}
    told = memory(shape, train, seq_len, sequences, maps=True)
    copies = told.parameters - 4 * ladder.count(shape).total
    probabilities = 4 * 1024 * sequences * seq_len  # of the words: the one thing that a step's logits leave behind
    assert told.activations == pytest.approx(found - copies - probabilities, rel=tolerance)


@pytest.mark.parametrize("params", [1_300_000_000, 7_000_000_000])
def test_a_fit_holds_and_one_device_fewer_does_not(params: int) -> None:
    model = ladder.shape(params, 32_000, 2048, False)
    for fit in fits(model, BF16, 2048):
        assert fit.devices is not None and fit.memory.total <= GPUS[fit.gpu].bytes - RESERVED
        if fit.devices > 1:
            assert memory(model, BF16, 2048, 1, fit.devices // 2, checkpointing=True).total > GPUS[fit.gpu].bytes - RESERVED
    assert {fit.gpu: fit.devices for fit in fits(model, BF16, 2048, most_devices=1)}["L4"] is None


def test_what_the_head_of_the_chat_fine_tune_says() -> None:
    shape, train = preset("phi-1.5").shape(50_295, 2048), {**BF16, "batch_tokens": 16_384}
    found = {fit.gpu: (fit.devices, fit.checkpointing) for fit in fits(shape, train, 2048)}
    assert found["RTX-4090"] == (2, True) and found["A100-40GB"] == (1, False)
    assert [round(memory(shape, train, 2048, 1, 1, again).total / 1e9, 1) for again in (True, False)] == [26.5, 30.2]


def test_seven_billion_on_each_gpu() -> None:
    found = {fit.gpu: (fit.devices, fit.checkpointing) for fit in fits(LLAMA_2_7B, BF16, 4096)}
    assert found["H200"] == (1, False)
    assert found["H100"] == (2, False)
    assert found["RTX-4090"] == (8, True)
