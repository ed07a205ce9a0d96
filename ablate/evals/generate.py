"""Text that a model writes after prompts: in batches, with a KV cache (transformers' `generate`), greedy or sampled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import GenerationConfig, PreTrainedTokenizerFast

from ablate.errors import DataError
from ablate.evals.items import Benchmark
from ablate.evals.requests import encode
from ablate.evals.result import Result, columns, stderr

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CACHE_BYTES = {"cpu": 2**30, "cuda": 2**32}
"""Most memory for the keys and values of a batch. Constants, not a share of what is free: sampled text depends on the batches."""
BATCH_ROWS = 128


@dataclass(frozen=True)
class Decoding:
    """How text is written."""

    max_new_tokens: int
    stop: tuple[str, ...] = ()
    """A text ends before the first of these that it would hold; what stands in the prompt does not count."""
    temperature: float = 0.0
    """0: always the likeliest token."""
    top_p: float = 1.0
    samples: int = 1
    """Texts a prompt."""
    seed: int = 0


@dataclass(frozen=True)
class Written:
    """What a model wrote after some prompts."""

    texts: tuple[tuple[str, ...], ...]
    """Of each prompt, in order, its samples, without the prompt."""
    truncated: int
    """Prompts that lost tokens at the left."""

    @property
    def firsts(self) -> list[str]:
        """One text a prompt."""
        return [samples[0] for samples in self.texts]


@dataclass(frozen=True)
class Writer:
    """A model that writes. It is in eval mode, on `device`."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    device: torch.device
    prefix: tuple[int, ...]
    """The tokens that every text begins with for this model."""
    max_tokens: int
    """How many it sees at once."""

    def write(self, prompts: Sequence[str], decoding: Decoding) -> Written:
        """What follows each prompt, up to an end-of-text token of the model's own or a stop string.

        A prompt keeps the last tokens, prefix included, that leave room for max_new_tokens; DataError where that leaves none. Equal
        arguments on the same kind of device give equal batches and seeds, and so the same sampled texts.
        """
        check_room(decoding, self.max_tokens)
        room = self.max_tokens - decoding.max_new_tokens
        tokens = [[*self.prefix, *ids] for ids in encode(self.tokenizer, prompts)]
        rows = [(prompt, ids[-room:]) for prompt, ids in enumerate(tokens) for _ in range(decoding.samples)]
        texts: list[list[str]] = [[] for _ in prompts]
        ends = self._end_tokens()
        with _no_rules_of_its_own(self.model):
            for number, batch in enumerate(self._batches(rows, decoding.max_new_tokens)):
                written = self._batch([ids for _, ids in batch], decoding, number, ends)
                for (prompt, _), text in zip(batch, written, strict=True):
                    texts[prompt].append(text)
        return Written(tuple(map(tuple, texts)), sum(len(ids) > room for ids in tokens))

    def _end_tokens(self) -> list[int]:
        """The tokens that end a text: the model's own, which may be several, and the tokenizer's."""
        own = self.model.generation_config.eos_token_id
        ends = {*(own if isinstance(own, list) else [own]), self.tokenizer.eos_token_id}
        return sorted(end for end in ends if end is not None)

    def _batches(self, rows: list[tuple[int, list[int]]], new_tokens: int) -> Iterator[list[tuple[int, list[int]]]]:
        """Rows of about one length, the longest first: what does not fit into memory shows at once."""
        config = self.model.config
        token_bytes = 2 * config.num_hidden_layers * config.hidden_size * self.model.dtype.itemsize  # fewer where heads share keys
        fit = CACHE_BYTES[self.device.type] // token_bytes
        ordered = sorted(rows, key=lambda row: -len(row[1]))
        while ordered:
            count = min(BATCH_ROWS, max(1, fit // (len(ordered[0][1]) + new_tokens)))
            yield ordered[:count]
            ordered = ordered[count:]

    def _batch(self, rows: list[list[int]], decoding: Decoding, number: int, ends: list[int]) -> list[str]:
        """What follows each row of tokens, as text. Rows are padded at the left, so that all go on at the same place."""
        length = max(map(len, rows))
        pad = ends[0] if ends else 0
        tokens = torch.tensor([[pad] * (length - len(row)) + row for row in rows], device=self.device)
        mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows], device=self.device)
        sampling = {"do_sample": True, "temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": 0}
        rules = GenerationConfig(
            max_new_tokens=decoding.max_new_tokens,
            use_cache=True,
            eos_token_id=ends or None,
            pad_token_id=pad,
            **(sampling if decoding.temperature else {"do_sample": False}),
        )
        stops = [_Stop(self.tokenizer, decoding.stop, length, len(rows))] if decoding.stop else []
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(decoding.seed + number)
            out = self.model.generate(tokens, attention_mask=mask, generation_config=rules, stopping_criteria=stops)
        return [self._text(ids, decoding.stop, ends) for ids in out[:, length:].tolist()]

    def _text(self, ids: list[int], stop: Sequence[str], ends: list[int]) -> str:
        end = next((i for i, token in enumerate(ids) if token in ends), len(ids))
        text = _decode(self.tokenizer, [ids[:end]])[0]
        return text[: min((at for word in stop if (at := text.find(word)) >= 0), default=len(text))]


def check_room(decoding: Decoding, max_tokens: int) -> None:
    """DataError where a model that sees `max_tokens` at once has no room for a prompt before what it is to write."""
    if decoding.max_new_tokens >= max_tokens:
        raise DataError(
            f"up to {decoding.max_new_tokens} tokens are to be written, and the model sees {max_tokens} at once, so no prompt fits; "
            "leave the benchmark out, or use a model that sees more (a run: data.seq_len)"
        )


def graded(
    benchmark: Benchmark,
    metric: str,
    values: Sequence[float] | NDArray[Any],
    outputs: Sequence[str],
    truncated: int,
    details: Mapping[str, float],
) -> Result:
    """The result of a benchmark whose outputs were given a value each, 0 to 1."""
    correct = np.asarray(values, dtype=np.float64)
    return Result(
        benchmark=benchmark,
        metric=metric,
        score=float(correct.mean()),
        stderr=stderr(benchmark, correct),
        chance=benchmark.chance,
        truncated=truncated,
        details=details,
        answers=columns(benchmark, correct=correct, output=outputs),
    )


@contextmanager
def _no_rules_of_its_own(model: PreTrainedModel) -> Iterator[None]:
    """A published model may bring a temperature, a repetition penalty or forbidden words, which `generate` would heed."""
    kept, model.generation_config = model.generation_config, GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = kept


def _decode(tokenizer: PreTrainedTokenizerFast, rows: list[list[int]]) -> list[str]:
    return list(tokenizer.batch_decode(rows, skip_special_tokens=True, clean_up_tokenization_spaces=False))


class _Stop:
    """A stopping criterion of `generate`: ends a row once a stop string stands in what was written. (transformers' own
    StopStringCriteria also finds one that the prompt begins.)"""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, stop: tuple[str, ...], prompt_tokens: int, rows: int) -> None:
        self._tokenizer = tokenizer
        self._stop = stop
        self._prompt_tokens = prompt_tokens
        self._window = max(len(word.encode()) for word in stop) + 1  # a token is a byte or more; one more, whose leading space may be lost
        self._ended = [False] * rows

    def __call__(self, tokens: Tensor, scores: Any, **_: Any) -> Tensor:
        """tokens: [rows, length], prompts included. → [rows], whether the row has ended."""
        begin = max(self._prompt_tokens, tokens.shape[1] - self._window)
        going = [row for row, ended in enumerate(self._ended) if not ended]
        tails = _decode(self._tokenizer, tokens[going, begin:].tolist())
        for row, tail in zip(going, tails, strict=True):
            self._ended[row] = any(word in tail for word in self._stop)
        return torch.tensor(self._ended, device=tokens.device)
