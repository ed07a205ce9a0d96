"""docs/results.md and the schema say the same, both ways."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from ablate.store import tables
from ablate.store.record import MEAN_METRICS
from tests.outcomes import filled

DOCS = Path(__file__).parents[2] / "docs" / "results.md"
VIEWS = Path(tables.__file__).with_name("views.sql")


def documented() -> dict[str, dict[str, str]]:
    """table or view → column → description, from the headings and tables of the page."""
    found: dict[str, dict[str, str]] = {}
    name = ""
    for line in DOCS.read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"### (?:Table|View) `(\w+)`", line):
            name = heading[1]
            found[name] = {}
        elif line.startswith("#"):
            name = ""
        elif name and (row := re.match(r"\| `(\w+)` \| (.*) \|$", line)):
            found[name][row[1]] = row[2]
    return found


def test_every_column_is_documented_and_no_other(tmp_path: Path) -> None:
    filled(tmp_path, []).close()
    db = sqlite3.connect(tmp_path / "results.db")
    names = [name for (name,) in db.execute("select name from sqlite_master where type in ('table', 'view') and name != 'results_quality'")]
    live = {name: [row[1] for row in db.execute(f"pragma table_info({name})")] for name in names}
    db.close()
    assert {name: list(columns) for name, columns in documented().items()} == live


def test_descriptions_are_those_of_the_tables() -> None:
    page = documented()
    for table in tables.metadata.tables.values():
        assert page[table.name] == {column.name: column.comment for column in table.c}


def test_our_names_are_not_optunas() -> None:
    assert not [name for name in tables.metadata.tables if re.match(r"(studies|trials|trial_.*|version_info|alembic_version)$", name)]


def test_the_clean_scores_are_of_the_metrics_of_the_mean_score() -> None:
    (metrics,) = re.findall(r"s\.metric IN \((.*?)\)", VIEWS.read_text(encoding="utf-8"))
    assert metrics == ", ".join(f"'{name}'" for name in MEAN_METRICS)
