"""One job, end to end in its folder: `python -m ablate.job FOLDER`.

Reads job.json, carries each family through training and scoring, and leaves in every run's folder
what the driver needs: scores as they finish and, last, outcome.json. It never opens results.db, so
it can run on any host that sees the folder. A family that fails does not stop the next one.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from ablate import ranks
from ablate.baselines import Baseline
from ablate.data import mixture, shards, tokenizer
from ablate.errors import AblateError, Interrupted
from ablate.evals import kept
from ablate.evaluation import Examiner, cost_of_writing, examine_baseline, scores_in, texts_in
from ablate.jobs import packs_of
from ablate.launch.base import hold, sign
from ablate.leave import Leave, on_signals
from ablate.model import ladder
from ablate.scored import Wanted
from ablate.study import grid, spec
from ablate.train import device, schedule
from ablate.train.lockstep import Seat, Stack, Steps, drive
from ablate.train.loop import Branch, Family, Trained, forget
from ablate.train.optim import backend_of
from ablate.train.pack import Pack, choose_pack
from ablate.train.stacks import stack_of
from ablate.train.world import World
from ablate.workspace import Workspace, disk_full, is_disk_full, read_json, write_json

HOW = ("pack", "micro_batch", "oom_halvings", "optimizer_backend", "optimizer_version", "devices", "activation_checkpointing")
"""What of a Trained is said of the attempt: it says how the numbers came about, and changes none of them."""


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
    optimizer_backend: Literal["auto", "apex", "torch"]
    launcher: str
    baselines: list[dict[str, Any]] = field(default_factory=list)
    """As {"digest", "baseline", "data"}."""


def read(folder: Path) -> Job:
    """The job in `folder`."""
    job = read_json(folder / "job.json")
    return Job(Workspace(Path(job.pop("root"))), **job)


def work(folder: Path, leave: Leave | None = None, world: World | None = None) -> None:
    """Carry the job in `folder` through, leading the world if there is one; what fails is recorded and the next one goes on."""
    job = read(folder)
    chosen, launch = device.pick(job.device), job.study["launch"]
    desks: dict[str, Desk] = {}

    def desk(runs: Sequence[dict[str, Any]]) -> Desk:
        key = grid.digest(runs[0]["data"])
        if key not in desks:
            desks[key] = Desk(job, runs[0]["data"], chosen, leave or Leave())
        return desks[key]

    backend = backend_of("torch" if world else job.optimizer_backend, chosen)  # shards have torch's
    choose = partial(choose_pack, device=chosen, compile=job.compile, backend=backend)
    one = stack_of(chosen, job.compile, backend, launch["activation_checkpointing"], world)
    for pack, families in packs_of(job.families, "none" if world else launch["pack"], chosen.type, job.workspace, choose):
        with ExitStack() as locks:
            for family in sorted(job.workspace.family(runs[0]["family"]) for runs in families):  # so no two jobs wait for each other
                locks.enter_context(hold(family / "lock", f"the family {family.name}", wait=True))
            stack: Stack = Pack(pack, chosen, job.compile, backend) if pack > 1 else one
            drive(stack, [partial(_carry, desk(runs), runs) for runs in families])
            del stack
            device.free_unreferenced(chosen)  # the next one may be of another shape
    for row in job.baselines:
        _score_baseline(job, row, chosen)


def _score_baseline(job: Job, row: dict[str, Any], chosen: torch.device) -> None:
    wanted = Wanted(spec.Evaluate.model_validate(job.study["evaluate"]), spec.Data.model_validate(row["data"]))
    with hold(job.workspace.baselines / row["digest"] / "lock", f"the baseline {row['baseline']['name']}", wait=True):
        examine_baseline(job.workspace, Baseline(**row["baseline"]), wanted, chosen)
    device.free_unreferenced(chosen)


class Desk:
    """What all families on one data share, made once: device, tokenizer, and who scores their models."""

    def __init__(self, job: Job, data: dict[str, Any], chosen: torch.device, leave: Leave) -> None:
        self.started = time.time()
        self.job = job
        self.leave = leave
        self.data = spec.Data.model_validate(data)
        self.wanted = Wanted(spec.Evaluate.model_validate(job.study["evaluate"]), self.data)
        self.device = chosen
        self.kept = kept.of_study(self.data, job.workspace)
        self.examiner = Examiner(self.kept, chosen, self.wanted.evaluate)

    def mixture(self, recipe: dict[str, Any]) -> mixture.Mixture:
        """The stream of sequences of one family."""
        data, seed = recipe["data"], recipe["seed"]
        streams = []
        for role in data["shares"]:
            source = self.data.trained_on()[role]
            opened = shards.open_shards(source, seed, self.kept.tokenizer_digest, self.job.workspace, data.get("decontaminate"))
            streams.append(mixture.Stream(opened, seed, role, data["seq_len"]))
        return mixture.Mixture(streams, [Fraction(share) for share in data["shares"].values()])


def _carry(desk: Desk, runs: Sequence[dict[str, Any]], seat: Callable[[dict[str, Any]], Seat]) -> Steps[None]:
    """Train what is not trained and score what is not scored of one family; a run that fails does not stop the others."""
    space = desk.job.workspace
    for run in runs:
        write_json(space.run(run["digest"]) / "run.json", run)
    while todo := [run for run in runs if not _has_outcome(desk, run)]:
        try:
            yield from _train_and_score(desk, todo, seat)
            return
        except Interrupted:
            raise
        except Exception as e:
            if not isinstance(e, AblateError):
                traceback.print_exc()
            _record_failure(space, next(run for run in todo if not _has_outcome(desk, run)), e)


def _has_outcome(desk: Desk, run: dict[str, Any]) -> bool:
    """Whether nothing is left to do: it failed in this job, or is done and scored on all that this study wants."""
    outcome = read_json(desk.job.workspace.run(run["digest"]) / "outcome.json")
    return outcome is not None and (outcome["status"] == "failed" or desk.wanted.is_met(outcome, run["fresh"]))


def _train_and_score(desk: Desk, runs: Sequence[dict[str, Any]], seat: Callable[[dict[str, Any]], Seat]) -> Steps[None]:
    """One family, cheapest run first: those that are trained already are only scored."""
    space, recipe, launch = desk.job.workspace, {**runs[0]["recipe"], "weights": runs[0]["weights"]}, desk.job.study["launch"]
    mixed = desk.mixture(recipe)
    by_digest = {run["digest"]: run for run in runs}
    for run in runs:
        if _is_trained(space.run(run["digest"])):
            _score_and_finish(desk, run, mixed)
    branches = [
        Branch(run["digest"], schedule.steps_of(run["recipe"]["tokens"], recipe["train"]["batch_tokens"]), space.run(run["digest"]))
        for run in runs
        if not _has_outcome(desk, run)
    ]
    if not branches:
        return
    trunk = space.family(runs[0]["family"]) if launch["share"] == "trunk" else None
    family = Family(recipe, branches, mixed.batch, trunk, seat(recipe), launch["checkpoint_every"], desk.leave)
    for branch in family.todo:
        trained = yield from family.train(branch)
        _keep(desk, trained)
        _score_and_finish(desk, by_digest[branch.digest], mixed, trained.model)
        forget(branch)
        del trained  # several devices made its model for scoring: no memory for it beside the next budget's training


def _is_trained(folder: Path) -> bool:
    """Whether the finished model is there and whole; one that a power cut damaged is trained again."""
    if not (folder / "train.json").exists():
        return False
    try:
        with safe_open(folder / "model" / "model.safetensors", framework="pt"):
            return True
    except (OSError, SafetensorError):
        return False


def _keep(desk: Desk, trained: Trained) -> None:
    """Put the finished model into the run's folder, then train.json, whose presence says that it is whole."""
    folder = trained.branch.folder
    part, final = folder / ".model.part", folder / "model"
    for stale in (part, final):
        shutil.rmtree(stale, ignore_errors=True)
    separator = tokenizer.end_of_text(desk.kept.tokenizer)
    for config in (trained.model.config, trained.model.generation_config):
        config.bos_token_id = config.eos_token_id = config.pad_token_id = separator
    trained.model.save_pretrained(part)
    # whoever loads it asks the model as it was trained: with the separator before every text
    tokenizer.beginning_with((separator,), desk.kept.tokenizer).save_pretrained(part)
    part.rename(final)
    numbers = {k: v for k, v in vars(trained).items() if k not in ("branch", "model", "shared")}
    basis = "packed" if trained.pack > 1 else "shared" if trained.shared else "measured"
    write_json(folder / "train.json", {**numbers, "hours_basis": basis})


def _score_and_finish(desk: Desk, run: dict[str, Any], mixed: mixture.Mixture, model: PreTrainedModel | None = None) -> None:
    """Score what has no score yet, benchmark by benchmark, and write outcome.json last."""
    folder = desk.job.workspace.run(run["digest"])
    model = model if model is not None else AutoModelForCausalLM.from_pretrained(folder / "model").to(desk.device)
    desk.examiner.examine(folder, run["digest"], model, desk.wanted.benchmarks(run["fresh"]), desk.wanted.texts())
    outcome = {**_outcome(desk, run, mixed), "latency": cost_of_writing(model, desk.device, desk.job.workspace)}
    write_json(folder / "outcome.json", outcome)
    if desk.job.study["keep_models"] == "none" and not desk.wanted.failures(outcome, run["fresh"]):
        shutil.rmtree(folder / "model")


def _outcome(desk: Desk, run: dict[str, Any], mixed: mixture.Mixture) -> dict[str, Any]:
    """outcome.json: everything the driver records of a run."""
    folder, recipe = desk.job.workspace.run(run["digest"]), run["recipe"]
    train, scores, measured = read_json(folder / "train.json"), scores_in(folder, run["digest"]), texts_in(folder)
    predicted = run.get("predicted") or {}
    steps = schedule.steps_of(recipe["tokens"], recipe["train"]["batch_tokens"])
    tokens = steps * recipe["train"]["batch_tokens"]
    flops = tokens * ladder.flops_per_token(recipe["model"], recipe["data"]["seq_len"])
    counts = ladder.count(recipe["model"])
    usage = mixed.usage(tokens // recipe["data"]["seq_len"])
    how = {name: train.pop(name, None) for name in HOW}
    return {
        "digest": run["digest"],
        "status": "done",
        "error": None,
        "train": {
            **train, "steps": steps, "tokens": tokens, "flops": flops, "score_seconds": sum(row["seconds"] for row in scores + measured),
            "params_non_embedding": counts.non_embedding, "params_total": counts.total, "mfu": _mfu(desk, flops, train["train_seconds"]),
            "peak_memory_bytes": max(train["peak_memory_bytes"], device.peak_memory(desk.device)),
            "predicted_seconds": predicted.get("seconds"), "predicted_memory_bytes": predicted.get("memory_bytes"),
        },
        "usage": [vars(u) for u in usage],
        "texts": measured,
        "scores": scores,
        "attempt": {**_attempt(desk), **how},
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


def _record_failure(space: Workspace, run: dict[str, Any], error: Exception) -> None:
    if not isinstance(error, AblateError) and is_disk_full(error):
        error = disk_full(space.run(run["digest"]))
    sentence = str(error) if isinstance(error, AblateError) else f"{type(error).__name__}: {error}"
    write_json(space.run(run["digest"]) / "outcome.json", {"digest": run["digest"], "status": "failed", "error": sentence})


def main(folder: Path, lock: int | None) -> int:
    """Exit status: 0 done (failed runs have said so in their outcome), 1 stopped by a signal after a checkpoint.

    `lock` is the descriptor of the job's lock where the launcher took it for us; run by hand, the job takes it itself.
    """
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if ranks.is_one():
        job = read(folder)
        return ranks.take_part(folder, job.device, job.compile, partial(work, folder))
    leave = on_signals()
    if lock is not None:
        os.set_inheritable(lock, False)  # what this process starts must not keep the lock after it
        sign(lock, os.getpid())  # as its driver does, unless that was stopped in between
    try:
        with hold(folder / "lock", f"the job {folder.name}") if lock is None else nullcontext():
            work(folder, leave)
    except AblateError as e:
        print(e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None))
