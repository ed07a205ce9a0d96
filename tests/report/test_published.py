"""The article's comparison: what is in its figures, and that it is drawn without a database."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from ablate.cli import cli
from ablate.report import ink, published, published_plots
from ablate.store.store import Store


def test_one_metric_a_panel_and_nothing_recalled() -> None:
    table = published.comparison()
    assert dict(table.select("benchmark", "metric").unique().iter_rows()) == {b: m for b, (_, m, _) in published.PANELS.items()}
    assert table.select("benchmark", "system").is_duplicated().sum() == 0
    assert not table["source"].str.contains("memory").any()
    assert set(table.filter("phi")["system"]) == {"phi-1", "phi-1.5", "phi-1.5-web", "phi-1.5-web-only"}


def test_what_one_panel_compares_was_measured_one_way() -> None:
    """AGIEval also stands on Llama 2's card, by another protocol, and SQuAD's figures for other systems are recalled only."""
    table = published.comparison()
    of = {name: table.filter(benchmark=name) for name in ("squad", "agieval")}
    assert {name: (set(rows["origin"]), set(rows["setting"])) for name, rows in of.items()} == {
        "squad": ({"phi-1.5"}, {"phi-1.5 paper"}), "agieval": ({"article"}, {"protocol not stated"}),
    }  # fmt: skip
    assert set(of["squad"]["system"]) == {"phi-1.5", "phi-1.5-web", "Llama2-7B"}
    assert dict(zip(of["agieval"]["system"], of["agieval"]["value"], strict=True)) == {"phi-1.5": 0.247, "Llama2-7B": 0.236}


def test_compute_is_six_n_d_and_the_unknown_is_counted() -> None:
    table, missing = published.along("flops")
    phi = table.filter(benchmark="winogrande", system="phi-1.5").row(0, named=True)
    assert phi["x"] == pytest.approx(6 * 1.3e9 * 150e9)
    assert "phi-1.5-web-only" in missing and "Vicuna-13B v1.1" in missing
    assert "phi-1.5-web-only" not in table["system"]
    assert "phi-1.5-web-only" in published.along("params")[0]["system"]
    assert f"({len(missing)})" in published_plots._caption("flops", missing)


@pytest.mark.parametrize("axis", list(published.AXES))
def test_every_panel_has_its_points_and_the_figure_says_what_it_is(axis: str) -> None:
    table, missing = published.along(axis)
    with ink.style():
        figure = published_plots.figure(table, axis, missing)
    assert "not measured here" in figure.get_suptitle() and any("2309.05463" in text.get_text() for text in figure.texts)
    panels = figure.axes[: len(published.PANELS)]
    drawn = [sum(line.get_marker() not in ("", "None") for line in panel.lines) for panel in panels]
    assert min(high - low for low, high in (panel.get_ylim() for panel in panels)) >= published_plots.SPAN - 1e-9
    assert drawn == [len(table.filter(benchmark=benchmark)) for benchmark in published.PANELS]
    named = {text.get_text() for panel in figure.axes for text in panel.texts}
    assert {"phi-1.5", "Llama2-7B", "StarCoder"} <= named


@pytest.mark.slow
def test_the_command_needs_no_results(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["plot", "--figure", "published", "--folder", str(tmp_path)], catch_exceptions=False)
    stems = [f"published_{axis}" for axis in published.AXES]
    assert result.output.split() == [str(tmp_path / "plots" / f"{stem}.png") for stem in stems]
    for stem in stems:
        assert (tmp_path / "plots" / f"{stem}.svg").exists()
        table = pl.read_csv(tmp_path / "plots" / f"{stem}.csv")
        assert table["source"].null_count() == 0 and len(table) > 60
    _, rows = Store.read_only(tmp_path / "results.db").query("select count(*) from reference_scores")
    assert rows[0][0] > 500


def test_an_unknown_figure_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["plot", "--figure", "claims", "--folder", str(tmp_path)])
    assert "no figure 'claims'" in str(result.exception) and "published" in str(result.exception)
