"""Answers of results.db in the form that was asked for: a table, CSV, JSON or Parquet."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from ablate.errors import UsageError
from ablate.store.store import Store
from ablate.workspace import renamed_into_place


def ask(database: Path, sql: str, format_: str, output: Path | None) -> str:
    """Run `sql` read-only; the text to print, or "" when it went to `output`."""
    columns, rows = Store.read_only(database).query(sql)
    if format_ == "parquet" and output is None:
        raise UsageError("parquet is not for a terminal: add --output FILE.parquet")
    if output is None:
        return _text(columns, rows, format_)
    with renamed_into_place(output) as part:
        if format_ == "parquet":
            _frame(columns, rows).write_parquet(part)
        else:
            part.write_text(_text(columns, rows, format_) + "\n", encoding="utf-8")
    return ""


def _text(columns: list[str], rows: list[tuple[Any, ...]], format_: str) -> str:
    if format_ == "json":
        return json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=1, ensure_ascii=False)
    if format_ == "csv":
        return _frame(columns, rows).write_csv().rstrip("\n")
    return _table(columns, rows)


def _frame(columns: list[str], rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=columns, orient="row", infer_schema_length=None)


def _table(columns: list[str], rows: list[tuple[Any, ...]]) -> str:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for i, column in enumerate(columns):
        numeric = all(isinstance(row[i], (int, float)) or row[i] is None for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if v is None else f"{v:.6g}" if isinstance(v, float) else str(v) for v in row))
    out = io.StringIO()
    # as wide as the table needs: a terminal wraps, a pager scrolls, a pipe keeps every column
    Console(file=out, width=max(80, sum(len(c) for c in columns) + 40 * len(columns)), color_system=None).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
