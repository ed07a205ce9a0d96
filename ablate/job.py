"""One job, end to end in its folder: `python -m ablate.job FOLDER`.

Reads job.json, carries each family through training and scoring, and leaves in every run's folder
what the driver needs: scores as they finish and, last, outcome.json. It never opens results.db, so
it can run on any host that sees the folder. A family that fails does not stop the next one.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from ablate.data import mixture, shards, tokenizer
from ablate.errors import AblateError, Interrupted
from ablate.evals import scoring, texts
from ablate.evals.items import Benchmark
from ablate.evals.requests import Requests, requests
from ablate.launch.base import hold
from ablate.model import ladder
from ablate.scored import Text, Wanted
from ablate.study import grid, spec
from ablate.train import device, schedule
from ablate.train.loop import Branch, Settings, Trained, forget, train_family
from ablate.workspace import Workspace, read_json, write_json


@dataclass(frozen=True)
class Job:
    """job.json, read."""

    workspace: Workspace
    study: dict[str, Any]
    """Of the study, as JSON: evaluate, launch and keep_models."""
    families: list[list[dict[str, Any]]]
    """Of each family its runs, as {"digest", "family", "recipe", "data", "fresh"}."""
    device: Literal["auto", "cpu", "cuda"]
    compile: bool
    launcher: str


def read(folder: Path) -> Job:
    """The job in `folder`."""
    job = read_json(folder / "job.json")
    return Job(Workspace(Path(job.pop("root"))), **job)


def work(folder: Path, stop: Callable[[], bool] = lambda: False) -> None:
    """Carry the job in `folder` through; a family's error is recorded with its runs and the next one goes on."""
    job = read(folder)
    with hold(folder / "lock", f"the job {folder.name}"):
        desks: dict[str, Desk] = {}
        for runs in job.families:
            try:
                data = runs[0]["data"]
                desk = desks.get(grid.digest(data)) or desks.setdefault(grid.digest(data), Desk(job, data))
                _carry(desk, runs, stop)
            except Interrupted:
                raise
            except Exception as e:
                if not isinstance(e, AblateError):
                    traceback.print_exc()
                _record_failure(job.workspace, runs, e)


class Desk:
    """What all families on one data share, made once: device, tokenizer, tokenised benchmarks, held-out texts."""

    def __init__(self, job: Job, data: dict[str, Any]) -> None:
        self.started = time.time()
        self.job = job
        self.data = spec.Data.model_validate(data)
        self.wanted = Wanted(spec.Evaluate.model_validate(job.study["evaluate"]), self.data)
        self.device = device.pick(job.device)
        self.tokenizer_digest = tokenizer.definition(self.data)
        self.tokenizer: PreTrainedTokenizerFast = tokenizer.load(job.workspace.tokenizers / self.tokenizer_digest)
        self._requests: dict[str, Requests] = {}
        self._windows: dict[str, texts.Windows | None] = {}

    def requests(self, benchmark: Benchmark) -> Requests:
        """The benchmark, tokenised once for all models of this job."""
        if benchmark.digest not in self._requests:
            self._requests[benchmark.digest] = requests(benchmark, self.tokenizer, self.data.seq_len)
        return self._requests[benchmark.digest]

    def windows(self, text: Text) -> texts.Windows | None:
        """The text, tokenised once; None where its source holds nothing out."""
        if text.name not in self._windows:
            documents = text.documents()
            self._windows[text.name] = texts.windows(documents, self.tokenizer, self.data.seq_len) if documents else None
        return self._windows[text.name]

    def mixture(self, recipe: dict[str, Any]) -> mixture.Mixture:
        """The stream of sequences of one family."""
        data, seed = recipe["data"], recipe["seed"]
        streams = []
        for role in data["shares"]:
            source = getattr(self.data, role)
            opened = shards.open_shards(source, seed, self.tokenizer_digest, self.job.workspace)
            streams.append(mixture.Stream(opened, seed, role, data["seq_len"]))
        return mixture.Mixture(streams, [Fraction(share) for share in data["shares"].values()])


def _carry(desk: Desk, runs: Sequence[dict[str, Any]], stop: Callable[[], bool]) -> None:
    """Train what is not trained and score what is not scored of one family."""
    space = desk.job.workspace
    for run in runs:
        write_json(space.run(run["digest"]) / "run.json", run)
    family, recipe = space.family(runs[0]["family"]), runs[0]["recipe"]
    with hold(family / "lock", f"the family {family.name}", wait=True):
        _train_and_score(desk, runs, recipe, family, stop)


def _train_and_score(desk: Desk, runs: Sequence[dict[str, Any]], recipe: dict[str, Any], family: Path, stop: Callable[[], bool]) -> None:
    space = desk.job.workspace
    mixed = desk.mixture(recipe)
    by_digest = {run["digest"]: run for run in runs}
    branches = [
        Branch(
            digest=run["digest"],
            steps=schedule.steps_of(run["recipe"]["tokens"], recipe["train"]["batch_tokens"]),
            folder=space.run(run["digest"]),
            done=_is_trained(space.run(run["digest"])),
        )
        for run in runs
    ]
    settings = Settings(device=desk.device, compile=desk.job.compile, checkpoint_every=desk.job.study["launch"]["checkpoint_every"])
    for branch in (b for b in branches if b.done):
        _score_and_finish(desk, by_digest[branch.digest], mixed)
    trunk = family if desk.job.study["launch"]["share"] == "trunk" else None
    for trained in train_family(recipe, branches, mixed.batch, trunk, settings, stop):
        _keep(desk, trained)
        _score_and_finish(desk, by_digest[trained.branch.digest], mixed, trained.model)
        forget(trained.branch)


def _is_trained(folder: Path) -> bool:
    return (folder / "train.json").exists() and (folder / "model" / "model.safetensors").exists()


def _keep(desk: Desk, trained: Trained) -> None:
    """Put the finished model into the run's folder, then train.json, whose presence says that it is whole."""
    folder = trained.branch.folder
    part, final = folder / ".model.part", folder / "model"
    for stale in (part, final):
        shutil.rmtree(stale, ignore_errors=True)
    separator = tokenizer.end_of_text(desk.tokenizer)
    for config in (trained.model.config, trained.model.generation_config):
        config.bos_token_id = config.eos_token_id = config.pad_token_id = separator
    trained.model.save_pretrained(part)
    desk.tokenizer.save_pretrained(part)
    part.rename(final)
    numbers = {k: v for k, v in vars(trained).items() if k not in ("branch", "model")}
    write_json(folder / "train.json", {**numbers, "hours_basis": "shared" if desk.job.study["launch"]["share"] == "trunk" else "measured"})


def _score_and_finish(desk: Desk, run: dict[str, Any], mixed: mixture.Mixture, model: LlamaForCausalLM | None = None) -> None:
    """Score what has no score yet, benchmark by benchmark, and write outcome.json last."""
    folder = desk.job.workspace.run(run["digest"])
    started = time.perf_counter()
    model = model if model is not None else LlamaForCausalLM.from_pretrained(folder / "model").to(desk.device)
    model.eval()
    for benchmark in desk.wanted.benchmarks(run["fresh"]):
        _score(desk, run["digest"], benchmark, model)
    measured = [row for text in desk.wanted.texts() if (row := _measure(desk, run["digest"], text, model)) is not None]
    seconds = time.perf_counter() - started
    write_json(folder / "outcome.json", _outcome(desk, run, measured, mixed, seconds))
    if desk.job.study["keep_models"] == "none":
        shutil.rmtree(folder / "model")


def _score(desk: Desk, run: str, benchmark: Benchmark, model: LlamaForCausalLM) -> None:
    name = f"{benchmark.name}.{benchmark.register}.{'fresh' if benchmark.fresh else 'public'}.json"
    folder = desk.job.workspace.run(run)
    digest = scoring.score_digest(run, benchmark.digest)
    if (read_json(folder / "scores" / name) or {}).get("digest") == digest:
        return
    scored = scoring.score(model, desk.requests(benchmark), desk.device)
    write_json(folder / "answers" / name, scored.answers())
    write_json(folder / "scores" / name, {**scored.row(), "digest": digest, "benchmark_digest": benchmark.digest})


def _scores(folder: Path, run: str) -> list[dict[str, Any]]:
    """All scores of a run that today's scorer stands by: this study's, and those that other studies asked for."""
    rows = [read_json(path) for path in sorted((folder / "scores").glob("*.json"))]
    return [row for row in rows if row["digest"] == scoring.score_digest(run, row["benchmark_digest"])]


def _measure(desk: Desk, run: str, text: Text, model: LlamaForCausalLM) -> dict[str, Any] | None:
    path = desk.job.workspace.run(run) / "texts" / f"{text.name}.json"
    kept: dict[str, Any] | None = read_json(path)
    if kept and kept["identity"] == text.identity:
        return kept
    windows = desk.windows(text)
    if windows is None:
        return None
    row = {"text": text.name, "primary": text.primary, "identity": text.identity, **vars(texts.bits_per_byte(model, windows, desk.device))}
    write_json(path, row)
    return row


def _outcome(desk: Desk, run: dict[str, Any], measured: list[dict[str, Any]], mixed: mixture.Mixture, seconds: float) -> dict[str, Any]:
    """outcome.json: everything the driver records of a run."""
    folder = desk.job.workspace.run(run["digest"])
    train = read_json(folder / "train.json")
    recipe = run["recipe"]
    steps = schedule.steps_of(recipe["tokens"], recipe["train"]["batch_tokens"])
    tokens = steps * recipe["train"]["batch_tokens"]
    flops = tokens * ladder.flops_per_token(recipe["model"], recipe["data"]["seq_len"])
    counts = ladder.count(recipe["model"])
    usage = mixed.usage(tokens // recipe["data"]["seq_len"])
    return {
        "digest": run["digest"],
        "status": "done",
        "error": None,
        "train": {
            **train, "steps": steps, "tokens": tokens, "flops": flops, "score_seconds": seconds,
            "params_non_embedding": counts.non_embedding, "params_total": counts.total, "mfu": _mfu(desk, flops, train["train_seconds"]),
        },
        "usage": [vars(u) for u in usage],
        "texts": measured,
        "scores": _scores(folder, run["digest"]),
        "attempt": _attempt(desk),
    }  # fmt: skip


def _mfu(desk: Desk, flops: int, seconds: float) -> float | None:
    """Share of the device's dense bf16 peak; None where the peak is not known."""
    peak = device.describe(desk.device)["peak_flops"]
    return flops / seconds / peak if peak and seconds else None


def _attempt(desk: Desk) -> dict[str, Any]:
    job = desk.job
    return {
        "host": socket.gethostname(), "pid": os.getpid(), "launcher": job.launcher, "compile": job.compile, "device_type": desk.device.type,
        "started": desk.started, "ended": time.time(), **device.describe(desk.device),
    }  # fmt: skip


def _record_failure(space: Workspace, runs: Sequence[dict[str, Any]], error: Exception) -> None:
    """Every unfinished run of the family gets the sentence; finished ones keep their outcome."""
    sentence = str(error) if isinstance(error, AblateError) else f"{type(error).__name__}: {error}"
    for run in runs:
        folder = space.run(run["digest"])
        if (read_json(folder / "outcome.json") or {}).get("status") != "done":
            write_json(folder / "outcome.json", {"digest": run["digest"], "status": "failed", "error": sentence})


def main(folder: Path) -> int:
    """Exit status: 0 done (failed runs have said so in their outcome), 1 stopped by a signal after a checkpoint."""
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, lambda signum, _frame: asked.append(signum))
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    try:
        work(folder, stop=lambda: bool(asked))
    except AblateError as e:
        print(e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
