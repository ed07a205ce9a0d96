"""Bits per byte: every token once, and the same as one document at a time."""

from __future__ import annotations

import copy
import math
from itertools import islice
from pathlib import Path

import pytest
import torch
from transformers import Gemma2ForCausalLM, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from ablate.errors import DataError, RunError
from ablate.evals import texts as texts_module
from ablate.evals.requests import encode
from ablate.evals.texts import bits_per_byte, held_out_documents, windows
from ablate.study.spec import Source
from tests.evals.small_model import TEXT

CPU = torch.device("cpu")
DOCUMENTS = [TEXT, "The owl.", "", "Café 猫 🐈", TEXT[::-1]]


def plain_bits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, document: str, seq_len: int) -> float:
    """One window at a time, each token from what precedes it in its window."""
    ids = [tokenizer.eos_token_id, *encode(tokenizer, [document])[0]]
    total = 0.0
    for start in range(0, len(ids) - 1, seq_len):
        window = torch.tensor([ids[start : start + seq_len + 1]])
        with torch.no_grad():
            total += float(model(window[:, :-1]).logits.double().log_softmax(-1)[0].gather(1, window[0, 1:, None]).sum())
    return -total / math.log(2)


@pytest.mark.parametrize(("seq_len", "logits_at_once"), [(1, 2**24), (7, 2**24), (64, 5 * 320)])
def test_equals_one_window_at_a_time(
    tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM, seq_len: int, logits_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts_module, "LOGITS_AT_ONCE", logits_at_once)
    loss = bits_per_byte(model, windows(DOCUMENTS, tokenizer, seq_len), CPU)
    bits = sum(plain_bits(model, tokenizer, document, seq_len) for document in DOCUMENTS)
    assert loss.bytes == len("".join(DOCUMENTS).encode())
    assert loss.tokens == sum(map(len, encode(tokenizer, DOCUMENTS)))
    assert loss.bits_per_byte == pytest.approx(bits / loss.bytes, rel=1e-5)


def test_logits_that_are_not_just_the_head_s(tokenizer: PreTrainedTokenizerFast, capped: Gemma2ForCausalLM) -> None:
    loss = bits_per_byte(capped, windows(DOCUMENTS, tokenizer, 32), CPU)
    bits = sum(plain_bits(capped, tokenizer, document, 32) for document in DOCUMENTS)
    assert loss.bits_per_byte == pytest.approx(bits / loss.bytes, rel=1e-5)


def test_every_token_is_a_target_once(tokenizer: PreTrainedTokenizerFast) -> None:
    prepared = windows(DOCUMENTS, tokenizer, 7)
    targets = sorted(int(token) for batch in prepared.batches for token in batch[:, 1:].ravel() if token >= 0)
    assert targets == sorted(token for ids in encode(tokenizer, DOCUMENTS) for token in ids)


def test_an_untrained_uniform_model_needs_log2_of_the_vocabulary(tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM) -> None:
    uniform = copy.deepcopy(model)
    torch.nn.init.zeros_(uniform.lm_head.weight)
    loss = bits_per_byte(uniform, windows(DOCUMENTS, tokenizer, 32), CPU)
    assert loss.bits_per_byte == pytest.approx(math.log2(320) * loss.tokens / loss.bytes, rel=1e-6)


def test_refusals(tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM) -> None:
    dead = copy.deepcopy(model)
    torch.nn.init.constant_(dead.model.norm.weight, math.nan)
    with pytest.raises(RunError, match="not a finite number"):
        bits_per_byte(dead, windows(DOCUMENTS, tokenizer, 32), CPU)
    with pytest.raises(DataError, match="empty"):
        windows([""], tokenizer, 32)


def test_held_out_documents_are_whole_and_bounded(tmp_path: Path) -> None:
    texts = [f"Document {i}: {'é' * 10}" for i in range(20)]
    for i, text in enumerate(texts):
        (tmp_path / f"{i:02}.txt").write_text(text, encoding="utf-8")
    source = Source.model_validate(f"files:{tmp_path}/*.txt")
    size = len(texts[0].encode())
    assert held_out_documents(source, trained_on=False, limit_bytes=3 * size) == texts[:3]
    assert held_out_documents(source, trained_on=False, limit_bytes=size - 1) == [texts[0][:-1]]
    assert len(held_out_documents(source, trained_on=False)) == 20
    assert len(held_out_documents(source, trained_on=True)) < 5


def test_held_out_documents_of_an_endless_source() -> None:
    taken = held_out_documents(Source(builtin="neutral"), trained_on=False, limit_bytes=20_000)
    assert 15_000 < sum(len(document.encode()) for document in taken) <= 20_000
    assert all(islice(taken, 10))
