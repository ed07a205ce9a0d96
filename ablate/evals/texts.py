"""How well a model predicts a text: bits per byte, which models with different tokenizers can be compared by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast

from ablate.data.sources import measured
from ablate.data.tokenizer import end_of_text
from ablate.errors import DataError, RunError
from ablate.evals.likelihood import LOGITS_AT_ONCE
from ablate.evals.requests import encode
from ablate.evals.trees import by_length
from ablate.model import logits
from ablate.study import spec

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HELD_OUT_BYTES = 200_000


@dataclass(frozen=True)
class TextLoss:
    """The loss on one text."""

    bits_per_byte: float
    tokens: int
    """Tokens scored: all of the documents' own, <|endoftext|> not."""
    bytes: int
    """UTF-8 bytes of the documents."""


@dataclass(frozen=True)
class Windows:
    """Documents as windows for one tokenizer; serves every model that uses it."""

    batches: tuple[NDArray[np.int64], ...]
    """Each [rows, length + 1], −1 where padded: inputs are all columns but the last, targets all but the first."""
    tokens: int
    bytes: int


def held_out_documents(source: spec.Source, trained_on: bool, limit_bytes: int = HELD_OUT_BYTES) -> list[str]:
    """The first documents of those a source is measured on, whole, as long as together they have at most `limit_bytes`
    UTF-8 bytes. Of a first document that is longer, its beginning. Empty where the source holds none out."""
    taken: list[str] = []
    room = limit_bytes
    for document in measured(source, trained_on):
        size = len(document.encode())
        if size > room:
            return taken or [document.encode()[:limit_bytes].decode(errors="ignore")]
        taken.append(document)
        room -= size
    return taken


def windows(documents: Sequence[str], tokenizer: PreTrainedTokenizerFast, seq_len: int, first: int | None = None) -> Windows:
    """Cut documents into windows of `seq_len` tokens, so that every token is a target exactly once.

    A document's first window begins with the token `first` (default: <|endoftext|>) as context, each later one with the last token of the
    window before it (as sequences in training overlap by one). Windows never reach over two documents.
    """
    tokenised = encode(tokenizer, documents)
    begin = end_of_text(tokenizer) if first is None else first
    cuts = [window for ids in tokenised for window in _cut([begin, *ids], seq_len)]
    if not cuts:
        raise DataError("the documents to measure bits per byte on are empty")
    return Windows(
        batches=tuple(_padded(group) for group in by_length(cuts, len)),
        tokens=sum(map(len, tokenised)),
        bytes=sum(len(document.encode()) for document in documents),
    )


def _cut(ids: list[int], seq_len: int) -> list[list[int]]:
    return [ids[i : i + seq_len + 1] for i in range(0, len(ids) - 1, seq_len)]


def _padded(cuts: list[list[int]]) -> NDArray[np.int64]:
    batch = np.full((len(cuts), max(map(len, cuts))), -1, dtype=np.int64)
    for i, cut in enumerate(cuts):
        batch[i, : len(cut)] = cut
    return batch


def bits_per_byte(model: PreTrainedModel, windows: Windows, device: torch.device) -> TextLoss:
    """−Σ log2 p(token) / bytes. RunError where the loss is not a finite number."""
    nats = sum(_nats(model, torch.from_numpy(batch).to(device)) for batch in windows.batches)
    if not math.isfinite(nats):
        raise RunError(f"the loss on held-out text is {nats}, not a finite number")
    return TextLoss(bits_per_byte=nats / math.log(2) / windows.bytes, tokens=windows.tokens, bytes=windows.bytes)


@torch.inference_mode()
def _nats(model: PreTrainedModel, batch: torch.Tensor) -> float:
    """Summed loss of a batch. Padding lies at the right, where a causal model's other tokens cannot see it: no mask needed."""
    hidden = logits.body(model)(input_ids=batch[:, :-1].clamp(min=0), use_cache=False)[0]
    head, target = logits.head(model), batch[:, 1:]
    hidden, target = hidden[target >= 0], target[target >= 0]
    at_once = max(1, LOGITS_AT_ONCE // model.config.vocab_size)
    losses = [
        cross_entropy(head(hidden[i : i + at_once]).float(), target[i : i + at_once], reduction="none").double().sum()
        for i in range(0, len(target), at_once)
    ]
    return float(torch.stack(losses).sum())
