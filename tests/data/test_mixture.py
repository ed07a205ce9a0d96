"""The mixture's guarantees, as properties."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.data import mixture
from ablate.data.mixture import Mixture, Stream, assign, counts
from ablate.data.shards import Shards
from ablate.errors import DataError

fractions = st.fractions(min_value=0, max_value=1, max_denominator=10**6)


@st.composite
def many_shares(draw: st.DrawFn) -> list[Fraction]:
    parts = draw(st.lists(st.integers(0, 1000), min_size=1, max_size=6).filter(any))
    return [Fraction(part, sum(parts)) for part in parts]


def shards_of(lengths: list[int], finite: bool) -> Shards:
    """Documents of distinct tokens: token n of the source is n, so that what was read can be told from the ids."""
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Shards(np.arange(starts[-1], dtype=np.uint32), starts, np.array(lengths, np.int64) * 3, finite)


lengths = st.lists(st.integers(1, 30), min_size=1, max_size=12)


@given(ratio=fractions, first=st.integers(0, 10**9))
def test_two_sources_follow_the_stated_rule(ratio: Fraction, first: int) -> None:
    index = np.arange(first, first + 200)
    which, earlier = assign(index, [ratio, 1 - ratio])
    for i, source, before in zip(index.tolist(), which.tolist(), earlier.tolist(), strict=True):
        synthetic = (i + 1) * ratio // 1 > i * ratio // 1
        assert source == (0 if synthetic else 1)
        assert before == (i * ratio // 1 if synthetic else i - i * ratio // 1)


@given(ratio=fractions, n=st.integers(0, 10**12))
def test_two_sources_are_within_one_sequence_at_every_prefix(ratio: Fraction, n: int) -> None:
    first, second = counts(n, [ratio, 1 - ratio])
    assert first + second == n
    assert 0 <= n * ratio - first < 1
    assert 0 <= second - n * (1 - ratio) < 1


@given(shares=many_shares())
def test_many_sources_keep_the_bound_and_count_right(shares: list[Fraction]) -> None:
    which, earlier = assign(np.arange(120), shares)
    bound = max(1, len(shares) - 1)
    seen = [0] * len(shares)
    for n, (source, before) in enumerate(zip(which.tolist(), earlier.tolist(), strict=True), 1):
        assert before == seen[source]
        seen[source] += 1
        assert seen == counts(n, shares)
        assert all(abs(count - n * share) < bound for count, share in zip(seen, shares, strict=True))
        assert all(count == 0 for count, share in zip(seen, shares, strict=True) if share == 0)


def test_fractions_of_any_size_are_exact() -> None:
    ratio = Fraction("0.12345678901234567891")
    index = np.array([10**12])
    assert assign(index, [ratio, 1 - ratio])[1][0] in (10**12 * ratio // 1, 10**12 - 10**12 * ratio // 1)


def test_shares_that_do_not_add_up() -> None:
    for shares in ([Fraction(1, 2)], [Fraction(1, 3), Fraction(1, 3)], [Fraction(3, 2), Fraction(-1, 2)], []):
        with pytest.raises(ValueError, match="do not add up"):
            counts(3, shares)


@settings(deadline=None)
@given(lengths=lengths, seed=st.integers(0, 5), seq_len=st.integers(1, 12), passes=st.integers(1, 3))
def test_every_pass_reads_every_token_once(lengths: list[int], seed: int, seq_len: int, passes: int) -> None:
    stream = Stream(shards_of(lengths, finite=True), seed, "web", seq_len)
    pass_tokens = sum(lengths)
    n = pass_tokens * passes  # sequences: so many tokens are seq_len * passes whole passes
    read = np.bincount(stream.sequences(np.arange(n))[:, :-1].ravel(), minlength=pass_tokens)
    assert read.tolist() == [seq_len * passes] * pass_tokens
    usage = stream.usage(n)
    assert (usage.tokens, usage.unique_tokens, usage.epochs) == (n * seq_len, pass_tokens, seq_len * passes)
    assert usage.bytes == 3 * n * seq_len


@settings(deadline=None)
@given(lengths=lengths, seq_len=st.integers(1, 12), n=st.integers(0, 40))
def test_bytes_are_those_of_the_tokens_read(lengths: list[int], seq_len: int, n: int) -> None:
    shards = shards_of(lengths, finite=True)
    weights = np.random.default_rng(0).integers(1, 50, len(lengths))
    shards = Shards(shards.tokens, shards.starts, weights, True)
    per_token = np.repeat(weights / np.array(lengths), lengths)
    stream = Stream(shards, 1, "web", seq_len)
    expected = per_token[stream.sequences(np.arange(n))[:, :-1]].sum()
    assert abs(stream.usage(n).bytes - expected) <= 0.5 + 1e-6


def test_sequences_are_running_text_and_overlap_by_one_token() -> None:
    """Within a document ids run on; windows are shuffled, so that a run does not end inside one book."""
    stream = Stream(shards_of([1000, 1000, 1000], finite=True), 0, "synthetic", 10)
    read = stream.sequences(np.arange(300))
    running = (np.diff(read, axis=1) == 1).all(axis=1)
    assert running.sum() >= 297
    firsts = read[:, 0].tolist()
    assert set(read[running, -1].tolist()) - set(firsts) <= {1000, 2000, 3000}
    assert len({first // 1000 for first in firsts[-20:]}) == 3


def test_endless_sources_come_in_their_order_and_end_where_they_are_prepared() -> None:
    stream = Stream(shards_of([7] * 20, finite=False), 3, "web", 10)
    assert stream.sequences(np.arange(13))[:, :-1].ravel().tolist() == list(range(130))
    assert stream.usage(13) == mixture.Usage("web", 13, 130, 390, 130, 1.0, "")
    for call in (lambda: stream.sequences(np.array([13, 14])), lambda: stream.usage(15)):
        with pytest.raises(DataError, match=r"only 140 tokens of data\.web are prepared"):
            call()


def test_preparing_more_of_an_endless_source_changes_no_sequence() -> None:
    index = np.arange(10)
    few, more = (Stream(shards_of([9] * n, finite=False), 0, "web", 8).sequences(index) for n in (10, 100))
    assert np.array_equal(few, more)


def mixed(ratio: Fraction, seed: int = 0) -> Mixture:
    """Two sources with 37 and 50 documents, whose ids tell them apart."""
    synthetic, web = shards_of([11 + k % 5 for k in range(37)], finite=True), shards_of([5 + k % 9 for k in range(50)], finite=True)
    web = Shards(web.tokens + 10_000, web.starts, web.byte_counts, True)
    return Mixture([Stream(synthetic, seed, "synthetic", 8), Stream(web, seed, "web", 8)], [ratio, 1 - ratio])


@settings(deadline=None)
@given(ratio=fractions, cuts=st.lists(st.integers(1, 40), min_size=1, max_size=12), restart=st.integers(0, 200))
def test_no_dependence_on_batches_or_restarts(ratio: Fraction, cuts: list[int], restart: int) -> None:
    total = sum(cuts)
    whole = mixed(ratio).batch(0, total)
    other = mixed(ratio)
    ends = np.cumsum(cuts)
    parts = [other.batch(int(end) - cut, cut) for end, cut in zip(ends, cuts, strict=True)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert np.array_equal(other.batch(restart % total, 1)[0], whole[restart % total])


@settings(deadline=None)
@given(ratio=fractions, n=st.integers(1, 60))
def test_a_small_budget_is_a_prefix_of_a_larger(ratio: Fraction, n: int) -> None:
    assert np.array_equal(mixed(ratio).batch(0, n), mixed(ratio).batch(0, 2 * n)[:n])


@settings(deadline=None)
@given(ratios=st.tuples(fractions, fractions))
def test_every_arm_sees_the_same_sequences_of_a_source_in_the_same_order(ratios: tuple[Fraction, Fraction]) -> None:
    one, other = (mixed(ratio).batch(0, 120) for ratio in ratios)
    for is_web in (False, True):
        a, b = (read[(read[:, 0] >= 10_000) == is_web] for read in (one, other))
        shared = min(len(a), len(b))
        assert np.array_equal(a[:shared], b[:shared])


def test_seeds_roles_and_passes_have_orders_of_their_own() -> None:
    shards = shards_of([13] * 40, finite=True)
    index = np.arange(65)
    orders = [Stream(shards, seed, role, 8).sequences(index + 65 * epoch)
              for seed, role, epoch in ((0, "web", 0), (1, "web", 0), (0, "synthetic", 0), (0, "web", 1))]  # fmt: skip
    assert len({order.tobytes() for order in orders}) == 4


def test_the_order_is_the_same_on_every_machine() -> None:
    assert mixture._permutation(8, 0, "web", 0, "documents").tolist() == [3, 2, 4, 1, 5, 0, 6, 7]
    assert mixed(Fraction(1, 3)).batch(1000, 2)[:, :3].tolist() == [[10172, 10207, 10208], [261, 262, 263]]


def test_usage_adds_up() -> None:
    synthetic, web = mixed(Fraction(1, 3)).usage(100)
    assert (synthetic.source, synthetic.sequences, web.source, web.sequences) == ("synthetic", 33, "web", 67)
    assert synthetic.tokens + web.tokens == 800
    assert [usage.tokens for usage in mixed(Fraction(0)).usage(10)] == [0, 80]
    assert mixed(Fraction(0)).usage(10)[0] == mixture.Usage("synthetic", 0, 0, 0, 0, 0.0, "")


def test_a_batch_takes_no_time(tmp_path: Path) -> None:
    """A tenth of the shortest training step, at most; twenty times what it takes on an idle core."""
    tokens = np.memmap(tmp_path / "tokens", np.uint16, "w+", shape=(1_000_000,))
    shards = Shards(tokens, np.arange(0, 1_000_001, 100), np.full(10_000, 350), finite=True)
    both = Mixture([Stream(shards, 0, role, 128) for role in ("synthetic", "web")], [Fraction(1, 2)] * 2)
    both.batch(0, 4)
    started = time.perf_counter()
    for step in range(200):
        both.batch(4 * step, 4)
    assert (time.perf_counter() - started) / 200 < 0.002
