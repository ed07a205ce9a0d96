"""A family of runs for the price of little more than its longest: one trunk, and a branch for each token budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from ablate.leave import Leave
from ablate.train import checkpoint, sharded
from ablate.train.accounts import Ledger
from ablate.train.device import peak_memory
from ablate.train.engine import Engine
from ablate.train.lockstep import Seat, Steps, alone
from ablate.train.optim import Backend
from ablate.train.schedule import branch_scale, fork_of, trunk_scale
from ablate.train.walk import Batches, Plan, Walk

TRUNK, BRANCH = "trunk", "branch"  # names of checkpoints


@dataclass(frozen=True)
class Branch:
    """One run of a family. One that is `done` is not trained again, but it pays for no trunk either."""

    digest: str
    steps: int
    folder: Path
    done: bool = False


@dataclass(frozen=True)
class Settings:
    """How to train, none of which is in a digest. checkpoint_every is in seconds."""

    device: torch.device
    compile: bool = False
    backend: Backend = "torch"  # of the optimiser
    checkpoint_every: float = 60.0


@dataclass(frozen=True)
class Trained:
    """A run at its last step. `model` is the live one: use it before asking for the next run."""

    branch: Branch
    model: PreTrainedModel
    final_loss: float  # nats a token, mean of the last 5% of the steps (of the decay where that is shorter)
    train_seconds: float  # stand-alone: the trunk up to its fork and its own decay (of a pack's seconds, its share)
    spent_seconds: float  # its share of the trunk and its own decay; over all runs this adds up to what was spent
    lost_seconds: float  # trained and thrown away by kills, its share of the trunk's included
    setup_seconds: float  # building and compiling in this process, charged to the first run after it
    peak_memory_bytes: int
    shared: bool  # whether it left a trunk; else it was trained alone from step 0
    optimizer_backend: str
    optimizer_version: str
    pack: int  # most models that were trained at once on the way
    micro_batch: int  # sequences a pass at the end
    oom_halvings: int
    devices: int  # that trained it together; seconds are device-seconds
    activation_checkpointing: bool


def train_family(
    recipe: dict[str, Any],
    branches: Sequence[Branch],
    batch: Batches,
    trunk_folder: Path | None,
    settings: Settings,
    leave: Leave,
) -> Iterator[Trained]:
    """Train every branch that is not done on an engine of its own, cheapest first, and yield each at its last step.

    Arguments and errors are those of `Family`; what an engine raises comes on top. Call `forget` when a run is recorded.
    """
    if all(branch.done for branch in branches):
        return
    engine = Engine(recipe, settings.device, settings.compile, settings.backend)
    family = Family(recipe, branches, batch, trunk_folder, engine, settings.checkpoint_every, leave)
    for branch in family.todo:
        yield alone(family.train(branch), engine)


def forget(branch: Branch) -> None:
    """Delete a run's checkpoints, once its outcome is recorded."""
    checkpoint.remove(branch.folder, BRANCH)
    sharded.remove(branch.folder, BRANCH)


class Family:
    """The budgets of one family, trained in one seat.

    `batch(first_sequence, count)` gives tokens [count, seq_len + 1]. The trunk runs at the peak learning rate from
    fork to fork and keeps its last state in trunk_folder, so a larger budget asked for later trains only the
    extension; a budget whose fork the kept trunk has passed, and every budget where trunk_folder is None, is trained
    alone from step 0, to the same bits on a CPU. Killed anywhere and made again, it goes on to the same result.
    """

    def __init__(
        self,
        recipe: dict[str, Any],
        branches: Sequence[Branch],
        batch: Batches,
        trunk_folder: Path | None,
        seat: Seat,
        checkpoint_every: float,
        leave: Leave,
    ) -> None:
        self.todo = sorted((branch for branch in branches if not branch.done), key=lambda branch: branch.steps)
        self._train, self._seq_len = recipe["train"], recipe["data"]["seq_len"]
        self._batch, self._seat, self._every, self._leave = batch, seat, checkpoint_every, leave
        self._trunk = None if trunk_folder is None else self._walk(trunk_folder, TRUNK, self._trunk_scale, None)

    def train(self, branch: Branch) -> Steps[Trained]:
        """The steps of one of `todo`, in its order. Raises DivergedError, DiskFullError, and Interrupted once `leave()` is true."""
        self._seat.model.train()  # who scored the run before may have called eval(), and a compiled graph is only good for one mode
        walk = self._branch_walk(branch)
        if not walk.resume():
            yield from self._lead_to_fork(branch, walk)
        yield from walk.advance(branch.steps)
        walk.save()
        return self._trained(branch, walk)

    def _branch_walk(self, branch: Branch) -> Walk:
        """The stretch of a run: the trunk's rate up to its fork, then the decay."""

        def scale(step: int) -> float:
            return self._trunk_scale(step) * branch_scale(self._train, step, branch.steps)

        return self._walk(branch.folder, BRANCH, scale, branch.steps)

    def _lead_to_fork(self, branch: Branch, walk: Walk) -> Steps[None]:
        """Put `walk` at the branch's fork by way of the trunk, or at step 0 where the trunk cannot serve."""
        fork = self._fork(branch)
        trunk = self._trunk
        if trunk is not None and not trunk.resume():
            trunk.start()
        if trunk is None or trunk.progress.step > fork:
            walk.start()
            return
        yield from trunk.advance(fork)
        ledger = Ledger(trunk.progress.notes.get("ledger", ()))
        payers = [other.digest for other in self.todo if self._fork(other) >= fork]
        ledger.close(fork, trunk.progress.seconds, trunk.progress.lost_seconds, payers)
        trunk.progress.notes["ledger"] = ledger.rows()
        trunk.save()
        share, lost = ledger.share(branch.digest)
        walk.follow(trunk, {"trunk_seconds": trunk.progress.seconds, "trunk_share": share, "trunk_lost": lost})

    def _trained(self, branch: Branch, walk: Walk) -> Trained:
        progress, notes = walk.progress, walk.progress.notes
        return Trained(
            branch=branch,
            model=self._seat.whole(),
            final_loss=progress.tail_sum / progress.tail_steps,
            train_seconds=progress.seconds,
            spent_seconds=progress.seconds - notes.get("trunk_seconds", 0.0) + notes.get("trunk_share", 0.0),
            lost_seconds=progress.lost_seconds + notes.get("trunk_lost", 0.0),
            setup_seconds=self._seat.take_setup_seconds(),
            peak_memory_bytes=peak_memory(self._seat.device),
            shared="trunk_seconds" in notes,
            optimizer_backend=self._seat.optimizer.backend,
            optimizer_version=self._seat.optimizer.version,
            pack=progress.pack,
            micro_batch=self._seat.micro_batch,
            oom_halvings=self._seat.oom_halvings,
            devices=self._seat.devices,
            activation_checkpointing=self._seat.activation_checkpointing,
        )

    def _walk(self, folder: Path, name: str, scale: Callable[[int], float], end: int | None) -> Walk:
        tokens = self._train["batch_tokens"]
        plan = Plan(self._train["lr"], scale, tokens // self._seq_len, tokens, end)
        return Walk(self._seat, plan, self._batch, folder, name, self._every, self._leave)

    def _fork(self, branch: Branch) -> int:
        return fork_of(branch.steps, self._train["decay"])

    def _trunk_scale(self, step: int) -> float:
        return trunk_scale(step, self._train["warmup_steps"])
