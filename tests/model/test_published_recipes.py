"""The published recipes as studies: what they say, and that their price is near the published GPU-hours; docs/presets.md says the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ablate import resolve
from ablate.model import ladder, presets
from ablate.model.gpus import GPUS
from ablate.study.grid import Run
from ablate.study.load import load

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "studies" / "presets").glob("*.yaml"))
PAGE = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")


def _flops(run: Run) -> float:
    return float(run.tokens * ladder.flops_per_token(run.recipe["model"], run.recipe["data"]["seq_len"]))


def _hours(name: str, mfu: float | None = None) -> float:
    """Of one preset's recipe on the GPU and at the MFU that its study states."""
    study = load(ROOT / "studies" / "presets" / f"{name}.yaml")
    (run,) = resolve.runs(study)
    assert study.launch.gpu is not None and study.launch.mfu is not None
    return _flops(run) / (GPUS[study.launch.gpu].peak_flops * (mfu or study.launch.mfu)) / 3600


@pytest.mark.parametrize(("name", "published"), [("llama_7b", 82_432), ("llama_2_7b", 184_320), ("phi_1_5", 1_500)])
def test_hours_at_the_stated_mfu_are_within_half_of_the_published(name: str, published: int) -> None:
    assert 1 / 1.5 <= _hours(name) / published <= 1.5


def test_no_mfu_fits_both_published_figures_of_phi_1_5() -> None:
    """6,144 hours by the model card: four times the paper's."""
    assert 1 / 1.5 <= _hours("phi_1_5", mfu=0.25) / 6_144 <= 1.5
    assert _hours("phi_1_5", mfu=1) / 1_500 > 0.8 and _hours("phi_1_5", mfu=1) / 6_144 < 0.2


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_shapes_are_the_published_ones(path: Path) -> None:
    """The stand-in tokenizer has as many ids as the published one, so the embedding has the published rows."""
    for run in resolve.runs(load(path)):
        assert ladder.count(run.recipe["model"]).total == presets.preset(run.factors["model.preset"]).total
        assert run.recipe["model"]["vocab_size"] == presets.preset(run.factors["model.preset"]).values["vocab_size"]


def test_recipes_of_the_page() -> None:
    rows = {"llama_7b": "84,808 at 45%", "llama_2_7b": "182,362 at 45%", "phi_1_5": "2,207 at 55%"}
    for name, words in rows.items():
        assert words in PAGE and f"{_hours(name):,.0f} at" in words
    assert f"{_hours('phi_1_5', mfu=0.25):,.0f} at 25%" in PAGE


def test_counts_of_the_page() -> None:
    rows = {row[1]: row for row in re.finditer(r"^\| ([\w.-]+) \| \w+ \| ([\d,]+) \| ([\d,]+) \| (\S+) \|", PAGE, flags=re.MULTILINE)}
    assert list(rows) == presets.names()
    for name, row in rows.items():
        preset = presets.preset(name)
        assert (row[2], row[3], row[4]) == (f"{preset.non_embedding:,}", f"{preset.total:,}", str(preset.published.count))
