"""A run's digest knows what changes its weights and nothing else of the study."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablate import resolve
from ablate.errors import StudyError
from ablate.study import grid
from ablate.study.load import load
from tests.studies import TINY, write


def digests(folder: Path, text: str = TINY, *overrides: str) -> list[str]:
    return [run.digest for run in resolve.runs(load(write(folder, text), None, overrides))]


@pytest.mark.parametrize(
    "override",
    [
        "grid.params=[50k, 100k]",
        "grid.tokens=[60k, 120k, 240k]",
        "grid.synthetic_ratio=[0, 1/2, 1]",
        "seeds=[0, 1, 2]",
        "evaluate.benchmarks=[builtin:unseen_sums]",
        "name=another",
        "launch.slots=7",
        "launch.share=none",
        "keep_models=none",
        "data.max_epochs=1",
    ],
)
def test_what_is_around_a_run_changes_no_digest(tmp_path: Path, override: str) -> None:
    before = digests(tmp_path)
    assert set(before) <= set(digests(tmp_path, TINY, override))


@pytest.mark.parametrize(
    "override",
    [
        "train.lr=0.005",
        "train.batch_tokens=256",
        "train.decay=0.3",
        "train.optimizer.weight_decay=0.2",
        "data.seq_len=128",
        "data.tokenizer.train_bpe=600",
        "model.tie_word_embeddings=false",
        "seeds=[1]",
    ],
)
def test_what_changes_the_weights_changes_every_digest(tmp_path: Path, override: str) -> None:
    assert not set(digests(tmp_path)) & set(digests(tmp_path, TINY, override))


def test_a_source_changes_the_runs_that_read_it_or_share_its_tokenizer(tmp_path: Path) -> None:
    before, after = digests(tmp_path), digests(tmp_path, TINY, "data.web={builtin: web, seed: 1}")
    assert not set(before) & set(after), "the tokenizer is trained on both sources"


def test_a_factor_on_the_data_reaches_the_data(tmp_path: Path) -> None:
    study = load(write(tmp_path), None, ["grid.data.web.noise.typos=[0, 0.1]"])
    runs = resolve.runs(study)
    assert {run.data.web.noise.typos for run in runs if run.data.web is not None} == {0, 0.1}
    assert len({run.digest for run in runs}) == len(runs)


def test_nothing_is_left_to_decide(tmp_path: Path) -> None:
    text = TINY.replace("train: {lr: 0.004, batch_tokens: 512, warmup_steps: 10}", "").replace("[60k, 120k]", "[20M]")
    (run, _) = resolve.runs(load(write(tmp_path, text)))
    assert "auto" not in str(run.recipe)
    assert run.recipe["train"]["batch_tokens"] % run.recipe["data"]["seq_len"] == 0


def test_a_batch_must_be_whole_sequences(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"train.batch_tokens: 500 .* 64"):
        digests(tmp_path, TINY, "train.batch_tokens=500")


def test_a_long_warm_up_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="warm up for 50 of its 117 steps"):
        digests(tmp_path, TINY, "train.warmup_steps=50")


def test_the_shipped_studys_digests_change_with_the_numerics_version_alone() -> None:
    """What was trained before stays trained: an option that a study does not use must not be in its digests."""
    study = load(Path(__file__).parents[1] / "studies" / "quality_vs_quantity.yaml", None, ["train.precision=float32"])
    runs = [run.digest for run in resolve.runs(study)]
    assert (len(runs), grid.digest(runs)) == (54, "c63de4331b937a6c")
