"""What training a shape holds on each device, as sums that can be checked by hand. Pure arithmetic, no torch.

State, in bytes a parameter (mixed precision as in Rajbhandari et al. 2020, 1910.02054, section 3.1):

| layout                                    | weights | gradients | optimiser                | in all |
| ----------------------------------------- | ------- | --------- | ------------------------ | ------ |
| float32 weights (AdamW or LAMB)           | 4       | 4         | 8, two moments           | 16     |
| the same with bfloat16 products           | 4 + 2   | 4         | 8                        | 18     |

The 2 are the copies in bfloat16 that autocast makes of the matrices and the backward pass needs again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ablate.model import ladder
from ablate.model.gpus import GPUS

LOGITS_AT_ONCE = {"cpu": 1 << 24, "cuda": 1 << 26}
"""Most logits that the loss holds, by the type of the device (train/loss.py): 64 and 256 MiB in float32."""
LOGIT_BYTES = 12
"""Of each of them: the product, its float32 copy, the gradient."""
RESERVED = 1_500_000_000
"""On a GPU beside all that: the CUDA context, the libraries' workspaces and NCCL's buffers. Assumed."""
WHOLE_GRADIENTS = 8_000_000_000
"""Bytes up to which each device sums the gradients of several passes whole and reduces them once, after the last pass;
beyond, they are reduced and sharded after every pass."""
MOST_DEVICES = 64
ACTIVATION_BYTES = {"cpu": 2 << 30, "cuda": 16 << 30}
"""Of a pass, at most; fixed, so that numbers do not depend on what else is running."""


@dataclass(frozen=True)
class Memory:
    """Bytes on one device, by what they hold."""

    parameters: int
    gradients: int
    optimizer: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        return self.parameters + self.gradients + self.optimizer + self.activations + self.logits


@dataclass(frozen=True)
class Fit:
    """On how many of one GPU a shape can be trained, one sequence a pass; devices is None where 64 are too few."""

    gpu: str
    devices: int | None
    checkpointing: bool
    memory: Memory


def memory(
    model: dict[str, Any],
    train: dict[str, Any],
    seq_len: int,
    micro_batch: int,
    devices: int = 1,
    checkpointing: bool = False,
    *,
    maps: bool = False,
) -> Memory:
    """Bytes on each of `devices` at the peak of a step; micro_batch is the sequences a pass of one device.

    `model` and `train` are the blocks of a recipe. maps: attention keeps its
    probabilities, as the plain products do (on a CPU) and fused kernels do not. More devices than one: FSDP2.
    """
    counts, width = ladder.count(model), int(model["hidden_size"])
    product = 2 if train["precision"] == "bfloat16" else 4
    tokens = micro_batch * seq_len
    activations = tokens * activation_bytes(model, seq_len, product, checkpointing, maps)
    logits = LOGIT_BYTES * min(tokens * int(model["vocab_size"]), LOGITS_AT_ONCE["cpu" if maps else "cuda"])
    if devices > 1:
        passes = train["batch_tokens"] // seq_len // devices // micro_batch
        return Memory(*_sharded(counts, model, product, devices, passes), activations, logits)
    cast = 2 * (counts.non_embedding + int(model["vocab_size"]) * width) if product == 2 else 0
    return Memory(4 * counts.total + cast, 4 * counts.total, 8 * counts.total, activations, logits)


def activation_bytes(model: dict[str, Any], seq_len: int, product: int, checkpointing: bool = False, maps: bool = False) -> int:
    """Bytes a token that the compiled forward pass keeps for the backward pass, `product` bytes a value of a matrix product.

    A layer of a Llama keeps: its input and the sum after attention (float32 on a CPU); both normalised inputs, the mixed values and
    the three of the gated feed-forward (as the products); query, key, value (float32 where the probabilities are kept, which
    then come to 4 bytes a head and position). Counted on the saved tensors of the compiled pass: 8 widths + 3 inner widths
    in float32, within 3% (bfloat16: 12%). With checkpointing only the inputs stay, and one layer at a time is kept whole.
    """
    width, layers = int(model["hidden_size"]), int(model["num_hidden_layers"])
    inner = int(model.get("intermediate_size") or 4 * width)  # what transformers takes for the families that may leave it out
    stream = (4 if maps else product) * width  # between layers
    attention = 12 * width + 4 * int(model["num_attention_heads"]) * seq_len if maps else 3 * product * width
    layer = 2 * stream + product * (3 * width + 3 * inner) + attention
    return layers * stream + layer if checkpointing else layers * layer + stream


def micro_batch(
    model: dict[str, Any], train: dict[str, Any], seq_len: int, device_type: str, devices: int = 1, checkpointing: bool = False
) -> int:
    """Sequences a pass of one device: the largest divisor of its share of a step whose activations are within ACTIVATION_BYTES, at
    least one."""
    one = memory(model, train, seq_len, 1, devices, checkpointing, maps=device_type == "cpu").activations
    return divisor(train["batch_tokens"] // seq_len // devices, max(1, ACTIVATION_BYTES[device_type] // one))


def needs_checkpointing(model: dict[str, Any], train: dict[str, Any], seq_len: int, devices: int, room: int) -> bool:
    """What `activation_checkpointing: auto` means on a GPU of `room` bytes: yes where not even one sequence a pass fits without."""
    return memory(model, train, seq_len, 1, devices).total > room - RESERVED


def divisor(sequences: int, most: int) -> int:
    """The largest number of sequences a pass that divides those of a step and is `most` at most."""
    return max(n for n in range(1, min(most, sequences) + 1) if sequences % n == 0)


def sums_whole(parameters: int) -> bool:
    """Whether sharded training sums the gradients of several passes before it reduces them."""
    return 4 * parameters <= WHOLE_GRADIENTS


def fits(model: dict[str, Any], train: dict[str, Any], seq_len: int, *, most_devices: int = MOST_DEVICES) -> tuple[Fit, ...]:
    """For each GPU the fewest devices (a power of two) that hold one sequence a pass: without checkpointing of activations where
    that needs no more of them. The last try is given where none is enough."""
    return tuple(_fit(word, gpu.bytes - RESERVED, model, train, seq_len, most_devices) for word, gpu in GPUS.items())


def _fit(gpu: str, room: int, model: dict[str, Any], train: dict[str, Any], seq_len: int, most_devices: int) -> Fit:
    devices = 1
    while True:
        for checkpointing in (False, True):
            needed = memory(model, train, seq_len, 1, devices, checkpointing)
            if needed.total <= room:
                return Fit(gpu, devices, checkpointing, needed)
        if devices * 2 > most_devices:
            return Fit(gpu, None, True, needed)
        devices *= 2


def _sharded(counts: ladder.Counts, model: dict[str, Any], product: int, devices: int, passes: int) -> tuple[int, int, int]:
    """(weights, gradients, optimiser) of FSDP2: a shard of each in float32, and what is whole for a while.

    Whole are the embedding and the head from the forward to the end of the backward pass, in float32, and two layers (the one at
    work and the one fetched ahead) in the precision of the products; and the gradients, in float32: all of them where several
    passes are summed before they are reduced, else those of one layer, the embedding and the head.
    """
    shard = -(-counts.total // devices)
    outer = counts.total - counts.non_embedding
    layer = counts.non_embedding // int(model["num_hidden_layers"])
    summed = counts.total if passes > 1 and sums_whole(counts.total) else outer + layer
    return 4 * shard + 4 * outer + 2 * product * layer, 4 * (shard + summed), 8 * shard
