"""Every preset has the published count, builds, and fits into a study."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from ablate import resolve
from ablate.errors import StudyError
from ablate.model import build, ladder, presets
from ablate.study.load import load
from ablate.study.quantities import parse_count
from tests.model.shapes import EVERY
from tests.studies import TINY, write

PRESET = TINY.replace("  params: [50k]\n", "").replace("train: {lr: 0.004, ", "model: {preset: tinystories-1m}\ntrain: {lr: 0.004, ")


@pytest.mark.parametrize("name", presets.names())
def test_counts_are_the_published_ones(name: str) -> None:
    """On the meta device, at the published vocabulary; the tolerance of each entry is what its publication rounds to."""
    preset = presets.preset(name)
    shape = preset.shape(preset.tokenizer_size, seq_len=16)
    assert shape == {"family": preset.family, **preset.values}
    counts, config = build.count(shape), build.config_of(shape)
    assert counts == build.Counts(preset.non_embedding, preset.total)
    head = 0 if config.tie_word_embeddings else config.vocab_size * config.hidden_size
    ours = {"total": counts.total, "non_embedding": counts.non_embedding, "without_head": counts.total - head}[preset.published.of]
    published = parse_count(preset.published.count)
    assert abs(ours - published) <= preset.published.within * published
    assert {key: value for key, value in config.to_dict().items() if "drop" in key and not key.startswith(("summary", "classifier"))} == {
        key: 0.0 for key in config.to_dict() if "drop" in key and not key.startswith(("summary", "classifier"))
    }, "dropout would make a resumed run differ"


def test_every_family_is_in_the_examples() -> None:
    assert {preset.family for preset in map(presets.preset, presets.names())} == {shape["family"] for shape in EVERY.values()}


@pytest.mark.parametrize("name", EVERY)
def test_one_rule_of_initial_weights_for_every_family(name: str) -> None:
    torch.manual_seed(1)
    first, again = build.build(EVERY[name], seed=0), build.build(EVERY[name], seed=0)
    other = build.build(EVERY[name], seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    for (key, parameter), different in zip(first.named_parameters(), other.parameters(), strict=True):
        if parameter.dim() > 1:
            assert not torch.equal(parameter, different) and abs(float(parameter.detach().std()) - 0.02) < 0.004, key
        else:
            assert torch.all(parameter == (0 if key.endswith("bias") else 1)), key


@pytest.mark.parametrize("name", EVERY)
def test_counts_and_flops_follow_from_the_shape(name: str) -> None:
    """Against the parameters of a real model; position embeddings are embeddings."""
    model, shape = build.build(EVERY[name], seed=0), EVERY[name]
    outside = sum(
        p.numel()
        for key, p in model.named_parameters()
        if ("embed" not in key and "wte" not in key and "wpe" not in key and "lm_head" not in key)
    )
    counts = ladder.count(shape)
    assert counts == build.Counts(outside, sum(p.numel() for p in model.parameters()))
    assert ladder.flops_per_token(shape, seq_len=32) == 6 * outside + 12 * 2 * 32 * 32 + 6 * 320 * 32


def test_another_tokenizer_gets_its_own_rows_and_the_published_one_keeps_the_padded() -> None:
    phi = presets.preset("phi-1.5")
    assert phi.shape(50295, 128)["vocab_size"] == 51200
    assert phi.shape(1024, 128)["vocab_size"] == 1024
    assert phi.shape(1024, 128)["max_position_embeddings"] == 2048 and phi.shape(1024, 4096)["max_position_embeddings"] == 4096
    assert presets.preset("mpt-7b").shape(1024, 4096)["max_seq_len"] == 4096
    assert AutoConfig.for_model("mpt", max_seq_len=4096).max_seq_len == 4096


def test_a_preset_gives_a_cell_its_params(tmp_path: Path) -> None:
    runs = resolve.runs(load(write(tmp_path, PRESET)))
    assert {run.params for run in runs} == {398_464} == {run.factors["params"] for run in runs}
    assert {run.recipe["model"]["family"] for run in runs} == {"gpt_neo"}
    assert {run.recipe["model"]["vocab_size"] for run in runs} == {512}


def test_presets_as_a_factor(tmp_path: Path) -> None:
    runs = resolve.runs(load(write(tmp_path, PRESET), None, ["grid.model.preset=[tinystories-1m, tinystories-3m]", "grid.tokens=[1x]"]))
    assert {(run.factors["model.preset"], run.params, run.tokens) for run in runs} == {
        ("tinystories-1m", 398_464, 398_464),
        ("tinystories-3m", 1_583_360, 1_583_360),
    }


def test_presets_beside_shapes_from_params(tmp_path: Path) -> None:
    text = TINY.replace("  params: [50k]\n  tokens: [60k, 120k]\n  synthetic_ratio: [0, 1]", "").replace("grid:", "grid: {}")
    cells = "cells=[{params: 50k, tokens: 60k, synthetic_ratio: 1}, {model.preset: tinystories-1m, tokens: 60k, synthetic_ratio: 1}]"
    runs = resolve.runs(load(write(tmp_path, text), None, [cells]))
    assert [(run.params, run.recipe["model"]["family"]) for run in runs] == [(50_000, "llama"), (398_464, "gpt_neo")]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("model.preset=tinystories-1mm", "'tinystories-1mm' is not known; nearest: tinystories-1m; valid: phi-1.5, "),
        ("grid.params=[50k]", "params: the model of model.preset has 398,464 parameters outside its embeddings; leave params out"),
        ("model.tie_word_embeddings=true", "belongs to shapes that follow from params"),
        ("model.from=somewhere", "preset: and from: both say what the model is"),
        ("model.preset=null", "params is missing"),
    ],
)
def test_refusals(tmp_path: Path, override: str, sentence: str) -> None:
    with pytest.raises(StudyError, match=sentence):
        resolve.runs(load(write(tmp_path, PRESET), None, [override]))
