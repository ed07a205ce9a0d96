"""Packed scoring against one sequence a choice; refusals; standard errors against known figures."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ablate.errors import DataError, RunError
from ablate.evals import requests as requests_module
from ablate.evals import scoring as scoring_module
from ablate.evals.benchmarks import make
from ablate.evals.items import Benchmark, Item
from ablate.evals.requests import Requests, encode, requests
from ablate.evals.scoring import choice_logprobs, clustered_stderr, plain_stderr, reads_trees, score, score_digest
from ablate.model.build import build as build_shape
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
    Item("The gar", ("den", "age", "d"), 0, "merge"),
    Item("Café – “naïve” 猫", (" 犬", " 🐈 🐈", " owl"), 1, "bytes"),
    Item("A", (" b", " c", " d", " e", " f"), 4, "short"),
]


def benchmark(items: list[Item]) -> Benchmark:
    return make("probe", "language", "textbook", False, 0.5, items)


def plain(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, item: Item, max_tokens: int = 64) -> list[float]:
    """lm-eval's way: each choice a sequence of its own, all logits. Scored from the first token in which one differs from the context."""
    context, *wholes = encode(tokenizer, [item.context, *(item.context + choice for choice in item.choices)])
    start = min(next((i for i, (a, b) in enumerate(zip(context, w, strict=False)) if a != b), min(len(context), len(w))) for w in wholes)
    excess = max(0, max(map(len, wholes)) - max_tokens)
    sums = []
    for whole in wholes:
        ids = torch.tensor([[tokenizer.eos_token_id, *whole][excess:]])
        with torch.no_grad():
            logprobs = model(ids[:, :-1]).logits.double().log_softmax(-1)
        sums.append(sum(float(logprobs[0, i - 1, ids[0, i]]) for i in range(1 + start - excess, ids.shape[1])))
    return sums


def assert_equals_plain(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prepared: Requests, max_tokens: int = 64) -> None:
    answered = score(model, prepared, CPU)
    for i, item in enumerate(prepared.benchmark.items):
        expected = np.array(plain(model, tokenizer, item, max_tokens))
        np.testing.assert_allclose(answered.choice_logprobs[i], expected, atol=TOLERANCE)
        assert answered.choice[i] == expected.argmax()
        assert answered.choice_norm[i] == (expected / [len(choice.encode()) for choice in item.choices]).argmax()
        assert answered.logprob[i] == pytest.approx(expected[item.answer], abs=TOLERANCE)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(("row_tokens", "logits_at_once"), [(1, 2**24), (64, 5 * 320), (10_000, 1)])
def test_packed_equals_one_sequence_a_choice(
    tokenizer: PreTrainedTokenizerFast, attention: str, row_tokens: int, logits_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However items are put into rows, and however many logits are made at once."""
    monkeypatch.setattr(requests_module, "ROW_TOKENS", row_tokens)
    monkeypatch.setattr(scoring_module, "LOGITS_AT_ONCE", logits_at_once)
    assert_equals_plain(build(attention), tokenizer, requests(benchmark(ITEMS), tokenizer, 64))


@pytest.mark.parametrize("name", EVERY)
def test_every_family_scores_as_one_sequence_a_choice(tokenizer: PreTrainedTokenizerFast, name: str) -> None:
    """Families that read trees by trees, the others a sequence a row; weights large enough for attention to matter."""
    deviation = {"init_std" if EVERY[name]["family"] == "opt" else "initializer_range": 0.3}
    model = build_shape({**EVERY[name], **deviation}, seed=0).eval()
    prepared = requests(benchmark(ITEMS), tokenizer, 64, shared=reads_trees(model.config.model_type))
    assert_equals_plain(model, tokenizer, prepared)


def test_a_family_that_cannot_read_trees_refuses_them(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(RunError, match="shared prefixes, which a model of the family mpt cannot read"):
        score(build_shape(EVERY["mpt-7b"], seed=0).eval(), requests(benchmark(ITEMS), tokenizer, 64), CPU)


WORDS = st.lists(st.sampled_from(["The", " owl", " sees", " garden", "s", " ", "d", "é", " lamps"]), min_size=1, max_size=6).map("".join)
CHOICES = st.lists(WORDS, min_size=2, max_size=4, unique=True).map(tuple)
RANDOM_ITEMS = st.builds(Item, st.one_of(st.just(""), WORDS), CHOICES, st.integers(0, 1), WORDS)


@settings(max_examples=25, deadline=None)
@given(st.lists(RANDOM_ITEMS, min_size=2, max_size=8))
def test_packed_equals_plain_for_any_items(tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM, items: list[Item]) -> None:
    prepared = requests(benchmark(items), tokenizer, 64)
    got = np.split(choice_logprobs(model, prepared, CPU), prepared.first_choice[1:-1])
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


def test_a_merge_over_the_boundary_is_scored_from_where_it_begins(tokenizer: PreTrainedTokenizerFast) -> None:
    """` five` after a trailing space changes the context's last token, so all choices are scored from there."""
    item = Item("lamps are there? ", ("five", "three"), 0, "t")
    context, whole = encode(tokenizer, [item.context, item.context + "five"])
    assert whole[: len(context)] != context
    prepared = requests(benchmark([item, item]), tokenizer, 64)
    scored = np.concatenate([batch.target.numpy()[batch.choice == 0] for batch in prepared.batches])
    assert tokenizer.decode(scored.tolist()) == " five"


def test_long_items_are_cut_at_the_left_and_counted(tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM) -> None:
    items = [Item("The owl sees the garden. " * 20 + "It was", (" dark at night", " red"), 0, "long"), *ITEMS[:2]]
    prepared = requests(benchmark(items), tokenizer, 24)
    assert prepared.truncated == 1 == score(model, prepared, CPU).truncated
    assert max(int(batch.positions.max()) for batch in prepared.batches) == 23
    assert_equals_plain(model, tokenizer, prepared, 24)


def test_a_choice_too_long_to_be_seen_is_refused(tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM) -> None:
    with pytest.raises(DataError, match=r"choice of item 0 .* has \d+ tokens, and the models see 4 at once"):
        requests(benchmark(ITEMS[2:4]), tokenizer, 4)
    with pytest.raises(RunError, match="this one sees 64"):
        score(model, requests(benchmark(ITEMS), tokenizer, 128), CPU)


def test_a_dead_model_has_no_score(tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM) -> None:
    dead = copy.deepcopy(model)
    with torch.no_grad():
        dead.lm_head.weight[tokenizer.convert_tokens_to_ids("n")] = math.nan
    with pytest.raises(RunError, match="not a finite number"):
        score(dead, requests(benchmark(ITEMS), tokenizer, 64), CPU)


def test_scores_and_answers_as_json(tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM) -> None:
    prepared = requests(benchmark(ITEMS), tokenizer, 64)
    answered = score(model, prepared, CPU)
    row, columns = json.loads(json.dumps([answered.row(), answered.answers()], allow_nan=False))
    assert row["n"] == len(ITEMS) == len(columns["correct"])
    assert columns["correct"] == [c == item.answer for c, item in zip(columns["choice"], ITEMS, strict=True)]
    assert row["score"] == np.mean(columns["correct"])
    assert row["acc_norm"] == np.mean(columns["correct_norm"])
    assert row["mean_logprob"] == pytest.approx(np.mean(columns["logprob"]))
    assert columns["template"] == [item.template for item in ITEMS]
    again = score(model, prepared, CPU)
    assert again.answers() == answered.answers()


def test_standard_errors() -> None:
    values = np.array([1, 1, 0, 0, 1, 0, 1, 1])
    assert plain_stderr(values) == pytest.approx(math.sqrt(values.var(ddof=1) / 8))
    every_item_its_own = [str(i) for i in range(8)]
    assert clustered_stderr(values, every_item_its_own) == pytest.approx(plain_stderr(values))
    copied_four_times = np.repeat(values, 4)
    assert clustered_stderr(copied_four_times, [str(i) for i in range(8) for _ in range(4)]) == pytest.approx(plain_stderr(values))
    assert clustered_stderr(values, ["one"] * 8) is None


def test_score_digest_follows_model_and_items() -> None:
    assert score_digest("a", "b") == score_digest("a", "b")
    assert len({score_digest(*pair) for pair in ("ab", "ac", "bb", "ba")}) == 4
