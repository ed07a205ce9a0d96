"""The views: those of views.sql, and results_<study>, generated: a column a factor and a benchmark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, column, func, inspect, literal_column, select, table, true

from ablate.store.tables import benchmark_scores, study_benchmarks, study_runs, study_specs

FIXED = ("results", "clean_scores", "scores", "baseline_results", "published_scores")


def create(connection: Connection) -> None:
    """Make all views anew."""
    drop(connection)
    for statement in files("ablate.store").joinpath("views.sql").read_text(encoding="utf-8").split(";\n"):
        if statement.strip():
            connection.exec_driver_sql(statement)
    for study in _studies(connection):
        create_for(connection, study)


def drop(connection: Connection) -> None:
    """Drop all views that `create` makes, dependants first."""
    for name in [*(view_name(study) for study in _studies(connection)), *FIXED]:
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")


def create_for(connection: Connection, study: str) -> None:
    """Make results_<study> from the factors and benchmarks that the study now has, unless it is there as it should be."""
    name, schema = view_name(study), inspect(connection)
    wanted = f"CREATE VIEW {name} AS {_statement(connection, study).compile(connection, compile_kwargs={'literal_binds': True})}"
    if name not in schema.get_view_names() or schema.get_view_definition(name) != wanted:
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
        connection.exec_driver_sql(wanted)


def view_name(study: str) -> str:
    return f"results_{study}"


def _studies(connection: Connection) -> list[str]:
    if not inspect(connection).has_table(study_specs.name):
        return []
    return list(connection.scalars(select(study_specs.c.study).order_by(study_specs.c.study)))


def _statement(connection: Connection, study: str) -> Select[Any]:
    fixed = [c["name"] for c in inspect(connection).get_columns("results")]
    results = table("results", *(column(name) for name in fixed))
    taken = {name.lower() for name in fixed}
    columns = [*_factors(connection, study, taken), *_benchmarks(connection, study, taken)]
    return select(*results.c, *columns).where(results.c.study == study)


def _factors(connection: Connection, study: str, taken: set[str]) -> Iterable[ColumnElement[Any]]:
    """A column for each factor that is no column of `results` already, named by its path."""
    rows = connection.scalars(select(study_runs.c.factors).where(study_runs.c.study == study, study_runs.c.active))
    levels: dict[str, list[Any]] = {}
    for factors in rows:
        for name, level in factors.items():
            levels.setdefault(name, []).append(level)
    for name, values in levels.items():
        if name.lower() not in taken:
            taken.add(name.lower())
            yield _level(name, values).label(name)


def _level(name: str, values: Sequence[Any]) -> ColumnElement[Any]:
    level = literal_column("results.factors", study_runs.c.factors.type)[name]
    kinds = {type(value) for value in values if value is not None}
    typed: ColumnElement[Any] = level.as_string()
    if kinds == {bool}:
        typed = level.as_boolean()
    elif kinds == {int}:
        typed = level.as_integer()
    elif kinds and kinds <= {int, float}:
        typed = level.as_float()
    return typed


def _benchmarks(connection: Connection, study: str, taken: set[str]) -> Iterable[ColumnElement[Any]]:
    """<benchmark> pooled over its registers by items, <benchmark>_<register> apart, <benchmark>_fresh for its twin. Of the items that
    the study asks: by the same name another study may have had the run scored on others."""
    b, asked = benchmark_scores.c, study_benchmarks.c
    declared = connection.execute(select(asked.benchmark, asked.benchmark_digest).where(asked.study == study)).all()
    digests = sorted(row.benchmark_digest for row in declared)
    of_study = b.run.in_(select(study_runs.c.run).where(study_runs.c.study == study, study_runs.c.active))
    rows = connection.execute(
        select(b.benchmark, b.register, b.fresh)
        .where(of_study, b.benchmark_digest.in_(digests) if digests else true())
        .distinct()
        .order_by(b.benchmark, b.register.desc())
    ).all()
    for name in sorted({row.benchmark for row in (*declared, *rows)}):
        own = sorted(row.benchmark_digest for row in declared if row.benchmark == name)
        mine = and_(b.benchmark == name, b.benchmark_digest.in_(own) if own else true())
        registers = [row.register for row in rows if row.benchmark == name and not row.fresh]
        parts = {name: mine & ~b.fresh}
        parts |= {f"{name}_{register}": mine & ~b.fresh & (b.register == register) for register in registers if len(registers) > 1}
        if any(row.fresh for row in rows if row.benchmark == name):
            parts[f"{name}_fresh"] = mine & b.fresh
        for label, which in parts.items():
            unique = f"{label}_score" if label.lower() in taken else label
            taken.add(unique.lower())
            yield _pooled(which).label(unique)


def _pooled(which: ColumnElement[bool]) -> ColumnElement[Any]:
    """NULL where one of the scores failed."""
    b = benchmark_scores.c
    pooled = case((func.count() == func.count(b.score), func.sum(b.score * b.n) / func.sum(b.n)))
    return select(pooled).where(b.run == literal_column("results.run"), which).scalar_subquery()
