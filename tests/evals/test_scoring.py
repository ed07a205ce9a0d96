"""Packed scoring against one sequence a choice; what a score says; refusals."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Gemma2ForCausalLM, LlamaForCausalLM, PreTrainedTokenizerFast

from ablate.errors import RunError
from ablate.evals import likelihood as likelihood_module
from ablate.evals import trees as trees_module
from ablate.evals.benchmarks import make
from ablate.evals.items import Benchmark, Item
from ablate.evals.likelihood import likelihoods, reads_trees
from ablate.evals.requests import Requests, encode, requests
from ablate.evals.scoring import score, score_digest
from ablate.model.build import build as build_shape
from tests.evals.plain import read
from tests.evals.small_model import build
from tests.model.shapes import EVERY

CPU = torch.device("cpu")
TOLERANCE = 1e-4
ITEMS = [
    Item("Ben gave the lamp to", (" Ada", " the owl at night", " Ben"), 0, "give"),
    Item("Ben gave the lamp to", (" the garden", " two owls"), 1, "give"),
    Item("", ("The owl sees the garden.", "The owl see the garden."), 0, "agree"),
    Item("", ("The owls see the garden.", "The owls sees the garden."), 0, "agree"),
    Item("How many lamps are there? ", ("five", " five", "three red lamps"), 2, "space"),
    Item("The gar", ("den at night", " age", " d"), 0, "merge"),
    Item("Café – “naïve” 猫", (" 犬", " 🐈 🐈", " owl"), 1, "bytes"),
    Item("A", (" b", " c", " d", " e", " f"), 4, "short"),
    Item("", (" sees it.", " sees it!"), 0, "blank", contexts=("The owl", "The garden at night")),
]
TOLD = ("lamp", "owl", "garden", "night", "three", "five", "Ada")
LONG = "The owl sees the garden at night. Ada has three red lamps. "
SHOTS = [
    *(Item(f"{LONG}Ben gave the {what} to", (" Ada", " the owl at night", " Ben"), i % 3, "give") for i, what in enumerate(TOLD)),
    *(Item(f"Two lamps. {LONG}It was {what}. Is it", (" dark", " red"), i % 2, "is") for i, what in enumerate(TOLD)),
]
"""Items that begin alike, and long."""


def benchmark(items: list[Item]) -> Benchmark:
    return make("probe", "language", "textbook", False, 0.5, items)


def plain(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, item: Item, max_tokens: int = 64) -> list[float]:
    return [read(model, tokenizer, item.context_of(i), choice, max_tokens)[0] for i, choice in enumerate(item.choices)]


def assert_equals_plain(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prepared: Requests) -> None:
    items, answered = prepared.benchmark.questions, score(model, prepared, CPU)
    got = np.split(likelihoods(model, prepared, CPU).logprobs, prepared.first_choice[1:-1])
    for i, (item, values) in enumerate(zip(items, got, strict=True)):
        expected = np.array(plain(model, tokenizer, item, prepared.max_tokens))
        np.testing.assert_allclose(values, expected, atol=TOLERANCE)
        assert answered.answers["choice"][i] == expected.argmax()
        assert answered.answers["logprob"][i] == pytest.approx(expected[item.answer], abs=TOLERANCE)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(("row_tokens", "logits_at_once"), [(1, 2**24), (64, 5 * 320), (10_000, 1)])
def test_packed_equals_one_sequence_a_choice(
    tokenizer: PreTrainedTokenizerFast, attention: str, row_tokens: int, logits_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However items are put into rows, and however many logits are made at once."""
    monkeypatch.setattr(trees_module, "ROW_TOKENS", row_tokens)
    monkeypatch.setattr(likelihood_module, "LOGITS_AT_ONCE", logits_at_once)
    assert_equals_plain(build(attention), tokenizer, requests(benchmark(ITEMS), tokenizer, 64))


@pytest.mark.parametrize("saves", [1, 10**6])
def test_what_many_items_begin_with_is_read_once(
    tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM, saves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself, where it saves enough, or in a row that goes on: the same numbers, a fraction of the tokens."""
    monkeypatch.setattr(trees_module, "TRUNK_SAVES", saves)
    monkeypatch.setattr(trees_module, "LONG_SHARED", 16)
    prepared = requests(benchmark([*SHOTS, *ITEMS]), tokenizer, 64)
    trunks = {id(batch.trunk): len(batch.trunk) for batch in prepared.batches}
    assert (sum(n > 0 for n in trunks.values()) >= 2) == (saves == 1)
    tokens = sum(trunks.values()) + sum(batch.tokens.numel() for batch in prepared.batches)
    separate = sum(batch.tokens.numel() for batch in requests(prepared.benchmark, tokenizer, 64, shared=False).batches)
    assert tokens < separate / 3
    assert_equals_plain(model, tokenizer, prepared)


def test_choices_of_an_item_that_is_cut_have_a_row_each(tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM) -> None:
    """They are cut at different places, and so share nothing: one long row of them all would be mostly mask."""
    items = [Item(f"{LONG * 8}It was {what}. Is it", (" dark at night", " red"), 0, "cut") for what in TOLD[:2]]
    prepared = requests(benchmark(items), tokenizer, 64)
    assert prepared.truncated == 2
    assert [row.numel() for batch in prepared.batches for row in batch.tokens] == [64] * 4
    assert all(likelihood_module._are_chains(batch) for batch in prepared.batches), "read without a mask"
    assert_equals_plain(model, tokenizer, prepared)


@pytest.mark.parametrize("name", EVERY)
def test_every_family_scores_as_one_sequence_a_choice(
    tokenizer: PreTrainedTokenizerFast, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Families that read trees by trees and trunks, the others a sequence a row; weights large enough for attention to matter."""
    monkeypatch.setattr(trees_module, "TRUNK_SAVES", 1)
    monkeypatch.setattr(trees_module, "LONG_SHARED", 16)
    deviation = {"init_std" if EVERY[name]["family"] == "opt" else "initializer_range": 0.3}
    model = build_shape({**EVERY[name], **deviation}, seed=0).eval()
    prepared = requests(benchmark([*ITEMS, *SHOTS]), tokenizer, 64, shared=reads_trees(model.config.model_type))
    assert any(len(batch.trunk) for batch in prepared.batches) == prepared.shared
    assert_equals_plain(model, tokenizer, prepared)


def test_logits_that_are_more_than_a_head_s(tokenizer: PreTrainedTokenizerFast, capped: Gemma2ForCausalLM) -> None:
    assert_equals_plain(capped, tokenizer, requests(benchmark(ITEMS), tokenizer, 64, shared=False))


def test_what_is_prepared_for_other_models_is_refused(tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM) -> None:
    with pytest.raises(RunError, match="shared prefixes, which a model of the family mpt cannot read"):
        score(build_shape(EVERY["mpt-7b"], seed=0).eval(), requests(benchmark(ITEMS), tokenizer, 64), CPU)
    with pytest.raises(RunError, match="this one sees 64"):
        score(model, requests(benchmark(ITEMS), tokenizer, 128), CPU)


WORDS = st.lists(st.sampled_from(["The", " owl", " sees", " garden", "s", " ", "d", "é", " lamps"]), min_size=1, max_size=6).map("".join)
CHOICES = st.lists(WORDS.map(" {}".format), min_size=2, max_size=4, unique=True).map(tuple)
RANDOM_ITEMS = st.builds(Item, st.one_of(st.just(""), WORDS), CHOICES, st.integers(0, 1), WORDS)


@settings(max_examples=25, deadline=None)
@given(st.lists(RANDOM_ITEMS, min_size=2, max_size=8))
def test_packed_equals_plain_for_any_items(tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM, items: list[Item]) -> None:
    prepared = requests(benchmark(items), tokenizer, 64)
    got = np.split(likelihoods(model, prepared, CPU).logprobs, prepared.first_choice[1:-1])
    for values, item in zip(got, items, strict=True):
        np.testing.assert_allclose(values, plain(model, tokenizer, item), atol=TOLERANCE)


def test_shared_prefixes_are_run_once(tokenizer: PreTrainedTokenizerFast) -> None:
    """<|endoftext|> and the context once, and of each choice all tokens but the last."""
    items = [Item(context, (" Ada", " the owl", " Ben"), 0, "t") for context in ("Ben gave the lamp to", "Ben gave the garden to")]
    prepared = requests(benchmark(items), tokenizer, 64)
    contexts = encode(tokenizer, [item.context for item in items])
    first, *rest = ([len(ids) for ids in encode(tokenizer, [item.choices[i] for i in range(3)])] for item in items)
    shared = next(i for i, (a, b) in enumerate(zip(*contexts, strict=False)) if a != b)
    assert shared > 0
    expected = 1 + len(contexts[0]) + len(contexts[1]) - shared + 2 * sum(n - 1 for n in first)
    assert rest == [first]
    assert sum(batch.tokens.numel() for batch in prepared.batches) == expected


def test_a_dead_model_has_no_score(tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM) -> None:
    dead = copy.deepcopy(model)
    with torch.no_grad():
        dead.lm_head.weight[tokenizer.convert_tokens_to_ids("n")] = math.nan
    with pytest.raises(RunError, match="not a finite number"):
        score(dead, requests(benchmark(ITEMS), tokenizer, 64), CPU)


def test_what_a_score_says(tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM) -> None:
    items = ITEMS[:-1]
    prepared = requests(benchmark(items), tokenizer, 64)
    answered = score(model, prepared, CPU)
    row, answers = json.loads(json.dumps([answered.row(), answered.answers], allow_nan=False))
    expected = [np.array(plain(model, tokenizer, item)) for item in items]
    sizes = [[len(choice.removeprefix(" ")) for choice in item.choices] for item in items]
    normalised = [(values / size).argmax() for values, size in zip(expected, sizes, strict=True)]
    assert answers["choice"] == [values.argmax() for values in expected]
    assert answers["correct"] == [int(values.argmax() == item.answer) for values, item in zip(expected, items, strict=True)]
    assert answers["correct_norm"] == [int(choice == item.answer) for choice, item in zip(normalised, items, strict=True)]
    assert answers["correct"] != answers["correct_norm"]
    assert row["metric"] == "acc" and row["n"] == len(items) and row["details"] == {}
    assert (row["score"], row["acc_norm"]) == (np.mean(answers["correct"]), np.mean(answers["correct_norm"]))
    right = [values[item.answer] for values, item in zip(expected, items, strict=True)]
    size = sum(len(item.choices[item.answer].encode()) for item in items)
    assert row["mean_logprob"] == pytest.approx(np.mean(right), abs=TOLERANCE)
    assert row["bits_per_byte"] == pytest.approx(-sum(right) / math.log(2) / size, rel=TOLERANCE)
    assert score(model, prepared, CPU).answers == answered.answers


def test_one_context_a_choice_has_no_norm(tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM) -> None:
    blank = Item("", (" sees it.", " sees it."), 1, "blank", contexts=("The owl", "The garden at night"))
    prepared = requests(Benchmark("w", "g", "published", False, 0.5, "0" * 16, (blank, blank)), tokenizer, 64)
    answered = score(model, prepared, CPU)
    assert answered.acc_norm is None and answered.answers["correct_norm"] == [None, None]
    assert answered.answers["choice"][0] == np.argmax(plain(model, tokenizer, blank))


def test_several_true_choices(tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM) -> None:
    items = [Item("Ben gave the lamp to", (" Ada", " the owl", " Ben", " two"), 0, "t", answers=answers) for answers in ((0, 2), (1, 3))]
    answered = score(model, requests(benchmark(items), tokenizer, 64), CPU)
    mass = np.exp(plain(model, tokenizer, items[0]))
    assert answered.score == pytest.approx(0.5)  # the two items' true choices are all choices
    assert (answered.metric, answered.details, answered.acc_norm) == ("mc2", {"acc": 0.5}, None)
    first = score(model, requests(benchmark(items[:1] * 2), tokenizer, 64), CPU)
    assert first.score == pytest.approx((mass[0] + mass[2]) / mass.sum(), abs=TOLERANCE)
    assert first.answers["correct"] == pytest.approx([first.score] * 2)


def test_score_digest_follows_model_and_items() -> None:
    assert score_digest("a", "b") == score_digest("a", "b")
    assert len({score_digest(*pair) for pair in ("ab", "ac", "bb", "ba")}) == 4
