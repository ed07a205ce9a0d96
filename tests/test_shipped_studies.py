"""`ablate plan` prices every study that is shipped, and says what the network or a checkpoint must give."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ablate import plan
from ablate.errors import AblateError
from ablate.evals.catalogue import entry
from ablate.plan_text import as_text
from ablate.store.record import MEAN_METRICS
from ablate.study.load import load
from ablate.workspace import Workspace
from tests.model.test_pretrained import saved
from tests.test_plan import known

STUDIES = Path(__file__).parents[1] / "studies"
GIVEN = {"real_text_small", "tinystories_to_7b", "finetune_chat"}
"""Those that need a file, the network or a checkpoint: each has a test of its own."""
ALONE = sorted(path.relative_to(STUDIES) for path in STUDIES.rglob("*.yaml") if path.stem not in GIVEN)


def priced(name: Path | str, folder: Path, *overrides: str) -> plan.Price:
    """The price; on this machine with the speed of every shape known, so that nothing is measured."""
    study = load(STUDIES / name, None, list(overrides))
    return plan.price(study, Workspace(folder) if study.launch.gpu else known(folder, study))


def test_every_study_is_here() -> None:
    assert {path.stem for path in STUDIES.rglob("*.yaml")} == GIVEN | {path.stem for path in ALONE} and len(ALONE) >= 5


@pytest.mark.parametrize("path", sorted(STUDIES.rglob("*.yaml")), ids=lambda path: path.stem)
def test_the_mean_score_of_a_study_is_over_all_that_it_asks(path: Path) -> None:
    tasks = [entry(one.task) for one in load(path).evaluate.benchmarks if one.task]
    assert all(task.metric in MEAN_METRICS and task.chance is not None for task in tasks)


@pytest.fixture(autouse=True)
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, and nothing that an earlier one has brought."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))


@pytest.mark.parametrize("name", ALONE, ids=str)
def test_a_study_whose_text_needs_nothing_is_priced(tmp_path: Path, name: Path) -> None:
    price, asked = priced(name, tmp_path), load(STUDIES / name)
    assert price.device_hours is not None and price.device_hours > 0 and price.absent == ()
    assert price.absent_benchmarks == tuple(one.task for one in asked.evaluate.benchmarks if one.task)
    assert price.absent_baselines == tuple(asked.baselines)
    assert price.memory <= price.memory_here
    assert not (tmp_path / "runs" / "data").exists(), "nothing is built for it"


@pytest.mark.parametrize("name", ["llama_7b", "llama_2_7b"])
def test_a_model_on_eight_gpus_is_done_in_an_eighth_of_its_hours(tmp_path: Path, name: str) -> None:
    price = priced(f"presets/{name}.yaml", tmp_path)
    assert price.device == "A100-80GB" and price.wall_seconds is not None and price.device_hours is not None
    assert 8 * price.wall_seconds / 3600 == pytest.approx(price.device_hours, rel=0.1)


@pytest.mark.parametrize(
    ("profile", "text", "benchmarks", "models"), [(None, "smollm-corpus", 10, 3), ("small", "TinyStories", 5, 1)]
)
def test_what_the_network_must_give_is_named(tmp_path: Path, profile: str | None, text: str, benchmarks: int, models: int) -> None:
    price = plan.price(load(STUDIES / "tinystories_to_7b.yaml", profile), Workspace(tmp_path))
    assert price.device_hours is not None and price.epochs == {}
    assert {name.split("/")[-1].split(":")[0].split(" ")[0] for name in price.absent} == {text, "fineweb-edu", "wikitext"}
    named = as_text(price).count("is not on this machine: `ablate prefetch` fetches it")
    assert named == len(price.absent) + len(price.absent_baselines) and len(price.absent_baselines) == models
    assert len(price.absent_benchmarks) == benchmarks and "not on this machine: blimp, lambada_openai, " in as_text(price)


@pytest.mark.parametrize("checkpoint", [None, "nowhere"])
def test_a_fine_tune_without_its_checkpoint_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: str | None) -> None:
    monkeypatch.setenv("PUFFIN", str(conversations(tmp_path)))
    monkeypatch.delenv("CHECKPOINT", raising=False)
    if checkpoint:
        monkeypatch.setenv("CHECKPOINT", str(tmp_path / checkpoint))
    with pytest.raises(AblateError, match=r"\$CHECKPOINT"):
        plan.price(load(STUDIES / "finetune_chat.yaml"), Workspace(tmp_path))


def test_a_fine_tune_is_priced_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = saved(tmp_path / "start", "llama-7b")
    config = json.loads((start / "config.json").read_text())
    (start / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 2048}))
    monkeypatch.setenv("CHECKPOINT", str(start))
    monkeypatch.setenv("PUFFIN", str(conversations(tmp_path)))
    price = priced("finetune_chat.yaml", tmp_path, "data.max_epochs=1000")  # of a few conversations
    assert price.runs == 2 and price.device_hours is not None and 5 < price.epochs["synthetic"] < 1000
    with pytest.raises(AblateError, match=r"epochs, more than data.max_epochs 5"):
        priced("finetune_chat.yaml", tmp_path)


def conversations(folder: Path) -> Path:
    """A folder of conversations as the study names them."""
    words = "the owl sees the garden at night and three lamps "
    talks = [[{"from": "human", "value": f"What is {i}?"}, {"from": "gpt", "value": f"{i} and {words * 40}"}] for i in range(60)]
    (folder / "puffin").mkdir()
    (folder / "puffin" / "talks.jsonl").write_text("\n".join(json.dumps({"conversations": talk}) for talk in talks))
    return folder / "puffin"


@pytest.mark.shared_data
def test_the_real_text_study_is_priced(tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_DATA", str(shared_data))
    price = priced("real_text_small.yaml", tmp_path)
    assert price.runs == 12 and price.device_hours is not None
    assert set(price.epochs) == {"synthetic", "web"} and max(price.epochs.values()) <= 4
