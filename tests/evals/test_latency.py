"""What generating costs: the measured loop is the plain one, and what was measured is measured once a shape."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM, MambaConfig, MambaForCausalLM, PreTrainedModel

from ablate.evals.latency import BATCH, PASSES, latency, measure, write
from ablate.model.build import build as build_shape
from ablate.model.presets import window_key
from ablate.workspace import read_json, write_json
from tests.evals.small_model import build
from tests.model.shapes import EVERY

CPU = torch.device("cpu")


def of_shape(shape: dict[str, Any]) -> PreTrainedModel:
    made = build_shape(shape, seed=0).eval()
    for parameter in made.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return made


@pytest.mark.parametrize("shape", EVERY.values(), ids=EVERY)
def test_the_measured_loop_writes_what_a_plain_one_writes(shape: dict[str, Any]) -> None:
    model = of_shape(shape)
    tokens = torch.randint(320, (3, 5), generator=torch.Generator().manual_seed(1))
    written = torch.cat([tokens, *islice(write(model, tokens), 12)], dim=1)
    with torch.no_grad():
        for _ in range(12):
            tokens = torch.cat([tokens, model(tokens, use_cache=False).logits[:, -1:].argmax(-1)], dim=1)
    assert written.tolist() == tokens.tolist()
    assert len({tuple(row) for row in written[:, 5:].tolist()}) > 1, "weights so large that what was read decides what is written"


def test_a_shape_is_measured_once_on_a_device(tmp_path: Path) -> None:
    first = latency(build("eager"), CPU, tmp_path)
    assert first is not None
    (path,) = tmp_path.iterdir()
    assert {name for name, value in first.items() if isinstance(value, float | int) and value <= 0} == set()
    assert (first["generate_batch"], first["inference_precision"]) == (BATCH, "float32") and first["inference_device"]
    write_json(path, {**first, "ms_per_token": 123.0})
    assert latency(build("eager", seed=1), CPU, tmp_path) == {**first, "ms_per_token": 123.0} == read_json(path)
    latency(build("eager").to(torch.bfloat16), CPU, tmp_path)
    latency(of_shape(EVERY["gpt2"]), CPU, tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_saved_model_is_known_again(tmp_path: Path) -> None:
    live = build("eager")
    latency(live, CPU, tmp_path / "latency")
    live.save_pretrained(tmp_path / "model")
    latency(LlamaForCausalLM.from_pretrained(tmp_path / "model"), CPU, tmp_path / "latency")
    assert len(list((tmp_path / "latency").iterdir())) == 1


def test_memory_is_that_of_the_weights_at_least() -> None:
    model = build("eager")
    assert measure(model, CPU)["inference_memory_bytes"] >= 4 * sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("sees", [2, 40, 64])
def test_no_more_is_read_and_written_than_a_model_sees(sees: int) -> None:
    """GPT-2 has a vector for every place that it sees, and none beyond: to ask for one is an error."""
    model = of_shape({**EVERY["gpt2"], window_key(EVERY["gpt2"]): sees})
    found = measure(model, CPU)
    assert min(found["ms_per_token"], found["ms_to_first_token"], found["ms_per_token_after_prompt"]) > 0


def test_after_a_prompt_each_token_looks_back_on_it() -> None:
    """What is timed after a prompt: one token a pass, the prompt in the cache, as often as there is room."""
    model, passes = build("eager", context=200), []
    handle = model.base_model.register_forward_hook(
        lambda _, __, asked, out: passes.append((asked["input_ids"].shape, out.past_key_values.get_seq_length())), with_kwargs=True
    )
    measure(model, CPU)
    handle.remove()
    prompts = [i for i, (shape, _) in enumerate(passes) if shape[1] > 1]
    assert {passes[i] for i in prompts} == {((1, 200 - PASSES), 200 - PASSES)}
    assert passes[prompts[-1] + 1 :] == [((1, 1), 200 - PASSES + i) for i in range(1, PASSES + 1)]


def test_a_model_without_a_cache_has_no_figures(tmp_path: Path) -> None:
    config = MambaConfig(vocab_size=32, hidden_size=8, state_size=4, num_hidden_layers=1, bos_token_id=0, eos_token_id=0, pad_token_id=0)
    assert latency(MambaForCausalLM(config).eval(), CPU, tmp_path / "latency") is None
    assert not (tmp_path / "latency").exists()
