"""Requests kept on the disk are those that would be made, whatever happened to their file."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable
from dataclasses import fields
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ablate.data.tokenizer import train_bpe
from ablate.errors import DataError
from ablate.evals import kept as kept_module
from ablate.evals import safety
from ablate.evals import trees as trees_module
from ablate.evals.benchmarks import make
from ablate.evals.items import Benchmark, Item, Prompt
from ablate.evals.kept import Kept
from ablate.evals.likelihood import likelihoods
from ablate.evals.requests import Requests, requests
from ablate.evals.trees import Batch
from ablate.study import grid
from tests.evals.test_scoring import CPU, ITEMS, LONG, SHOTS

CHOICES = make("probe", "language", "textbook", False, 0.5, [*SHOTS, *ITEMS, Item(LONG * 3, (" Ada", " Ben"), 0, "long")])
PASSAGES = [Prompt("The owl sees the", " garden", "t"), Prompt("It", " was", "t")]
WORDS = make("words", "language", "published", False, None, PASSAGES, "last_word")
TOLD = [Prompt(text, "", "owls") for text in ("The owl sees the garden.", "x", LONG * 3, "", "Two owls.")]
SENTENCES = make("toxigen_safety", "safety", "published", False, None, TOLD, "safety")
EVERY = (CHOICES, WORDS, SENTENCES)
RACES = 20


@pytest.fixture
def trunks_of_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that these few items have some."""
    monkeypatch.setattr(trees_module, "TRUNK_SAVES", 1)
    monkeypatch.setattr(trees_module, "LONG_SHARED", 16)


def kept(tokenizer: PreTrainedTokenizerFast, folder: Path, max_tokens: int = 64) -> Kept:
    return Kept(tokenizer, "t" * 16, (tokenizer.eos_token_id,), max_tokens, folder)


def made(benchmark: Benchmark, tokenizer: PreTrainedTokenizerFast, shared: bool) -> Requests:
    if benchmark.kind == "safety":
        return safety.requests(benchmark, tokenizer, 64, shared)
    return requests(benchmark, tokenizer, 64, shared)


def assert_same(one: Requests, other: Requests) -> None:
    """Every array, its type and shape; and which batches go on from the very same trunk."""
    assert (one.benchmark, one.truncated, one.max_tokens, one.shared) == (other.benchmark, other.truncated, other.max_tokens, other.shared)
    for name in ("first_choice", "choice_bytes", "choice_characters"):
        assert_equal(getattr(one, name), getattr(other, name))
    assert len(one.batches) == len(other.batches)
    for ours, theirs in zip(one.batches, other.batches, strict=True):
        for field in fields(Batch):
            assert_equal(getattr(ours, field.name), getattr(theirs, field.name))
    assert trunks(one) == trunks(other)


def assert_equal(one: object, other: object) -> None:
    assert type(one) is type(other)
    np.testing.assert_array_equal(np.asarray(one), np.asarray(other), strict=True)


def trunks(asked: Requests) -> list[int]:
    """Of each batch the first one that has its trunk."""
    identities = [id(batch.trunk) for batch in asked.batches]
    return [identities.index(identity) for identity in identities]


@pytest.mark.usefixtures("trunks_of_little")
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("benchmark", EVERY, ids=lambda benchmark: benchmark.kind)
def test_what_is_loaded_is_what_is_made(
    benchmark: Benchmark, shared: bool, tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM, tmp_path: Path
) -> None:
    expected = made(benchmark, tokenizer, shared)
    assert any(len(batch.trunk) for batch in expected.batches) == (shared and benchmark is CHOICES)
    assert_same(kept(tokenizer, tmp_path).requests(benchmark, shared), expected)
    (path,) = tmp_path.iterdir()
    written = path.stat().st_mtime_ns
    loaded = kept(tokenizer, tmp_path).requests(benchmark, shared)
    assert_same(loaded, expected)
    assert path.stat().st_mtime_ns == written
    np.testing.assert_array_equal(likelihoods(model, loaded, CPU).logprobs, likelihoods(model, expected, CPU).logprobs)


def test_a_file_is_found_by_all_that_it_follows_from(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    fewer = make("probe", "language", "textbook", False, 0.5, CHOICES.items[1:])
    ways: list[Callable[[], Requests]] = [
        lambda: kept(tokenizer, tmp_path).requests(CHOICES, True),
        lambda: kept(tokenizer, tmp_path).requests(CHOICES, False),
        lambda: kept(tokenizer, tmp_path).requests(fewer, True),
        lambda: kept(tokenizer, tmp_path, 48).requests(CHOICES, True),
        lambda: Kept(tokenizer, "u" * 16, (tokenizer.eos_token_id,), 64, tmp_path).requests(CHOICES, True),
        lambda: Kept(tokenizer, "t" * 16, (), 64, tmp_path).requests(CHOICES, True),
    ]
    for number, ask in enumerate(ways, 1):
        first = ask()
        assert len(list(tmp_path.iterdir())) == number
        assert_same(ask(), first)
    assert len(list(tmp_path.iterdir())) == len(ways)


def test_a_damaged_file_is_made_again(tokenizer: PreTrainedTokenizerFast, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = kept(tokenizer, tmp_path).requests(WORDS, True)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    damaged = [b"", whole[:20], whole[:-1], whole + b"\0"]
    for place in range(0, len(whole), len(whole) // 40):
        damaged.append(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    for content in damaged:
        path.write_bytes(content)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert_same(kept(tokenizer, tmp_path).requests(WORDS, True), expected)
        assert f"{path} is damaged" in caplog.text
        assert path.read_bytes() == whole


def test_a_file_under_anothers_name_is_not_taken(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """Whole as it is: it says what other models are asked."""
    short, long = (kept(tokenizer, tmp_path / folder, size) for folder, size in (("short", 48), ("long", 64)))
    short.requests(CHOICES, True)
    expected = long.requests(CHOICES, True)
    (of_short,), (of_long,) = ((tmp_path / folder).iterdir() for folder in ("short", "long"))
    of_long.write_bytes(of_short.read_bytes())
    assert_same(kept(tokenizer, tmp_path / "long").requests(CHOICES, True), expected)


def test_what_cannot_be_asked_leaves_no_file(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="and the models see 4 at once"):
        kept(tokenizer, tmp_path, 4).requests(CHOICES, True)
    assert not list(tmp_path.iterdir())


def test_the_rule_changes_with_its_version_alone() -> None:
    """If this fails for a change that was meant, raise kept.RULE and put the new digest here."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=train_bpe([], 257), eos_token="<|endoftext|>")  # bytes: the same in every version
    found = grid.digest([told(made(benchmark, tokenizer, shared)) for benchmark in EVERY for shared in (True, False)])
    assert (kept_module.RULE, found) == (2, "6f46bd372839e7e9")


def told(asked: Requests) -> list[Any]:
    """Every number that a model is asked."""
    batches = [[np.asarray(getattr(batch, field.name)).tolist() for field in fields(Batch)] for batch in asked.batches]
    return [batches, asked.first_choice.tolist(), asked.choice_bytes.tolist(), asked.choice_characters.tolist(), asked.truncated]


def several(count: int) -> list[Benchmark]:
    return [make(f"probe{i}", "language", "textbook", False, 0.5, [*ITEMS, *SHOTS]) for i in range(count)]


def ask_at_once(start: Barrier, folder: Path, tokenizer: PreTrainedTokenizerFast, found: SimpleQueue[str]) -> None:
    for benchmark in several(RACES):
        start.wait(60)
        found.put(grid.digest(told(kept(tokenizer, folder).requests(benchmark, True))))


@pytest.mark.slow
def test_two_processes_make_the_same_at_once(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """Half of the files are there and damaged when they begin."""
    for benchmark in several(RACES // 2):
        kept(tokenizer, tmp_path).requests(benchmark, True)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    spawn = multiprocessing.get_context("spawn")
    start, found = spawn.Barrier(2), spawn.SimpleQueue()
    both = [spawn.Process(target=ask_at_once, args=(start, tmp_path, tokenizer, found)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(100)
        assert one.exitcode == 0
    got = [found.get() for _ in range(2 * RACES)]
    expected = {grid.digest(told(made(benchmark, tokenizer, True))) for benchmark in several(RACES)}
    assert set(got) == expected and len(expected) == 1, "their names differ, not what is asked"
    files = list(tmp_path.iterdir())
    assert len(files) == RACES and not [path for path in files if path.suffix != ".bin"]
    stamps = {path: path.stat().st_mtime_ns for path in files}
    for benchmark in several(RACES):
        assert_same(kept(tokenizer, tmp_path).requests(benchmark, True), made(benchmark, tokenizer, True))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == stamps, "all are whole"
