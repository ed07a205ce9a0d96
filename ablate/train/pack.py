"""Many small models trained as one: a device that one of them leaves idle is filled, and a kernel is started once for all.

Parameters are stacked [pack, ...] and one forward and backward pass (torch.func's vmap over the plain one) serves all.
Nothing else is shared: each model sees its own batch, and has an ordinary optimiser over its slices of the stack, with its
own learning rate, clipping and state. So its checkpoints are those of a model trained singly, and a model whose numbers are
no longer finite spoils only its own slices.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from ablate.model import ladder
from ablate.model.build import build, fresh
from ablate.model.memory import RESERVED, memory, micro_batch
from ablate.train.device import free_unreferenced
from ablate.train.engine import Engine, Learner
from ablate.train.forward import Forward, compiled
from ablate.train.lockstep import Seat, Step, Taken
from ablate.train.oom import in_the_update, is_out_of_memory
from ablate.train.optim import Backend, apply_together
from ablate.train.passes import Passes

_log = logging.getLogger(__name__)

_MOST = 64  # models; beyond it a stack has not been tried
_ROOM, _LARGEST_STEP, _WORTH, _ROUNDS = 0.8, 1e13, 1.1, 5


class Pack:
    """`pack` places for models that agree in shape, batch and precision; seeds, rates, decay and data are each model's own."""

    def __init__(self, pack: int, device: torch.device, compile: bool, backend: Backend) -> None:
        self.pack = pack
        self._device, self._compile, self._backend = device, compile, backend
        self._seats: dict[int, _PackSeat] = {}

    def seat(self, place: int, recipe: dict[str, Any]) -> Seat:
        """A new model at `place`; who sat there before has left. The first one says what all must agree in."""
        began = time.perf_counter()
        if not self._seats:
            self._stacked = _Stacked(recipe, self.pack, self._device, self._compile)
            self._clips = torch.ones(self.pack, device=self._device)
            self._passes = Passes(recipe, self._device, self._stacked.parameters(), self._stacked, may_graph=self._compile)
        self._seats[place] = _PackSeat(self._passes, self.pack, recipe, self._backend, self._stacked.slices(place))
        self._clips[place] = self._seats[place].optimizer.clip
        self._passes.book_setup(began)
        return self._seats[place]

    def step(self, asked: Sequence[Step | None]) -> Sequence[Taken]:
        """One step of the model at each place that asks for one; the others stay as they are."""
        active = [(place, step) for place, step in enumerate(asked) if step is not None]
        self._passes.clock.start(models=len(active))
        first = active[0][1]
        batches = np.zeros((len(first.batch), self.pack, first.batch.shape[1]), dtype=np.int64)
        for place, step in active:
            batches[:, place] = step.batch
        losses = self._passes.summed(torch.from_numpy(batches), first.leave)
        norms = self._update({place: step.scale for place, step in active})
        return [(losses[place], norms[place]) for place, _ in active]

    def _update(self, scales: dict[int, float]) -> dict[int, Tensor]:
        """Use up the gradients for the models at these places; returns their norms."""
        stacked = [p.grad for p in self._stacked.parameters() if p.grad is not None]
        own = list(zip(*(gradient.unbind() for gradient in stacked), strict=True))
        try:
            norms = {place: nn.utils.get_total_norm(own[place]) for place in scales}
            self._clip(stacked, norms)
            for place in scales:
                for p, gradient in zip(self._seats[place].model.parameters(), own[place], strict=True):
                    p.grad = gradient
            apply_together([self._seats[place].optimizer for place in scales], list(scales.values()))
        except Exception as e:
            if is_out_of_memory(e):
                raise in_the_update(self._device) from e
            raise
        for p in self._stacked.parameters():
            p.grad = None
        return norms

    def _clip(self, stacked: Sequence[Tensor], norms: dict[int, Tensor]) -> None:
        """Scale each model's gradients by the formula of torch.nn.utils.clip_grads_with_norm_, all models' in one product a parameter."""
        none = torch.zeros((), device=self._device)
        found = torch.stack([norms.get(place, none) for place in range(self.pack)])
        factors = ((found + 1e-6).reciprocal() * self._clips).clamp(max=1.0)
        for gradient in stacked:
            gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))


class _Stacked(nn.Module):
    """`pack` models as one: tokens [sequences, pack, seq_len + 1] → [pack] losses."""

    def __init__(self, recipe: dict[str, Any], pack: int, device: torch.device, compile: bool) -> None:
        super().__init__()
        like = build(recipe["model"], seed=0).to(device).train()
        one = Forward(like, recipe["data"]["seq_len"], recipe["train"]["precision"] == "bfloat16", compile=False, stacked=True)
        self._one = [one]  # in a list, for its parameters are no parameters of this module
        self._names = [name for name, _ in one.named_parameters()]
        self._values = nn.ParameterList(p.detach().expand(pack, *p.shape).clone() for p in one.parameters())
        self.graphs = False
        self._losses = compiled(self._plain_losses, device.type) if compile else self._plain_losses
        self._graphed = compiled(self._plain_losses, device.type, graphs=True) if compile else self._plain_losses

    def forward(self, tokens: Tensor) -> Tensor:
        losses: Tensor = self._graphed(tokens) if self.graphs else self._losses(tokens)
        return losses

    def slices(self, place: int) -> list[Tensor]:
        """The parameters of one model, in the order of its own."""
        return [p.detach()[place] for p in self._values]

    def _plain_losses(self, tokens: Tensor) -> Tensor:
        def loss(parameters: list[Tensor], own: Tensor) -> Tensor:
            value: Tensor = functional_call(self._one[0], dict(zip(self._names, parameters, strict=True)), (own,))
            return value

        losses: Tensor = vmap(loss, in_dims=(0, 1))(list(self._values), tokens)
        return losses


class _PackSeat(Learner):
    """One model of a pack: its parameters are slices of the stack."""

    activation_checkpointing = False

    def __init__(self, passes: Passes, pack: int, recipe: dict[str, Any], backend: Backend, slices: list[Tensor]) -> None:
        super().__init__(recipe, passes.device, backend)
        self.pack, self.device, self.clock = pack, passes.device, passes.clock
        self.take_setup_seconds = passes.take_setup_seconds
        self._passes = passes
        for p, own in zip(self.model.parameters(), slices, strict=True):
            p.data = own.copy_(p.detach())

    def prepare(self) -> None:
        """Compile, so that it is not counted as training."""
        self._passes.warm_up(self.pack, self._recipe["data"]["seq_len"] + 1)

    @property
    def micro_batch(self) -> int:
        return self._passes.micro_batch

    @micro_batch.setter
    def micro_batch(self, sequences: int) -> None:
        self._passes.micro_batch = min(sequences, self._passes.micro_batch)  # what one has found too much is too much for all

    @property
    def oom_halvings(self) -> int:
        return self._passes.oom_halvings

    @oom_halvings.setter
    def oom_halvings(self, times: int) -> None:
        self._passes.oom_halvings = max(times, self._passes.oom_halvings)


def choose_pack(recipe: dict[str, Any], families: int, device: torch.device, compile: bool, backend: Backend) -> int:
    """What `launch.pack: auto` means on a GPU for so many families of one shape: as many as fit, or 1 where that is not faster.

    They fit while the sum of their states, activations and logits (ablate/model/memory.py) stays within 0.8 of the device.
    Whether they are faster is timed once, against one model alone; a step of over 1e13 FLOPs (10 ms of an H100) is
    not even tried, since it fills a device by itself. Asked once a shape: the answer is kept with the families.
    """
    room = int(_ROOM * torch.cuda.get_device_properties(device).total_memory) - RESERVED
    most = min(families, _MOST, most_that_fit(recipe, room, device.type))
    if most < 2 or _step_flops(recipe) > _LARGEST_STEP:
        return 1
    try:
        gain = measured_gain(recipe, most, device, compile, backend)
    except Exception as e:  # out of memory after all, or an operation that cannot be stacked, of which compilers complain in many ways
        _log.warning("families of one shape are trained one at a time: a pack of %d failed with %s", most, e)
        return 1
    finally:
        free_unreferenced(device)
        torch.cuda.reset_peak_memory_stats(device)  # the peak that a run reports is not the trial's
    _log.info("%d models packed take %.2f times as many steps a second as one alone", most, gain)
    return most if gain >= _WORTH else 1


def most_that_fit(recipe: dict[str, Any], room: int, device_type: str) -> int:
    """How many models of a recipe can be trained at once in `room` bytes."""
    model, train, seq_len = recipe["model"], recipe["train"], recipe["data"]["seq_len"]
    micro = micro_batch(model, train, seq_len, device_type)
    return room // memory(model, train, seq_len, micro, maps=device_type == "cpu").total


def measured_gain(recipe: dict[str, Any], pack: int, device: torch.device, compile: bool, backend: Backend) -> float:
    """Model steps a second of a pack, as a multiple of those of one model alone: medians of rounds taken in turn."""
    rng = np.random.default_rng(0)
    seq_len = recipe["data"]["seq_len"]
    batch = rng.integers(recipe["model"]["vocab_size"], size=(recipe["train"]["batch_tokens"] // seq_len, seq_len + 1))
    recipe = fresh(recipe)
    engine, stack = Engine(recipe, device, compile, backend), Pack(pack, device, compile, backend)
    engine.prepare()
    for place in range(pack):
        stack.seat(place, recipe).prepare()
    asked = [Step(batch, 1.0, lambda: False)] * pack
    rounds = [(_seconds(lambda: [engine.step(batch, 1.0)]), _seconds(lambda: stack.step(asked))) for _ in range(_ROUNDS + 1)]
    return pack * median(one / many for one, many in rounds[1:])  # the first round warms up


def _seconds(step: Callable[[], Sequence[Taken]]) -> float:
    """Of ten steps, waited for at the end."""
    began = time.perf_counter()
    for _ in range(10):
        _, norm = step()[-1]
    norm.item()
    return time.perf_counter() - began


def _step_flops(recipe: dict[str, Any]) -> int:
    return int(recipe["train"]["batch_tokens"]) * ladder.flops_per_token(recipe["model"], recipe["data"]["seq_len"])
