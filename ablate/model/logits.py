"""How a model's logits come from its decoder's last hidden state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Names of config values by which a model changes its logits after the output embedding.
_CHANGES = ("logit_scale", "logits_scaling", "final_logit_softcapping", "lm_head_multiplier")


def are_plain(model: PreTrainedModel) -> bool:
    """Whether a model's logits are a linear map of its decoder's last hidden state, and nothing else."""
    changed = [name for name in _CHANGES if getattr(model.config, name, None) not in (None, 1.0)]
    return model.base_model is not model and isinstance(model.get_output_embeddings(), nn.Linear) and not changed


def body(model: PreTrainedModel) -> nn.Module:
    """What reads the tokens: the decoder, or the whole model where its logits are not just its head's. The first of its outputs goes to
    `head`."""
    read: nn.Module = model.base_model if are_plain(model) else model
    return read


def head(model: PreTrainedModel) -> nn.Module:
    """What makes logits of the body's output: [..., vocabulary]."""
    made: nn.Module = model.get_output_embeddings() if are_plain(model) else nn.Identity()
    return made
