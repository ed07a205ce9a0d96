"""Overlap of everything that a study's runs read with everything that they are asked.

What is looked through are the token shards, decoded: all that a run could read. The findings lie beside them (overlap.json), so
that any process may make them; only the driver puts them into results.db.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ablate.data import shards, tokenizer
from ablate.data.blocks import blocks
from ablate.data.building import alone, pool
from ablate.data.overlap import VERSION as OVERLAP_VERSION
from ablate.data.overlap import Floats, Overlap, is_dirty
from ablate.data.skipgrams import Skipgrams
from ablate.data.stream import Stream
from ablate.evals.items import Benchmark
from ablate.evals.requests import encode
from ablate.store.store import Store
from ablate.study.grid import digest
from ablate.workspace import Workspace, read_json, write_json

FILE = "overlap.json"
PART_TOKENS = 20_000_000
"""Looked through by one process at a time: a few seconds, more than a process takes to start."""
BLOCK_DOCUMENTS, BLOCK_TOKENS = 1000, 300_000
"""Decoded at once: so many documents, fewer where they are long."""

Found = tuple[list[Any], list[Any]]
"""What an Overlap and a Skipgrams have found, as their `add` takes it."""


@dataclass(frozen=True)
class Part:
    """Some documents of one stream, and what is looked for in them."""

    stream: Stream
    space: Workspace
    benchmarks: tuple[Benchmark, ...]
    content: str
    """Of the tokens that there were when the work was cut into parts."""
    first: int
    last: int

    def search(self) -> Found:
        words, tokens = _sought(self.stream, self.benchmarks)
        opened = self.stream.open(self.space)
        words.read(decoded(opened, self.stream, self.first, self.last))
        begin, end = opened.starts[self.first], opened.starts[self.last]
        tokens.read(opened.tokens[begin:end], opened.starts[self.first : self.last + 1] - begin)
        return words.found, tokens.edges


def measure(streams: Sequence[Stream], benchmarks: Sequence[Benchmark], space: Workspace, processes: int) -> None:
    """Look through the streams that have not been looked through for all of these benchmarks. They must be prepared."""
    parts = [part for stream in streams for part in _missing(stream, benchmarks, space)]
    if not parts:
        return
    try:
        if len(parts) > len(streams) and processes > 1:
            with pool(min(processes, len(parts))) as many:
                _gather(parts, many.map(Part.search, parts))
        else:
            _gather(parts, map(Part.search, parts))
    finally:
        _indexed.cache_clear()


def _gather(parts: Sequence[Part], found: Iterable[Found]) -> None:
    """Fold what is found in the parts as it arrives: memory does not follow their number."""
    begun = {part.stream: part for part in parts}
    for stream, own in groupby(zip(parts, found, strict=True), key=lambda one: one[0].stream):
        _write(begun[stream], (result for _, result in own))


def record(streams: Sequence[Stream], space: Workspace, store: Store) -> None:
    """Put what was measured into results.db where it is not there yet."""
    known = store.overlap_known()
    for stream in streams:
        opened = stream.open(space)
        found, of = _current(opened), digest([opened.content, OVERLAP_VERSION])
        was, benchmarks = known.get(opened.folder.name, ("", set()))
        if found and (of != was or not {row["benchmark_digest"] for row in found} <= benchmarks):
            store.record_overlap(opened.folder.name, of, found)


def found_in(stream: Stream, space: Workspace) -> list[dict[str, Any]]:
    """What was measured of a stream as it is now: a row a benchmark and method."""
    return _current(stream.open(space))


def _missing(stream: Stream, benchmarks: Sequence[Benchmark], space: Workspace) -> list[Part]:
    opened = stream.open(space)
    known = {row["benchmark_digest"] for row in _current(opened)}
    wanted = {benchmark.digest: benchmark for benchmark in benchmarks if benchmark.digest not in known}
    if not wanted:
        return []
    cuts = range(0, int(opened.starts[-1]), PART_TOKENS)
    bounds = np.unique([*np.searchsorted(opened.starts[:-1], list(cuts)), len(opened.byte_counts)]).tolist()
    return [Part(stream, space, tuple(wanted.values()), opened.content, first, last) for first, last in pairwise(bounds)]


def _current(opened: shards.Shards) -> list[dict[str, Any]]:
    """What was found in these tokens, by this version: also of benchmarks that another study asked for."""
    state = read_json(opened.folder / FILE)
    is_current = state is not None and (state["content"], state["version"]) == (opened.content, OVERLAP_VERSION)
    return list(state["found"]) if is_current else []


def _sought(stream: Stream, benchmarks: Sequence[Benchmark]) -> tuple[Overlap, Skipgrams]:
    """The items, none found yet."""
    words, tokens = _indexed(stream.tokenizer, _Asked(tuple(benchmark.digest for benchmark in benchmarks), benchmarks))
    return words.blank(), tokens.blank()


@dataclass(frozen=True)
class _Asked:
    """Benchmarks, told apart by their digests."""

    digests: tuple[str, ...]
    benchmarks: Sequence[Benchmark] = field(compare=False)


@lru_cache(maxsize=1)
def _indexed(made: Path, asked: _Asked) -> tuple[Overlap, Skipgrams]:
    """Made once for all streams of a tokenizer: it takes longer than to look through a million tokens."""
    texts = [[item.text for item in benchmark.items] for benchmark in asked.benchmarks]
    flat = [text for items in texts for text in items]
    return Overlap(texts), Skipgrams(encode(tokenizer.load(made), flat))


def decoded(opened: shards.Shards, stream: Stream, first: int, last: int) -> Iterator[str]:
    """The documents as text; exact for byte-level tokenizers, and nearly so for others."""
    made = tokenizer.load(stream.tokenizer)
    spans = pairwise(opened.starts[first : last + 1])
    for block in blocks(spans, lambda span: int(span[1] - span[0]), BLOCK_TOKENS, BLOCK_DOCUMENTS):
        yield from made.backend_tokenizer.decode_batch([opened.tokens[a:b].tolist() for a, b in block], skip_special_tokens=True)


def _write(part: Part, found: Iterable[Found]) -> None:
    """Put what was found in all parts of a stream beside what others have found there. Of tokens that another process has added to
    meanwhile nothing is written: the next audit looks through all of them."""
    benchmarks = part.benchmarks
    words, tokens = _sought(part.stream, benchmarks)
    for in_words, in_tokens in found:
        words.add(in_words)
        tokens.add(in_tokens)
    ends = np.cumsum([len(benchmark.items) for benchmark in benchmarks])[:-1]
    by_token = {method: np.split(values, ends) for method, values in tokens.values().items()}
    rows = []
    for place, (benchmark, by_word) in enumerate(zip(benchmarks, words.values(), strict=True)):
        for method, values in {**by_word, **{name: parts[place] for name, parts in by_token.items()}}.items():
            rows.append(_row(benchmark, method, values))
    own = {benchmark.digest for benchmark in benchmarks}
    with alone(part.stream.open(part.space).folder / "lock"):
        opened = part.stream.open(part.space)
        if opened.content == part.content:
            others = [row for row in _current(opened) if row["benchmark_digest"] not in own]
            write_json(opened.folder / FILE, {"content": opened.content, "version": OVERLAP_VERSION, "found": [*others, *rows]})


def _row(benchmark: Benchmark, method: str, values: Floats) -> dict[str, Any]:
    dirty, some = is_dirty(method, values), np.flatnonzero(values > 0)
    items = [[item, float(values[item]), bool(dirty[item])] for item in some.tolist()]
    counts = {"items": len(benchmark.items), "contaminated": int(dirty.sum()), "untold": int(np.isnan(values).sum())}
    identity = {"benchmark": benchmark.name, "register": benchmark.register, "fresh": benchmark.fresh}
    return {"benchmark_digest": benchmark.digest, **identity, "method": method, **counts, "rows": items}
