"""A shape → a transformers model with seeded weights, of any family that transformers has code for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from torch import nn

from ablate.errors import RunError

if TYPE_CHECKING:  # importing these takes seconds, and who only counts parameters does without
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Counts:
    """Parameters. `total` holds all embeddings and, where it is not tied, the output head as well."""

    non_embedding: int
    total: int


def build(model: dict[str, Any], seed: int) -> PreTrainedModel:
    """A float32 model on the CPU. Equal shape and seed give equal weights, whatever the arm or the device.

    One rule for every family: matrices are normal with the config's initializer_range, drawn here from one generator, so
    that the weights depend neither on transformers' own initialisation nor on the global generator; biases are zero and
    the scales of norms one.
    """
    config = config_of(model)
    with torch.random.fork_rng(devices=[]):
        built = transformers.AutoModelForCausalLM.from_config(config)
    deviation = config.init_std if config.model_type == "opt" else config.initializer_range
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, deviation, generator=generator)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    return built


def initial(recipe: dict[str, Any]) -> PreTrainedModel:
    """The model of a recipe before its first step: fresh, or with the weights of a checkpoint where its shape names some. Their
    folder, which is in no digest, is recipe["weights"] then; RunError where they are not there."""
    if "weights" not in recipe["model"]:
        return build(recipe["model"], recipe["seed"])
    return load(recipe["model"], Path(recipe["weights"]))


def fresh(recipe: dict[str, Any]) -> dict[str, Any]:
    """The same recipe from fresh weights, wherever it starts: as fast, as large, and to be had without a checkpoint."""
    return {**recipe, "model": {key: value for key, value in recipe["model"].items() if key != "weights"}}


def config_of(model: dict[str, Any]) -> PretrainedConfig:
    """The transformers config of a shape. No token is special to it: padding would freeze a row of the embedding."""
    values = {key: value for key, value in model.items() if key not in ("family", "weights")}
    no_token = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    return transformers.AutoConfig.for_model(model["family"], **values, **no_token, use_cache=False, dtype="float32")


def on_meta(model: dict[str, Any]) -> PreTrainedModel:
    """The model without memory for its weights."""
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(config_of(model))


def count(model: dict[str, Any]) -> Counts:
    """Exact counts of any shape, from the model on the meta device. Position embeddings are embeddings."""
    return _count(json.dumps({key: value for key, value in model.items() if key != "weights"}))


@lru_cache(maxsize=256)
def _count(model: str) -> Counts:
    built = on_meta(json.loads(model))
    embeddings = [m for m in built.modules() if isinstance(m, nn.Embedding)]
    aside = {id(p) for module in [*embeddings, built.get_output_embeddings()] for p in module.parameters()}
    sizes = {id(p): p.numel() for p in built.parameters()}
    return Counts(sum(n for key, n in sizes.items() if key not in aside), sum(sizes.values()))


def load(model: dict[str, Any], folder: Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """The model on the CPU with the weights in `folder`. RunError where they are not those of this shape, or where it is no model
    that predicts the next token."""
    with torch.random.fork_rng(devices=[]):
        loaded, report = transformers.AutoModelForCausalLM.from_pretrained(
            folder, config=config_of(model), dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    if lacking := sorted(report["missing_keys"]) or sorted(report["mismatched_keys"]):
        raise RunError(
            f"the weights in {folder} lack {lacking[0]} ({len(lacking)} tensors in all) of the model that its config.json describes"
        )
    if not _is_causal(loaded):
        raise RunError(
            f"the model in {folder} reads what comes after a token, as models do that fill gaps: it can neither be trained nor scored as "
            "one that predicts the next token; name another"
        )
    return loaded


@torch.no_grad()
def _is_causal(model: PreTrainedModel) -> bool:
    """Whether no logit depends on a later token. transformers builds BERT and its kin as language models without a word of protest."""
    tokens = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1]])
    one, other = model(input_ids=tokens, use_cache=False).logits[:, :-1]
    return not (one - other).norm() > 10 * torch.finfo(one.dtype).eps * one.norm()
