"""A family in training is a coroutine: it asks for one step after another and does everything else itself. So the same
coroutine is trained alone or in step with others, and what one of them does between steps touches no other."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from ablate.errors import Interrupted
from ablate.train.accounts import Clock
from ablate.train.device import free_unreferenced
from ablate.train.engine import Engine
from ablate.train.optim import Backend, Optimizer

T = TypeVar("T")
Taken = tuple[Tensor, Tensor]
"""(loss before the update, norm of the gradient), both not yet waited for."""


@dataclass(frozen=True)
class Step:
    """One update asked for: on batch [sequences, seq_len + 1], at `scale` of the peak learning rate. It may be given up,
    before anything is updated and with Interrupted, once `leave()` is true."""

    batch: NDArray[np.int64]
    scale: float
    leave: Callable[[], bool]


Steps: TypeAlias = Generator[Step, Taken, T]


class Seat(Protocol):
    """Where one model sits while it is trained."""

    device: torch.device
    clock: Clock
    pack: int
    """Models that take a step together here."""
    devices: int
    """That hold one model together."""
    activation_checkpointing: bool
    micro_batch: int
    """Sequences a pass."""
    oom_halvings: int
    """Times that was halved, here or behind the state that was restored."""
    optimizer: Optimizer

    @property
    def model(self) -> PreTrainedModel:
        """Live: it changes with every step."""

    def prepare(self) -> None:
        """Compile, so that it is not counted as training."""

    def take_setup_seconds(self) -> float:
        """Seconds spent on building and compiling since this was last asked."""

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """With an empty state: back to the weights before the first step."""

    def save(self, folder: Path, name: str, progress: dict[str, Any], suspect: bool) -> None:
        """Write a checkpoint; a `suspect` one replaces none above suspicion. Raises DiskFullError."""

    def load(self, folder: Path, name: str) -> dict[str, Any] | None:
        """Take over the newest whole checkpoint and return its progress; None where there is none."""

    def keep_good(self, folder: Path, name: str, steps: int) -> Path | None:
        """Of a run that diverged, keep the newest checkpoint with at most `steps` steps behind it under a name that says so; a run
        that is tried again goes on from it. None where there is none."""

    def whole(self) -> PreTrainedModel:
        """The model with all its weights in this process."""


class Stack(Protocol):
    """As many seats as models are trained at once."""

    pack: int

    def seat(self, place: int, recipe: dict[str, Any]) -> Seat:
        """Seat a model that is to be trained by `recipe` at `place`, in nobody's stead."""

    def step(self, asked: Sequence[Step | None]) -> Sequence[Taken]:
        """One step of the model at each place that asks for one; the others stay as they are."""


Family = Callable[[Callable[[dict[str, Any]], Seat]], Steps[None]]
"""Given who seats a recipe, the steps of a family to its end. Its errors are its own: it raises nothing but Interrupted."""


class Single:
    """A stack of one: an engine of its own for every family."""

    pack = 1

    def __init__(
        self, device: torch.device, compile: bool, backend: Backend, checkpointing: Callable[[dict[str, Any]], bool] = lambda _: False
    ) -> None:
        self._device, self._compile, self._backend, self._checkpointing = device, compile, backend, checkpointing
        self._engine: Engine | None = None

    def seat(self, place: int, recipe: dict[str, Any]) -> Seat:
        self._engine = None  # its memory is the next one's
        free_unreferenced(self._device)
        self._engine = Engine(recipe, self._device, self._compile, self._backend, self._checkpointing(recipe))
        return self._engine

    def step(self, asked: Sequence[Step | None]) -> Sequence[Taken]:
        assert self._engine is not None, "a step is asked for by who has a seat"
        return [self._engine.step(one.batch, one.scale, one.leave) for one in asked if one is not None]


def alone(steps: Steps[T], engine: Engine) -> T:
    """Grant steps by an engine until they end. What goes wrong in a step is thrown into them, and what they raise is the caller's."""
    try:
        asked = next(steps)
        while True:
            try:
                taken = engine.step(asked.batch, asked.scale, asked.leave)
            except Exception as e:
                asked = steps.throw(e)
            else:
                asked = steps.send(taken)
    except StopIteration as end:
        result: T = end.value
        return result


def drive(stack: Stack, families: Iterable[Family]) -> None:
    """Take all families to their ends, as many at once as the stack has places; the next takes the place of one that ended.

    What goes wrong in a step is thrown into every family that asked for it. Raises Interrupted when all have stopped.
    """
    waiting = iter(families)
    steps: list[Steps[None] | None] = [None] * stack.pack
    asked: list[Step | None] = [None] * stack.pack
    interrupted: list[Interrupted] = []

    def go_on(place: int, resume: Callable[[], Step]) -> None:
        asked[place] = None
        try:
            asked[place] = resume()
        except StopIteration:
            pass
        except Interrupted as e:
            interrupted.append(e)

    while True:
        for place in range(stack.pack):
            while asked[place] is None and not interrupted and (family := next(waiting, None)) is not None:
                steps[place] = begun = family(partial(stack.seat, place))
                go_on(place, partial(next, begun))
        active = [(place, one) for place, one in enumerate(steps) if one is not None and asked[place] is not None]
        if not active:
            break
        try:
            resumes = [partial(one.send, taken) for (_, one), taken in zip(active, stack.step(asked), strict=True)]
        except Exception as e:
            resumes = [partial(one.throw, e) for _, one in active]
        for (place, _), resume in zip(active, resumes, strict=True):
            go_on(place, resume)
    if interrupted:
        raise interrupted[0]
