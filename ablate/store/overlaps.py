"""The overlap tables, and the scores on clean items that follow from them. Each function works within the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Float, ScalarSelect, cast, delete, exists, func, insert, not_, select, update

from ablate.store.record import MEAN_METRICS
from ablate.store.tables import benchmark_scores, item_answers, item_overlaps, overlaps, source_usage, study_runs

CLEAN_METHOD = "gpt3"
"""Whose clean items `score_clean` is over: the rule under which any hit is enough, so the strictest. View clean_scores has them all."""

ITEM_COLUMNS = ("item", "value", "contaminated")


def replace(connection: Connection, shards: str, content: str, found: Sequence[Mapping[str, Any]]) -> None:
    """Put what was found in a folder of tokens (rows of `overlaps`, each with its `rows` of `item_overlaps`) in the place of what
    was known of these benchmarks, and the clean scores that depend on it. `content` stands for the tokens and for the rules of the
    search: what was found in other tokens, or by other rules, goes for every benchmark."""
    stale = connection.scalars(select(overlaps.c.benchmark_digest).where(overlaps.c.shards == shards, overlaps.c.content != content))
    gone = {*stale, *(one["benchmark_digest"] for one in found)}
    for table in (overlaps, item_overlaps):
        connection.execute(delete(table).where(table.c.shards == shards, table.c.benchmark_digest.in_(gone)))
    heads, items = [], []
    for one in found:
        key = {"shards": shards, "benchmark_digest": one["benchmark_digest"], "method": one["method"]}
        heads.append({**{name: value for name, value in one.items() if name != "rows"}, **key, "content": content})
        items += [{**key, **dict(zip(ITEM_COLUMNS, row, strict=True))} for row in one["rows"]]
    for table, rows in ((overlaps, heads), (item_overlaps, items)):
        if rows:
            connection.execute(insert(table), rows)
    u = source_usage.c
    refresh(connection, benchmark_scores.c.run.in_(select(u.run).where(u.shards == shards)))


def known(connection: Connection) -> dict[str, tuple[str, set[str]]]:
    """Folder of tokens → the hash of the tokens that were looked through and of the rules, and the digests of the benchmarks."""
    found: dict[str, tuple[str, set[str]]] = {}
    o = overlaps.c
    for row in connection.execute(select(o.shards, o.content, o.benchmark_digest).distinct()):
        found.setdefault(row.shards, (row.content, set()))[1].add(row.benchmark_digest)
    return found


def is_missing(connection: Connection, study: str, benchmarks: Collection[str]) -> bool:
    """Whether a run of the study was scored on one of these benchmarks (digests) and read tokens that were not looked through for it."""
    s, b, u, o = study_runs.c, benchmark_scores.c, source_usage.c, overlaps.c
    looked = select(o.method).where(o.shards == u.shards, o.benchmark_digest == b.benchmark_digest, o.method == CLEAN_METHOD)
    read = select(b.id).join(study_runs, s.run == b.run).join(source_usage, u.run == b.run)
    asked = read.where(s.study == study, s.active, u.tokens > 0, u.shards.is_not(None), b.benchmark_digest.in_(benchmarks))
    return connection.scalar(asked.where(~exists(looked.correlate(benchmark_scores, source_usage))).limit(1)) is not None


def refresh(connection: Connection, which: ColumnElement[bool]) -> None:
    """score_clean and n_clean of these scores. NULL where a source of the run has not been looked through for the benchmark."""
    b, clean = benchmark_scores.c, _clean()
    right = select(func.avg(cast(item_answers.c.correct, Float))).where(clean).correlate(benchmark_scores).scalar_subquery()
    count = select(func.count()).select_from(item_answers).where(clean).correlate(benchmark_scores).scalar_subquery()
    connection.execute(update(benchmark_scores).where(which).values(score_clean=None, n_clean=None))
    measured = which, b.metric.in_(MEAN_METRICS), _measured()
    connection.execute(update(benchmark_scores).where(*measured).values(score_clean=right, n_clean=count))


def _clean() -> ColumnElement[bool]:
    b, a, o, u = benchmark_scores.c, item_answers.c, item_overlaps.c, source_usage.c
    hit = exists(
        select(o.item)
        .select_from(item_overlaps.join(source_usage, u.shards == o.shards))
        .where(u.run == b.run, u.tokens > 0, o.benchmark_digest == b.benchmark_digest, o.method == CLEAN_METHOD)
        .where(o.contaminated, o.item == a.item)
        .correlate(benchmark_scores, item_answers)
    )
    return (a.score_id == b.id) & not_(hit)


def _measured() -> ColumnElement[bool]:
    """Whether every source that the run read has been looked through."""
    return (_sources() > 0) & (_sources() == _sources(looked_through=True))


def _sources(looked_through: bool = False) -> ScalarSelect[int]:
    b, o, u = benchmark_scores.c, overlaps.c, source_usage.c
    read = select(func.count()).select_from(source_usage).where(u.run == b.run, u.tokens > 0)
    if looked_through:
        read = read.where(
            exists(
                select(o.method)
                .where(o.shards == u.shards, o.benchmark_digest == b.benchmark_digest, o.method == CLEAN_METHOD)
                .correlate(source_usage, benchmark_scores)
            )
        )
    return read.correlate(benchmark_scores).scalar_subquery()
