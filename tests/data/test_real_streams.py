"""What runs read of real files: the same on any number of workers, before and after a restart, in every arm."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from ablate.data import encoding, mixture, shards, tokenizer
from ablate.study.spec import Data, Source
from ablate.study.spec import Tokenizer as Spec
from ablate.workspace import Workspace

pytestmark = pytest.mark.shared_data


@pytest.fixture(scope="module")
def data(shared_data: Path) -> Data:
    text = shared_data / "text"
    named = {"c4": Source(files=f"{text}/c4_noisy_web_a.jsonl.gz"), "pages": Source(files=f"{text}/dolma_cc_en_head-0091.jsonl.gz")}
    web = Source(sources={"c4": "2/3", "pages": "1/3"})
    stories = Source(files=f"{text}/tinystories_train_head.jsonl.gz")
    return Data(sources=named, synthetic=stories, web=web, tokenizer=Spec(train_bpe=600))


@pytest.fixture(scope="module")
def bpe(data: Data, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    return tokenizer.load(tokenizer.prepare(data, Workspace(tmp_path_factory.mktemp("space"))))


@pytest.fixture(scope="module")
def built(data: Data, bpe: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> dict[str, shards.Shards]:
    space = Workspace(tmp_path_factory.mktemp("built"))
    return {name: shards.prepare(source, 0, "t", bpe, 1, space) for name, source in data.trained_on().items()}


def mixed(built: dict[str, shards.Shards], shares: dict[str, str], seed: int = 0) -> mixture.Mixture:
    streams = [mixture.Stream(built[name], seed, name, 64) for name in shares]
    return mixture.Mixture(streams, [Fraction(share) for share in shares.values()])


def test_one_and_four_workers_write_the_same_tokens(
    data: Data, bpe: PreTrainedTokenizerFast, built: dict[str, shards.Shards], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "ALONE_CHARACTERS", 10_000)
    many = shards.prepare(data.trained_on()["web.c4"], 0, "t", bpe, 1, Workspace(tmp_path), processes=4)
    assert many.content == built["web.c4"].content
    assert np.array_equal(many.tokens, built["web.c4"].tokens)


def test_the_stream_does_not_depend_on_batches_or_restarts(built: dict[str, shards.Shards]) -> None:
    shares = {"synthetic": "1/2", "web.c4": "1/3", "web.pages": "1/6"}
    whole = mixed(built, shares).batch(0, 3000)
    for size in (1, 7, 1000):
        starts = range(0, 3000, size) if size > 1 else range(2990, 3000)
        parts = np.concatenate([mixed(built, shares).batch(i, min(size, 3000 - i)) for i in starts[:: max(1, len(starts) // 20)]])
        expected = np.concatenate([whole[i : i + size] for i in starts[:: max(1, len(starts) // 20)]])
        assert np.array_equal(parts, expected)
    assert not np.array_equal(mixed(built, shares, seed=1).batch(0, 50), whole[:50])


def test_arms_see_the_same_documents_of_a_source_in_the_same_order(built: dict[str, shards.Shards]) -> None:
    arms = [{"synthetic": "1/2", "web.c4": "1/3", "web.pages": "1/6"}, {"web.c4": "2/3", "web.pages": "1/3"}, {"synthetic": "1"}]
    seen: dict[str, list[np.ndarray]] = {}
    for shares in arms:
        which, _ = mixture.assign(np.arange(2000), [Fraction(share) for share in shares.values()])
        batch = mixed(built, shares).batch(0, 2000)
        for i, name in enumerate(shares):
            seen.setdefault(name, []).append(batch[which == i])
            assert abs((which == i).sum() - 2000 * Fraction(shares[name])) < max(1, len(shares) - 1)
    for name, streams in seen.items():
        shortest = min(map(len, streams))
        assert shortest > 300, name
        assert all(np.array_equal(stream[:shortest], streams[0][:shortest]) for stream in streams)
