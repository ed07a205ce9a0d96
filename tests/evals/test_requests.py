"""What is scored of a choice: lm-eval's rule, told by its tokens; what is cut; what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ablate.errors import DataError
from ablate.evals.benchmarks import make
from ablate.evals.items import Benchmark, Item
from ablate.evals.likelihood import likelihoods
from ablate.evals.requests import Requests, requests
from tests.evals.plain import ids, read
from tests.evals.test_scoring import CPU, TOLERANCE


def benchmark(*items: Item) -> Benchmark:
    return make("probe", "language", "textbook", False, 0.5, items)


def scored(prepared: Requests, choice: int) -> list[int]:
    return np.concatenate([batch.target.numpy()[batch.choice == choice] for batch in prepared.batches]).tolist()


def read_before(prepared: Requests) -> list[int]:
    """The first row's tokens, all choices being the last token of theirs."""
    (batch,) = prepared.batches
    return batch.tokens[0].tolist()


def test_blanks_at_the_end_of_a_context_go_to_the_choice(tokenizer: PreTrainedTokenizerFast) -> None:
    """` five` is other tokens than a space and `five`: after a trailing space it would be scored as no text has it."""
    item = Item("lamps are there? ", ("five", "three"), 0, "t")
    assert ids(tokenizer, "lamps are there? five")[: len(ids(tokenizer, "lamps are there? "))] != ids(tokenizer, "lamps are there? ")
    prepared = requests(benchmark(item, item), tokenizer, 64)
    assert tokenizer.decode(scored(prepared, 0)) == " five"


def test_what_is_scored_is_the_whole_without_as_many_tokens_as_the_context_has(tokenizer: PreTrainedTokenizerFast) -> None:
    """Also where the two merge, as in lm-eval: the context's tokens, then the rest of the whole."""
    item = Item("The gar", ("den at night", " age"), 0, "t")
    context, whole = ids(tokenizer, "The gar"), ids(tokenizer, "The garden at night")
    assert whole[: len(context)] != context
    assert scored(requests(benchmark(item, item), tokenizer, 64), 0) == whole[len(context) :]


def test_a_choice_that_vanishes_in_its_context_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(ids(tokenizer, "The garden")) <= len(ids(tokenizer, "The gar"))
    with pytest.raises(DataError, match=r"item 1 .'den'.* adds no token to its context"):
        requests(benchmark(Item("The", (" owl", " lamp"), 0, "t"), Item("The gar", ("den", " age"), 0, "t")), tokenizer, 64)


@pytest.mark.parametrize(("prefix", "first"), [(None, 1), ((), 0), ((7, 8), 2)])
def test_the_prefix_comes_before_every_context(tokenizer: PreTrainedTokenizerFast, prefix: tuple[int, ...] | None, first: int) -> None:
    item = Item("The owl", (" sees", " has"), 0, "t")
    prepared = requests(benchmark(item, item), tokenizer, 64, prefix=prefix)
    begun = [tokenizer.eos_token_id] if prefix is None else list(prefix)
    assert read_before(prepared)[: first + 2] == (begun + ids(tokenizer, "The owl"))[: first + 2]


def test_an_empty_context_is_never_without_a_token(tokenizer: PreTrainedTokenizerFast) -> None:
    item = Item("", ("The owl", "The lamp"), 0, "t")
    prepared = requests(benchmark(item, item), tokenizer, 64, prefix=())
    assert read_before(prepared)[0] == tokenizer.bos_token_id
    assert scored(prepared, 0) == ids(tokenizer, "The owl")


def test_each_choice_keeps_its_last_tokens(tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM) -> None:
    long = Item("The owl sees the garden. " * 20 + "It was", (" dark at night", " red"), 0, "long")
    short = Item("Ben gave the lamp to", (" Ada", " the owl"), 0, "give")
    prepared = requests(benchmark(long, short), tokenizer, 24)
    assert prepared.truncated == 1
    assert max(int(batch.positions.max()) for batch in prepared.batches) == 23
    expected = [read(model, tokenizer, item.context, choice, 24)[0] for item in (long, short) for choice in item.choices]
    np.testing.assert_allclose(likelihoods(model, prepared, CPU).logprobs, expected, atol=TOLERANCE)


def test_a_choice_too_long_to_be_seen_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    item = Item("", ("The owl sees the garden.", "The owl see the garden."), 0, "agree")
    with pytest.raises(DataError, match=r"choice of item 0 .* has \d+ tokens, and the models see 4 at once"):
        requests(benchmark(item, item), tokenizer, 4)


def test_lengths_for_norms(tokenizer: PreTrainedTokenizerFast) -> None:
    """Characters without the delimiter for acc_norm, bytes with it for bits per byte."""
    prepared = requests(benchmark(Item("A", (" é", "  b"), 0, "t"), Item("", ("猫 🐈", "x"), 0, "t")), tokenizer, 64)
    assert prepared.choice_characters.tolist() == [1, 2, 3, 1]
    assert prepared.choice_bytes.tolist() == [3, 3, 8, 1]
