"""One model trained by several devices at once: its weights, gradients and optimiser state in shards (FSDP2, Zhao et al.
2023, 2304.11277), a step's sequences dealt out among them. To a family it is a seat like any other (lockstep.py).
"""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from ablate.errors import AblateError, Interrupted, RunError
from ablate.model.build import initial, on_meta
from ablate.model.memory import RESERVED, divisor, memory, micro_batch, sums_whole
from ablate.train import checkpoint, sharded
from ablate.train.accounts import Clock
from ablate.train.device import free_unreferenced
from ablate.train.forward import Forward, layers
from ablate.train.lockstep import Seat, Step, Taken
from ablate.train.oom import is_out_of_memory
from ablate.train.optim import Optimizer
from ablate.train.world import World


class Sharded:
    """A stack of one, which is its own seat, over all devices of the world.

    The first process calls the public methods; each tells the others, which `follow`, to do the same. An error that all
    of them raise alike is raised here; any other would leave them waiting for each other, so it ends the process, and with
    it the world and the job, which the driver starts again.
    """

    pack = 1
    oom_halvings = 0

    def __init__(
        self, world: World, device: torch.device, compile: bool, checkpointing: Callable[[dict[str, Any]], bool] = lambda _: False
    ) -> None:
        self._world, self.device, self._compile, self._checkpointing = world, device, compile, checkpointing
        self.devices = world.size
        self._batch: NDArray[np.int64] | None = None
        self._leave: Callable[[], bool] = lambda: False  # the first process is asked
        self._setup_seconds = 0.0

    def follow(self) -> None:
        """Do what the first process says until it says no more."""
        while told := self._world.hear():
            operation, *arguments = told
            with contextlib.suppress(AblateError):  # the first process raises it too, and says what comes next
                self._do(operation, arguments)

    def seat(self, place: int, recipe: dict[str, Any]) -> Seat:
        """A new model in the stead of the one before."""
        self.clock, checkpointing = Clock(self._world.size), self._checkpointing(recipe)
        self._everywhere("build", recipe, checkpointing)
        self.micro_batch = self._passes_that_fit(recipe, checkpointing)
        return self

    def _passes_that_fit(self, recipe: dict[str, Any], checkpointing: bool) -> int:
        """Sequences a pass. Out of memory in one process ends all, so on a GPU no more than memory has room for by its sum."""
        shape = recipe["model"], recipe["train"], self._seq_len
        sequences = micro_batch(*shape, self.device.type, self.devices, checkpointing)
        room = torch.cuda.get_device_properties(self.device).total_memory - RESERVED if self.device.type == "cuda" else None
        while room and sequences > 1 and memory(*shape, sequences, self.devices, checkpointing).total > room:
            sequences = divisor(self._own, sequences // 2)
        return sequences

    def step(self, asked: Sequence[Step | None]) -> Sequence[Taken]:
        taken = []
        for step in asked:
            if step is not None:
                self._batch, self._leave = step.batch, step.leave
                taken.append(self._everywhere("update", step.scale, self.micro_batch))
        return taken

    def prepare(self) -> None:
        """Run the pass once on made-up tokens, so that compiling is not counted as training. Changes no weight."""
        if not self._prepared:
            self._everywhere("warm_up", self.micro_batch)

    def take_setup_seconds(self) -> float:
        """Seconds spent on building and compiling since this was last asked."""
        seconds, self._setup_seconds = self._setup_seconds, 0.0
        return seconds

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Back to the weights before the first step."""
        assert not tensors, "a state of several devices is in files: load it"
        self._everywhere("reset")

    def save(self, folder: Path, name: str, progress: dict[str, Any], suspect: bool = False) -> None:
        """Write a checkpoint; a `suspect` one replaces none above suspicion. Raises DiskFullError."""
        self._everywhere("write", str(folder.absolute()), name, progress, suspect)

    def load(self, folder: Path, name: str) -> dict[str, Any] | None:
        """Take over the newest whole checkpoint and return its progress; None where there is none."""
        progress: dict[str, Any] | None = self._everywhere("read", str(folder.absolute()), name)
        return progress

    def keep_good(self, folder: Path, name: str, steps: int) -> Path | None:
        """Renames files only, and so is the first process's own affair."""
        return sharded.keep_good(folder, name, steps) or checkpoint.keep_good(folder, name, steps)

    def whole(self) -> PreTrainedModel:
        """The model with all its weights, on this process's device where that has room for it, else on the CPU."""
        model: PreTrainedModel = self._everywhere("gather")
        room = torch.cuda.mem_get_info(self.device)[0] if self.device.type == "cuda" else 0
        return model.to(self.device) if sum(p.nbytes for p in model.parameters()) < 0.8 * room else model

    def _everywhere(self, operation: str, *arguments: Any) -> Any:
        return self._do(operation, arguments)

    def _do(self, operation: str, arguments: Sequence[Any]) -> Any:
        try:
            if self._world.leads:
                self._world.tell([operation, *arguments])
            return getattr(self, f"_{operation}")(*arguments)
        except AblateError:
            raise
        except BaseException as e:
            traceback.print_exc()
            if is_out_of_memory(e):  # of anything else this process may only be the first to notice
                self._world.report(
                    f"out of memory on device {self._world.rank + 1} of {self._world.size}: set launch.activation_checkpointing: true, "
                    f"raise launch.devices, or lower data.seq_len or params ({e})"
                )
            os._exit(1)

    def _build(self, recipe: dict[str, Any], checkpointing: bool) -> None:
        began = time.perf_counter()
        for name in ("_shards", "_forward", "optimizer", "model"):  # of the model before, whose memory is the next one's
            vars(self).pop(name, None)
        free_unreferenced(self.device)
        self._recipe, self._seq_len = recipe, recipe["data"]["seq_len"]
        self.activation_checkpointing = checkpointing
        self._own = recipe["train"]["batch_tokens"] // self._seq_len // self._world.size
        self.model = on_meta(recipe["model"])
        bfloat16 = recipe["train"]["precision"] == "bfloat16"
        policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16 if bfloat16 else None, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
        for layer in layers(self.model):
            if self._compile:
                layer.forward = torch.compile(layer.forward, dynamic=False)
            fully_shard(layer, mp_policy=policy)
        self.model.to_empty(device=self.device)
        self.model.tie_weights()
        self._fill()
        self._forward = Forward(self.model, self._seq_len, bfloat16, compile=False, checkpointing=checkpointing, fused_loss=self._compile)
        # Embedding and head stay float32 until autocast takes them, as on one device: the sums between layers keep their precision.
        self._shards = fully_shard(self._forward)
        self._whole_gradients = sums_whole(sum(p.numel() for p in self.model.parameters()))
        self.model.train()
        self.optimizer = Optimizer(self.model, recipe["train"])
        self._prepared = False
        self._setup_seconds = time.perf_counter() - began

    @torch.no_grad()
    def _fill(self) -> None:
        """The weights before the first step: made whole by the first process, on its host, and sent tensor by tensor."""
        fresh = self._fresh()
        options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
        set_model_state_dict(self.model, fresh.state_dict() if fresh else {}, options=options)
        self._world.spread(list(self.model.buffers()), list(fresh.buffers()) if fresh else None)

    def _fresh(self) -> PreTrainedModel | None:
        """The model that is to be spread, in the first process. What stops it there is raised everywhere: the others would wait."""
        fresh: PreTrainedModel | None = None
        failure: Exception | None = None
        if self._world.leads:
            try:
                fresh = initial(self._recipe)
            except Exception as e:
                failure = e
        if self._world.worst(0 if failure is None else 1):
            if isinstance(failure, AblateError):
                raise failure
            raise RunError(f"the weights to start from could not be read: {failure or 'the first process says why'}") from failure
        return fresh

    def _reset(self) -> None:
        if not self.optimizer.is_new:  # else they are still the first ones
            self._fill()
        self.optimizer.restore({})

    def _warm_up(self, micro: int) -> None:
        began = time.perf_counter()
        self._backward(torch.zeros(micro, self._seq_len + 1, dtype=torch.int64, device=self.device), last=True)
        self._drop_gradients()
        self._prepared = True
        self._setup_seconds += time.perf_counter() - began

    def _update(self, scale: float, micro: int) -> Taken:
        """The same mean loss and gradient as of the whole batch on one device: everybody has equally many sequences.

        Interrupted everywhere, between two passes and with nothing updated, once the step's `leave()` is true.
        """
        tokens = self._world.deal(self._batch, self._own, self._seq_len + 1).to(self.device, non_blocking=True)
        pieces = torch.split(tokens, micro)
        losses = []
        for number, piece in enumerate(pieces):
            if number and self._world.worst(int(self._leave())):
                self._drop_gradients()
                raise Interrupted("given up between two passes of a step")
            losses.append(self._backward(piece, last=piece is pieces[-1]))
        loss = self._world.mean(torch.stack(losses).sum())
        norm = self.optimizer.step(scale)
        return loss, norm.full_tensor() if isinstance(norm, DTensor) else norm

    def _backward(self, piece: Tensor, last: bool) -> Tensor:
        self._shards.set_requires_gradient_sync(last or not self._whole_gradients)
        self._shards.set_is_last_backward(last)
        loss: Tensor = self._forward(piece) * (len(piece) / self._own)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _drop_gradients(self) -> None:
        """But for those that FSDP keeps whole between passes: they end with the process, which is what comes after Interrupted."""
        for parameter in self.model.parameters():
            parameter.grad = None

    def _write(self, folder: str, name: str, progress: dict[str, Any], suspect: bool) -> None:
        tensors = {**{f"model/{key}": p for key, p in self.model.named_parameters()}, **self.optimizer.tensors()}
        sharded.save(Path(folder), name, tensors, progress, self._world, suspect)
        if self._world.leads:
            checkpoint.remove(Path(folder), name)

    def _read(self, folder: str, name: str) -> dict[str, Any] | None:
        parameters = dict(self.model.named_parameters())
        state = sharded.load(Path(folder), name, parameters, self._world) or checkpoint.load(Path(folder), name)
        if state is None:
            return None
        tensors = {key: _own_part(value, parameters[key.partition("/")[2]]) for key, value in state[0].items()}
        with torch.no_grad():
            for key, p in parameters.items():
                p.copy_(tensors[f"model/{key}"])
        self.optimizer.restore(tensors)
        return state[1]

    def _gather(self) -> PreTrainedModel | None:
        weights = get_model_state_dict(self.model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
        if not self._world.leads:
            return None
        whole = on_meta(self._recipe["model"])
        whole.load_state_dict(weights, assign=True)
        for name, buffer in self.model.named_buffers():
            path, _, last = name.rpartition(".")
            whole.get_submodule(path).register_buffer(last, buffer.cpu(), persistent=False)
        whole.tie_weights()
        return whole


def _own_part(value: Tensor, parameter: Tensor) -> Tensor:
    """What this process holds of a value that belongs to `parameter`."""
    if isinstance(value, DTensor) or not isinstance(parameter, DTensor) or value.shape != parameter.shape:
        return value
    return distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements, src_data_rank=None)
