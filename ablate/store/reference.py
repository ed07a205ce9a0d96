"""Published results, as shipped in published.csv, and their copy in the table reference_scores. None of them was measured here.

A row is one figure that somebody published of one system. `setting` says how they came by it, `source` where it stands (and, where
the publication itself was not read, through what it was). metric `acc` is plain accuracy by log-likelihood as in LM-Eval; `score`
an accuracy whose source does not say which, so that it is in no figure with `acc`. params and tokens are as published: mostly all
parameters, embeddings included. Rows with status `recalled` were written down from memory; nothing here shows them unless asked.
"""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from ablate.store.tables import reference_scores

_NUMBERS = ("params", "tokens", "value")


def rows() -> list[dict[str, Any]]:
    """Every shipped row, recalled ones included, in the file's order; None for an empty number."""
    lines = files("ablate.store").joinpath("published.csv").read_text(encoding="utf-8").splitlines()
    return [{k: _number(v) if k in _NUMBERS else v for k, v in row.items()} for row in csv.DictReader(lines)]


def _number(text: str) -> float | None:
    return float(text) if text else None


def is_current(connection: Connection) -> bool:
    """Whether the table holds what the package ships."""
    stored = connection.execute(select(*(reference_scores.c[name] for name in rows()[0])).order_by(reference_scores.c.id))
    return [tuple(row) for row in stored] == [tuple(row.values()) for row in rows()]


def fill(connection: Connection) -> None:
    """Make the table what the package ships."""
    connection.execute(delete(reference_scores))
    connection.execute(insert(reference_scores), [{"id": i, **row} for i, row in enumerate(rows(), start=1)])
