"""One study trains a model, another goes on from it on conversations: the loss starts where the other ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ablate import drive, resolve
from ablate.launch.inline import InlineLauncher
from ablate.model.build import initial
from ablate.study.load import load
from ablate.study.spec import Study
from ablate.train.meter import FILE, lines
from ablate.workspace import Workspace, read_json

FIRST = """
name: first
grid: {params: [50k], tokens: [100k], synthetic_ratio: [1]}
data: {synthetic: "files:talk.txt", tokenizer: {train_bpe: 300}, seq_len: 64, max_epochs: 1000}
train: {lr: 0.01, batch_tokens: 512, warmup_steps: 10, precision: float32}
evaluate: {benchmarks: [builtin:grammar], fresh_twins: false}
launch: {with: inline, device: cpu, compile: false}
"""
SECOND = """
name: second
grid: {tokens: [52k], model.from: ["run:RUN"]}
data: {synthetic: {files: talk.jsonl, messages_field: conversations}, seq_len: 64, max_epochs: 1000}
train: {lr: 0.0001, batch_tokens: 512, warmup_steps: 0, precision: float32, schedule: cosine}
evaluate: {benchmarks: [builtin:grammar], fresh_twins: false}
launch: {with: inline, device: cpu, compile: false, share: none}
"""


class Silent:
    """Watches and says nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


def run(path: Path, text: str) -> tuple[Study, drive.Result]:
    path.write_text(text)
    study = load(path)
    order = drive.Order(study, str(path), None, Workspace(path.parent), InlineLauncher(), "cpu", compile=False, processes=1)
    return study, drive.drive(order, Silent())


def test_a_fine_tune_starts_where_its_run_ended(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    colours = ["red", "green", "blue", "white", "black", "brown", "grey", "pink", "golden", "purple", "yellow", "orange"]
    talks = [[("human", f"What colour is lamp {c}?"), ("gpt", f"The lamp is {c}, and the garden is {c} too.")] for c in colours]
    (tmp_path / "talk.txt").write_text("<|endoftext|>".join(f"User: {q}\n\nAssistant: {a}" for (_, q), (_, a) in talks))
    rows = [{"conversations": [{"from": who, "value": words} for who, words in talk]} for talk in talks]
    (tmp_path / "talk.jsonl").write_text("\n".join(map(json.dumps, rows)))
    _, first = run(tmp_path / "first.yaml", FIRST)
    assert not first.failed
    started = first.runs[0]
    study, second = run(tmp_path / "second.yaml", SECOND.replace("RUN", started.digest[:8]))
    assert not second.failed
    (went_on,) = second.runs
    space = Workspace(tmp_path)

    assert went_on.recipe["model"]["weights"] == f"run:{started.digest}" and went_on.params == resolve.runs(study, space)[0].params
    before = read_json(space.run(started.digest) / "train.json")["final_loss"]
    losses = [line["loss"] for line in lines(space.run(went_on.digest) / FILE)]
    assert before < 1.0, "it had learnt something to go on from"
    assert abs(losses[0] - before) < 0.25, "the same text in another form: the loss goes on from where it was"
    model = initial({**went_on.recipe, "weights": went_on.weights})
    final = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert final.numel() == went_on.recipe["model"]["vocab_size"] * 64 + went_on.params
    rates = [line["lr"] for line in lines(space.run(went_on.digest) / FILE)]
    assert rates == sorted(rates, reverse=True) and rates[-1] < 1e-6, "cosine"
