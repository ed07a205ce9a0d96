"""A checkpoint to start from: its shape and identity, and a sentence for each that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedTokenizerFast

from ablate import resolve
from ablate.data.tokenizer import train_bpe
from ablate.errors import RunError, StudyError
from ablate.measure import Shape
from ablate.model import build, ladder
from ablate.model.pretrained import pretrained
from ablate.study.load import load
from ablate.workspace import Workspace
from tests.model.shapes import EVERY
from tests.studies import TINY, write

FROM = (
    TINY.replace("  params: [50k]\n", "")
    .replace("  tokenizer: {train_bpe: 512}\n", "")
    .replace("train: {", "model: {from: start}\ntrain: {")
)


def saved(folder: Path, name: str = "gpt2", seed: int = 0, tokens: int = 320) -> Path:
    """A checkpoint with its tokenizer, as transformers saves it."""
    build.build(EVERY[name], seed).save_pretrained(folder)
    made = train_bpe([["the owl sees the garden at night and three lamps " * 50]], 270)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|endoftext|>")
    tokenizer.add_tokens([f"<{i}>" for i in range(tokens - len(tokenizer))])
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", EVERY)
def test_every_family_is_read_back_as_it_was_saved(tmp_path: Path, name: str) -> None:
    build.build(EVERY[name], seed=3).save_pretrained(tmp_path)
    found = pretrained(str(tmp_path), Workspace(tmp_path))
    for key in ("family", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"):
        assert found.model[key] == EVERY[name][key], "under the names that a preset uses"
    assert ladder.count(found.model) == ladder.count(EVERY[name])
    loaded = build.initial({"model": found.model, "seed": 0, "weights": str(found.folder)})
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        assert torch.equal(loaded.eval()(tokens).logits, build.build(EVERY[name], seed=3).eval()(tokens).logits)


def test_the_identity_is_the_content_wherever_it_lies(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    one, same, other = (pretrained(str(saved(tmp_path / n, seed=s)), space) for n, s in (("a", 0), ("b", 0), ("c", 1)))
    assert one.model == same.model and one.model["weights"] != other.model["weights"]


def test_dropout_is_off_and_padding_freezes_no_row(tmp_path: Path) -> None:
    folder = saved(tmp_path, "opt-1.3b")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dropout": 0.1, "pad_token_id": 1}))
    model = pretrained(str(folder), Workspace(tmp_path)).model
    assert model["dropout"] == 0.0
    assert build.load(model, folder).get_input_embeddings().padding_idx is None


def test_a_checkpoint_gives_params_shape_and_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "start"), saved(tmp_path / "other", seed=1)
    runs = resolve.runs(load(write(tmp_path, FROM), None, ["grid.model.from=[start, other]"]), Workspace(tmp_path))
    assert {run.weights for run in runs} == {str(tmp_path / "start"), str(tmp_path / "other")}
    assert {run.data.tokenizer.path for run in runs} == {str(tmp_path / "start"), str(tmp_path / "other")}
    assert {run.params for run in runs} == {ladder.count(EVERY["gpt2"]).non_embedding}
    assert len({run.digest for run in runs}) == len(runs) == 8


def test_speed_is_measured_without_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "start")
    runs = resolve.runs(load(write(tmp_path, FROM), None, ["train.precision=float32"]), Workspace(tmp_path))
    assert Shape(runs[0].recipe, torch.device("cpu"), compile=False).seat.model.config.model_type == "gpt2"


def without(folder: Path, name: str) -> None:
    (folder / name).unlink()


def pickled(folder: Path) -> None:
    without(folder, "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")


def unknown(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "replit_lm", "auto_map": {"AutoModelForCausalLM": "code.Model"}}))


def says(folder: Path, **values: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


@pytest.mark.parametrize(
    ("damage", "overrides", "sentence"),
    [
        (lambda f: without(f, "config.json"), [], "there is no config.json"),
        (lambda f: without(f, "model.safetensors"), [], "there is no model.safetensors"),
        (pickled, [], r"pytorch_model.bin, a pickle, which can run code and is never opened; convert it"),
        (unknown, [], "no causal language model of the type 'replit_lm', and code from a checkpoint is never run"),
        (lambda f: (f / "config.json").write_text("{"), [], "config.json cannot be read"),
        (lambda f: says(f, n_inner=-8), [], "does not describe a model that transformers can build: Trying to create tensor with negative"),
        (lambda f: says(f, n_layer=0), [], "does not describe a model that transformers can build: num_hidden_layers is 0"),
        (lambda f: says(f, n_layer=10**9), [], "transformers can build: num_hidden_layers is 1,000,000,000, more than 10,000"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 50), [], "model.safetensors is no safetensors file, or a damaged one"),
        (lambda f: saved(f, tokens=400), [], "has 400 tokens, more than the 320 rows"),
        (None, ["data.tokenizer.train_bpe=1024"], "the weights of model.from: start know the tokens of their own tokenizer"),
        (None, ["grid.params=[50k]"], "params: the model of model.from has .* leave params out"),
        (None, ["data.seq_len=128"], "data.seq_len: 128 is more than the 64 tokens"),
        (None, ["model.from=nowhere"], "'nowhere' is no folder here, no run:DIGEST and no hub id"),
        (None, ["model.from=" + 300 * "a"], "is no folder here, no run:DIGEST and no hub id"),
        (None, ["model.from=run:abc"], "run:abc: there is no such run"),
        (None, ["model.from=owner/model"], "as a model of the Hugging Face Hub it is neither in the cache nor to be had"),
    ],
)
def test_refusals(tmp_path: Path, damage: object, overrides: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = saved(tmp_path / "start")
    if callable(damage):
        damage(folder)
    with pytest.raises(StudyError, match=sentence):
        resolve.runs(load(write(tmp_path, FROM), None, overrides), Workspace(tmp_path))


def test_weights_that_lack_a_tensor_are_not_made_up(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    del tensors["transformer.h.1.mlp.c_fc.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(RunError, match=r"lack transformer.h.1.mlp.c_fc.weight \(1 tensors"):
        build.load(pretrained(str(folder), Workspace(tmp_path)).model, folder)


def test_a_model_that_fills_gaps_is_refused(tmp_path: Path) -> None:
    """Its loss would be that of copying the next token."""
    shape = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    AutoModelForMaskedLM.from_config(AutoConfig.for_model("bert", **shape)).save_pretrained(tmp_path)
    with pytest.raises(RunError, match="reads what comes after a token"):
        build.load(pretrained(str(tmp_path), Workspace(tmp_path)).model, tmp_path)


def test_the_shipped_fine_tune_resolves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a small phi in the place of phi-1.5, and conversations in ShareGPT's form."""
    build.build({**EVERY["phi-1.5"], "max_position_embeddings": 2048}, seed=0).save_pretrained(tmp_path / "phi")
    saved(tmp_path / "tokenizer")
    for path in (tmp_path / "tokenizer").glob("tokenizer*.json"):
        path.rename(tmp_path / "phi" / path.name)
    (tmp_path / "talk.jsonl").write_text(json.dumps({"conversations": [{"from": "human", "value": "Hello?"}]}) + "\n")
    monkeypatch.setenv("CHECKPOINT", str(tmp_path / "phi"))
    monkeypatch.setenv("PUFFIN", str(tmp_path))
    runs = resolve.runs(load(Path(__file__).parents[2] / "studies" / "finetune_chat.yaml"), Workspace(tmp_path))
    assert [run.recipe["train"]["lr"] for run in runs] == [3e-6, 1e-5]
    assert {(run.weights, run.recipe["model"]["family"], run.recipe["train"]["schedule"]) for run in runs} == {
        (str(tmp_path / "phi"), "phi", "cosine")
    }
