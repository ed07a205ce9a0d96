"""The log-probabilities that a model gives to prepared requests: trunks are read once, logits are made only where a scored token comes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import Cache, DynamicCache, DynamicLayer

from ablate.errors import RunError
from ablate.evals.requests import Requests
from ablate.evals.trees import Batch
from ablate.model import logits as logits_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

LOGITS_AT_ONCE = 2**24
"""Most logits held at once in float32 (64 MiB)."""

_TREE_FAMILIES = ("llama", "phi", "gpt2", "gpt_bigcode", "codegen", "opt")


@dataclass(frozen=True)
class Likelihoods:
    """Of every continuation, in the order of `Requests.first_choice`."""

    logprobs: NDArray[np.float64]
    """Nats, summed over its tokens."""
    greedy: NDArray[np.bool_]
    """Whether each of its tokens is the likeliest one; all False where that was not asked."""


def reads_trees(family: str) -> bool:
    """Whether a family (transformers' model_type) attends by the mask and the positions it is given, and by nothing else.

    Others reckon with the distance between tokens in a row (ALiBi, windows) or with masks of their own; they read one
    sequence a row.
    """
    return family in _TREE_FAMILIES


def window(config: PretrainedConfig) -> int | None:
    """How many tokens a model sees at once; None where its config does not say."""
    seen: int | None = getattr(config, "max_position_embeddings", None) or getattr(config, "max_seq_len", None)  # MPT's name for it
    return seen


def likelihoods(model: PreTrainedModel, requests: Requests, device: torch.device, greedy: bool = False) -> Likelihoods:
    """Read all requests with a model in eval mode on `device`.

    RunError where the requests are not prepared for such a model, and where a log-probability is not finite: the argmax of NaNs is the
    first choice, and a dead model would get a score.
    """
    _refuse_unfit(model, requests)
    total = np.zeros(len(requests.choice_bytes))
    missed = np.zeros(len(total))
    for batch, states in _states(model, requests, device):
        logprobs, likeliest = _token_values(model, batch, states, greedy)
        total += np.bincount(batch.choice, weights=logprobs, minlength=len(total))
        missed += np.bincount(batch.choice, weights=~likeliest, minlength=len(total))
    bad = np.flatnonzero(~np.isfinite(total))
    if len(bad):
        item = int(np.searchsorted(requests.first_choice, bad[0], side="right")) - 1
        raise RunError(
            f"benchmark {requests.benchmark.name}: the model gives {len(bad)} of {len(total)} choices a log-probability that is not a "
            f"finite number (the first in item {item}: {total[bad[0]]}); it has no score"
        )
    return Likelihoods(total, missed == 0)


def _refuse_unfit(model: PreTrainedModel, requests: Requests) -> None:
    name, config = requests.benchmark.name, model.config
    limit = window(config)
    if limit is not None and limit < requests.max_tokens:
        raise RunError(f"benchmark {name} is prepared for models that see {requests.max_tokens} tokens at once; this one sees {limit}")
    if requests.shared and not reads_trees(config.model_type):
        raise RunError(f"benchmark {name} is prepared with shared prefixes, which a model of the family {config.model_type} cannot read")


@torch.inference_mode()
def _states(model: PreTrainedModel, requests: Requests, device: torch.device) -> Iterator[tuple[Batch, Tensor]]:
    """Of each batch what comes out of the model's body after each predictor: [predictors, width].

    One sequence a row needs no mask, which attention is slower with: padding lies at the right, where a causal model's other tokens
    cannot see it.
    """
    body = logits_of.body(model)
    trunk: Tensor | None = None
    behind: dict[str, Any] = {}
    for batch in requests.batches:
        if requests.shared and batch.trunk is not trunk:
            trunk = batch.trunk
            behind = {"past_key_values": _read_trunk(body, trunk.to(device)), "use_cache": True} if len(trunk) else {"use_cache": False}
        tree: dict[str, Any] = {"use_cache": False}
        if requests.shared and not _are_chains(batch):
            mask = _tree_mask(batch.last_below.to(device), len(batch.trunk), model.dtype)
            tree = {"attention_mask": mask, "position_ids": batch.positions.to(device), **behind}
        out = body(input_ids=batch.tokens.to(device), **tree)[0]
        yield batch, out.flatten(0, 1)[batch.predictors.to(device)]


class _TrunkLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values of a trunk, [1, heads, P, head size]: every row of a batch sees them before its own; nothing is added."""

    def __init__(self, read: DynamicLayer) -> None:
        super().__init__()
        self.lazy_initialization(read.keys, read.values)
        self.keys, self.values = read.keys, read.values

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        rows = len(key_states)
        keys = torch.cat([self.keys.expand(rows, -1, -1, -1), key_states], dim=-2)
        return keys, torch.cat([self.values.expand(rows, -1, -1, -1), value_states], dim=-2)


def _read_trunk(body: nn.Module, trunk: Tensor) -> Cache:
    cache = DynamicCache()
    body(input_ids=trunk[None], past_key_values=cache, use_cache=True)
    return Cache(layers=[_TrunkLayer(layer) for layer in cache.layers])


@torch.inference_mode()
def _token_values(model: PreTrainedModel, batch: Batch, states: Tensor, greedy: bool) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Of every scored token of a batch, [T]: its log-probability, and whether it is the likeliest (asked for by `greedy`)."""
    device, head = states.device, logits_of.head(model)
    target = batch.target.to(device)
    parts: list[tuple[NDArray[np.float64], NDArray[np.bool_]]] = []
    at_once = max(1, LOGITS_AT_ONCE // model.config.vocab_size)
    for first in range(0, len(states), at_once):
        begin, end = np.searchsorted(batch.predictor, [first, first + at_once]).tolist()
        logits = head(states[first : first + at_once]).float()
        rows, wanted = torch.from_numpy(batch.predictor[begin:end] - first).to(device), target[begin:end]
        values = logits[rows, wanted] - logits.logsumexp(dim=-1)[rows]
        likeliest = logits.argmax(dim=-1)[rows] == wanted if greedy else torch.zeros(len(wanted), dtype=torch.bool)
        parts.append((values.cpu().numpy().astype(np.float64), likeliest.cpu().numpy()))
    logprobs, matches = zip(*parts, strict=True)
    return np.concatenate(logprobs), np.concatenate(matches)


def _are_chains(batch: Batch) -> bool:
    """Whether every row is one sequence and follows no trunk. A node that has only itself below it is padding, unless something is asked
    after it: then it is another sequence."""
    if len(batch.trunk):
        return False
    length, last = batch.last_below.shape[1], batch.last_below[:, 0]
    row, column = batch.predictors // length, batch.predictors % length
    return torch.equal(batch.last_below, torch.maximum(last[:, None], torch.arange(length))) and bool((column <= last[row]).all())


def _tree_mask(last_below: Tensor, trunk: int, dtype: torch.dtype) -> Tensor:
    """[rows, 1, length, trunk + length], added to the attention scores: 0 where a node sees another (the trunk, its ancestors, itself)."""
    rows, length = last_below.shape
    node = torch.arange(length, device=last_below.device)
    seen = (node[:, None] >= node) & (node[:, None] <= last_below[:, None, :])
    mask = torch.zeros((rows, 1, length, trunk + length), dtype=dtype, device=last_below.device)
    mask[:, 0, :, trunk:].masked_fill_(~seen, torch.finfo(dtype).min)
    return mask
