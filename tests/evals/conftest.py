"""A small tokenizer and a small model for the tests of scoring."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaForCausalLM, PreTrainedTokenizerFast

from ablate.errors import UsageError
from ablate.evals.sandbox import check
from tests.evals.small_model import TEXT, build


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Models this small only lose by a second thread, and by far where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def sandbox() -> None:
    """That programs can be confined on this machine. (That none is run where they cannot be: test_sandbox.)"""
    try:
        check(True, "this test")
    except UsageError as e:
        pytest.skip(str(e))


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator([TEXT] * 2, trainers.BpeTrainer(vocab_size=320, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet))
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<|endoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>")


@pytest.fixture(scope="session")
def model() -> LlamaForCausalLM:
    return build("eager")


@pytest.fixture(scope="session")
def capped() -> Gemma2ForCausalLM:
    """A model that caps its logits after the output embedding, as Gemma-2 does: the whole of it must be asked."""
    config = Gemma2Config(
        vocab_size=320, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        head_dim=16, initializer_range=0.3, max_position_embeddings=64, final_logit_softcapping=2.0, attn_implementation="eager",
    )  # fmt: skip
    torch.manual_seed(0)
    return Gemma2ForCausalLM(config).eval()
