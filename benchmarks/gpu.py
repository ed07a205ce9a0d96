"""Everything that needs a GPU, in under nine minutes on one H100: one table, and last the lines `NAME ratio VALUE`.

    python -m benchmarks.gpu                          on a GPU
    python -m benchmarks.gpu --device cpu --tiny      the same walk on made-small sizes, to see that every section works
    python -m benchmarks.gpu --only train_1.3B decode

Each section is a process of its own with a limit of seconds: one that fails or hangs costs its own rows and says why. MFU is
(6 N + 12 layers · width · sequence) FLOPs a token, N all parameters (the output head is tied, so each is in a product),
over the dense bf16 peak that the device's maker states (none where that is not known); the share with N without embeddings
stands beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
GOALS = {"17M": ("tokens_per_s", 1.0e6), "50M": ("tokens_per_s", 1.7e6), "1.3B": ("mfu", 0.55)}
ADAMW = {"name": "adamw", "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1}

Row = tuple[str, ...]
"""What was measured, and what came out; or ("ratio", name, value)."""


@dataclass(frozen=True)
class Size:
    """A model to train: non-embedding parameters, vocabulary, tokens a sequence, sequences a step and, where our rule is not
    to choose, sequences a pass."""

    params: int
    vocabulary: int
    seq_len: int
    sequences: int
    passes: tuple[int, ...] = ()


SIZES = {  # 17M and its vocabulary and sequence: the course whose reference reaches 0.14 to 0.18M tokens/s
    "17M": Size(17_000_000, 10_000, 256, 512),
    "50M": Size(50_000_000, 8_192, 2048, 64),
    "350M": Size(350_000_000, 32_768, 2048, 64),
    "1.3B": Size(1_300_000_000, 32_768, 2048, 64, (8,)),
}
PACKED, PACK = Size(1_000_000, 4_096, 256, 64), 16
TINY = Size(100_000, 512, 32, 4, (2,))


@dataclass(frozen=True)
class Where:
    """The device, and whether sizes are made small. Nothing is compiled on a CPU: that is benchmarks/train_cpu.py."""

    device: str
    tiny: bool

    @property
    def gpu(self) -> bool:
        return self.device == "cuda"

    @property
    def seconds(self) -> float:
        """How long one thing is timed."""
        return 0.2 if self.tiny else 1.5

    def size(self, size: Size) -> Size:
        return TINY if self.tiny else size

    def wait(self) -> None:
        if self.gpu:
            import torch

            torch.cuda.synchronize()


def recipe(size: Size, precision: str = "bfloat16", seed: int = 0) -> dict[str, Any]:
    from ablate.model import ladder

    return {
        "seed": seed,
        "params": size.params,
        "model": ladder.shape(size.params, size.vocabulary, size.seq_len, tie_word_embeddings=True),
        "data": {"seq_len": size.seq_len},
        "train": {
            "optimizer": ADAMW, "lr": 3e-4, "batch_tokens": size.sequences * size.seq_len, "schedule": "wsd", "warmup_steps": 0,
            "decay": 0.2, "clip": 1.0, "precision": precision,
        },
    }  # fmt: skip


def batch(size: Size, seed: int = 0) -> Any:
    import numpy as np

    return np.random.default_rng(seed).integers(size.vocabulary, size=(size.sequences, size.seq_len + 1))


def engine(where: Where, made: dict[str, Any], compile: bool | None = None, backend: Any = "torch") -> Any:
    import torch

    from ablate.train.engine import Engine

    return Engine(made, torch.device(where.device), where.gpu if compile is None else compile, backend)


def packed_step(where: Where, size: Size, pack: int) -> Callable[[Any], Any]:
    """A step of `pack` bfloat16 models, seeds 0, 1, ..., each on the same batch; it returns (loss, norm) of each."""
    import torch

    from ablate.train.lockstep import Step
    from ablate.train.pack import Pack

    stack = Pack(pack, torch.device(where.device), where.gpu, "torch")
    for place in range(pack):
        stack.seat(place, recipe(size, seed=place)).prepare()
    return lambda tokens: stack.step([Step(tokens, 1.0, lambda: False)] * pack)


def seconds_a_step(where: Where, step: Callable[[], Any], warm: int = 3) -> float:
    """Median over rounds of five steps that are waited for at the end; of one where that takes long enough by itself."""
    for _ in range(warm):
        step()
    where.wait()
    begun = time.perf_counter()
    step()
    where.wait()
    began, rounds = time.perf_counter(), []
    count = 5 if began - begun < 0.2 else 1
    while len(rounds) < 3 or time.perf_counter() - began < where.seconds:
        start = time.perf_counter()
        for _ in range(count):
            step()
        where.wait()
        rounds.append((time.perf_counter() - start) / count)
    return statistics.median(rounds)


def train(where: Where, name: str) -> Iterator[Row]:
    """bf16 training of one size, through the engine that jobs use. The best so far is told after each way, in case time runs out."""
    import torch

    from ablate.model import ladder
    from ablate.train.device import describe

    size = where.size(SIZES[name])
    tokens, made = size.sequences * size.seq_len, recipe(size)
    counts, peak = ladder.count(made["model"]), describe(torch.device(where.device))["peak_flops"]
    attention = 12 * made["model"]["num_hidden_layers"] * made["model"]["hidden_size"] * size.seq_len
    best = {"tokens_per_s": 0.0, "mfu": 0.0}
    began = time.perf_counter()
    trained, tokens_of = engine(where, made), batch(size)
    for passed in (None, *size.passes):
        if passed is not None:
            trained.micro_batch, began = passed, time.perf_counter()
        if where.gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        trained.step(tokens_of, 1.0)  # compiles
        where.wait()
        setup = time.perf_counter() - began
        took = seconds_a_step(where, lambda: trained.step(tokens_of, 1.0), warm=1)
        rate = tokens / took
        mfu, bare = (rate * (6 * n + attention) / peak if peak else 0.0 for n in (counts.total, counts.non_embedding))
        share = f"MFU {mfu:.1%} (without embeddings {bare:.1%})" if peak else "MFU not known"
        memory = torch.cuda.max_memory_allocated() / 1e9 if where.gpu else 0.0
        yield (
            f"train {name}, {trained.micro_batch} of {size.sequences} x {size.seq_len} a pass",
            f"{rate:,.0f} tokens/s, {took * 1e3:.1f} ms a step, {share}, {memory:.1f} GB, set up in {setup:.0f} s",
        )
        best = {"tokens_per_s": max(best["tokens_per_s"], rate), "mfu": max(best["mfu"], mfu)}
        measure, goal = GOALS.get(name, ("mfu", 0.0))
        if goal and best[measure]:
            yield "ratio", f"train_gpu_{name}_{measure}_to_goal", f"{best[measure] / goal:.3f}"
        if peak:
            yield "ratio", f"train_gpu_{name}_mfu", f"{best['mfu']:.3f}"


def equivalence(where: Where) -> Iterator[Row]:
    """Every fast path of the GPU against the plain one; a row says FAILED where a tolerance is passed."""
    import torch

    size = where.size(Size(5_000_000, 4_096, 256, 16))
    steps = 5 if where.tiny else 20

    def losses(precision: str, compile: bool, backend: Any = "torch", graphs: bool | None = None) -> tuple[Any, list[float]]:
        made = engine(where, recipe(size, precision), compile, backend)
        if graphs is not None:
            made._loss.graphs = graphs
        made.prepare()
        return made, [float(made.step(batch(size, seed), 1.0)[0]) for seed in range(steps)]

    def against(what: str, mine: list[float], plain: list[float], tolerance: float) -> Row:
        worst = max(abs(a - b) / abs(b) for a, b in zip(mine, plain, strict=True))
        verdict = "ok" if worst <= tolerance else "FAILED"
        return what, f"{verdict}: loss differs by {worst:.1e} at most in {steps} steps (tolerance {tolerance:.0e})"

    _, plain = losses("float32", False)
    yield against("float32, compiled against eager", losses("float32", where.gpu)[1], plain, 1e-4)
    made, alone = losses("bfloat16", where.gpu)
    yield against("bfloat16 compiled against float32 eager", alone, plain, 1e-2)
    if where.gpu:
        replayed, single = losses("bfloat16", True, graphs=True)[1], losses("bfloat16", True, graphs=False)[1]
        yield against("CUDA graphs against none", replayed, single, 1e-3)
    saved = {key: value.detach().cpu().clone() for key, value in made.tensors().items()}
    after = float(made.step(batch(size, 99), 1.0)[0])
    made.restore(saved)
    same = all(torch.equal(value.cpu(), saved[key]) for key, value in made.tensors().items())
    off = float(made.step(batch(size, 99), 1.0)[0]) - after
    yield "checkpoint restored", f"{'ok' if same else 'FAILED'}: state bit for bit; the next loss is off by {off:.1e}"
    from ablate.train import apex

    obstacle = apex.obstacle(torch.device(where.device))
    if obstacle:
        yield "Apex against torch", f"not run: {obstacle}"
    else:
        yield against("Apex against torch, float32 eager", losses("float32", False, "apex")[1], plain, 1e-5)
    step = packed_step(where, size, 2)
    packed = [float(step(batch(size, seed))[0][0]) for seed in range(steps)]
    yield against("bfloat16, one of two packed against alone", packed, alone, 1e-2)


def loss(where: Where) -> Iterator[Row]:
    """Head and cross-entropy, forward and backward: by chunks against all logits at once."""
    import torch
    import torch.nn.functional as F

    from ablate.train.loss import next_token_loss

    rows, width, words = (256, 32, 512) if where.tiny else (16_384, 2048, 50_304)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, width, generator=generator).to(where.device).requires_grad_()
    head = (0.02 * torch.randn(words, width, generator=generator)).to(where.device).requires_grad_()
    targets = torch.randint(words, (rows,), generator=generator).to(where.device)
    took, values = {}, {}
    ways = {
        "chunks": lambda: next_token_loss(hidden, head, targets),
        "at once": lambda: F.cross_entropy((hidden @ head.t()).float(), targets),
    }
    for name, way in ways.items():
        whole = torch.compile(way) if where.gpu else way

        def step(whole: Callable[[], Any] = whole, name: str = name) -> None:
            with torch.autocast(where.device, torch.bfloat16):
                made = whole()
            made.backward()
            values[name] = made.detach()
            hidden.grad = head.grad = None

        if where.gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        took[name] = seconds_a_step(where, step)
        memory = torch.cuda.max_memory_allocated() / 1e9 if where.gpu else 0.0
        what = f"loss {name}, {rows} rows, {words} words"
        yield what, f"{took[name] * 1e3:.2f} ms, {memory:.2f} GB at the peak, {float(values[name]):.5f}"
    yield "ratio", "loss_chunks_vs_at_once_speed", f"{took['at once'] / took['chunks']:.2f}"


def attention(where: Where) -> Iterator[Row]:
    """The kernels behind scaled_dot_product_attention, causal, forward and backward."""
    import torch
    import torch.nn.functional as F
    from torch.nn.attention import SDPBackend, sdpa_kernel

    shapes = [(1, 2, 32, 16)] if where.tiny else [(8, 16, 2048, 128), (64, 12, 256, 64)]
    for shape in shapes:
        inputs = [torch.randn(shape, device=where.device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
        by_output = torch.randn(shape, device=where.device, dtype=torch.bfloat16)
        for kernel in ("CUDNN_ATTENTION", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH"):

            def step(inputs: Any = inputs, by_output: Any = by_output) -> None:
                torch.autograd.grad(F.scaled_dot_product_attention(*inputs, is_causal=True), inputs, by_output)

            try:
                with sdpa_kernel(getattr(SDPBackend, kernel)):
                    yield f"attention {kernel} {shape}", f"{seconds_a_step(where, step) * 1e3:.3f} ms"
            except RuntimeError as e:
                yield f"attention {kernel} {shape}", f"cannot: {str(e).splitlines()[0]}"


def optimizer(where: Where) -> Iterator[Row]:
    """One step of the rule alone, gradients given: Apex, torch's fused, torch tensor by tensor, LAMB."""
    import torch

    from ablate.model.build import build
    from ablate.train import apex
    from ablate.train.lamb import Lamb

    size = where.size(SIZES["350M" if where.gpu else "17M"])
    parameters = list(build(recipe(size)["model"], seed=0).to(where.device).parameters())
    for p in parameters:
        p.grad = torch.randn_like(p)
    values: dict[str, Any] = {"lr": 1e-4, "betas": (0.9, 0.95), "eps": 1e-8}

    def groups() -> list[dict[str, Any]]:
        return [{"params": parameters, "weight_decay": 0.1}]

    rules: dict[str, Callable[[], Any]] = {
        "torch plain": lambda: torch.optim.AdamW(groups(), foreach=False, fused=False, **values),
        "torch fused": lambda: torch.optim.AdamW(groups(), fused=True, **values),
    }
    obstacle = apex.obstacle(torch.device(where.device))
    if obstacle:
        yield "optimizer Apex", f"not run: {obstacle}"
    else:
        rules |= {"Apex FusedAdam": lambda: apex.adam(groups(), **values), "Apex LAMB": lambda: apex.lamb(groups(), **values)}
    rules["our LAMB"] = lambda: Lamb(groups(), **values)
    took = {}
    for name, made in rules.items():
        took[name] = seconds_a_step(where, made().step)
        yield f"optimizer {name}, {sum(p.numel() for p in parameters):,} parameters", f"{took[name] * 1e3:.2f} ms a step"
        if name == "torch fused":
            yield "ratio", "optimizer_torch_fused_vs_plain", f"{took['torch plain'] / took[name]:.2f}"
        if name == "Apex FusedAdam":
            yield "ratio", "optimizer_apex_vs_torch_fused", f"{took['torch fused'] / took[name]:.2f}"
            yield "ratio", "optimizer_apex_vs_torch_plain", f"{took['torch plain'] / took[name]:.2f}"


def decode(where: Where) -> Iterator[Row]:
    """Milliseconds a token, one sequence, greedy: transformers' generate, with its growing cache and with a static, compiled one."""
    import torch

    from ablate.model.build import build

    size = where.size(SIZES["1.3B"])
    model = build(recipe(size)["model"], seed=0).to(torch.bfloat16).to(where.device).eval()
    prompt = torch.ones(1, 8, dtype=torch.int64, device=where.device)
    few, many = (4, 12) if where.tiny else (16, 80)
    took = {}
    for cache in ("dynamic", "static") if where.gpu else ("dynamic",):

        def generate(length: int, cache: str = cache) -> float:
            where.wait()
            began = time.perf_counter()
            model.generate(
                prompt, attention_mask=torch.ones_like(prompt), do_sample=False, min_new_tokens=length, max_new_tokens=length,
                use_cache=True, cache_implementation=cache, pad_token_id=0,
            )  # fmt: skip
            where.wait()
            return time.perf_counter() - began

        for length in (many, few):  # the longer first: a static cache keeps its size, and is compiled for it once
            generate(length)
        took[cache] = statistics.median((generate(many) - generate(few)) / (many - few) for _ in range(3))
        yield f"decode 1.3B, {cache} cache", f"{took[cache] * 1e3:.2f} ms a token"
    if "static" in took:
        yield "ratio", "decode_static_vs_dynamic", f"{took['dynamic'] / took['static']:.2f}"


def packing(where: Where) -> Iterator[Row]:
    """Models of 1M parameters: several a step, against our single path and, last, against transformers as it comes."""
    import torch

    from ablate.model.build import build

    size = where.size(PACKED)
    made, tokens_of, tokens = recipe(size), batch(size), size.sequences * size.seq_len
    single = engine(where, made)
    single.prepare()
    alone = tokens / seconds_a_step(where, lambda: single.step(tokens_of, 1.0))
    yield "packing, 1M: ours, one model", f"{alone:,.0f} tokens/s"
    pack = 2 if where.tiny else PACK
    step = packed_step(where, size, pack)
    together = pack * tokens / seconds_a_step(where, lambda: step(tokens_of))
    yield f"packing, 1M: ours, {pack} models a step", f"{together:,.0f} tokens/s in all"
    yield "ratio", f"pack_{pack}_vs_single", f"{together / alone:.2f}"
    model = build(made["model"], seed=0).to(where.device).train()
    adamw = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1)
    ids = torch.from_numpy(tokens_of[:, :-1]).to(where.device)

    def eager() -> None:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adamw.step()
        adamw.zero_grad()

    plain = tokens / seconds_a_step(where, eager)
    yield "packing, 1M: transformers, eager float32", f"{plain:,.0f} tokens/s"
    yield "ratio", f"pack_{pack}_vs_eager_transformers", f"{together / plain:.2f}"


SECTIONS: dict[str, tuple[float, Callable[[Where], Iterator[Row]]]] = {
    "equivalence": (110, equivalence),
    "train_1.3B": (180, lambda where: train(where, "1.3B")),
    "train_17M": (50, lambda where: train(where, "17M")),
    "train_50M": (50, lambda where: train(where, "50M")),
    "packing": (90, packing),
    "optimizer": (40, optimizer),
    "loss": (45, loss),
    "attention": (35, attention),
    "decode": (85, decode),
    "train_350M": (90, lambda where: train(where, "350M")),
}
"""Name → (most seconds, what it yields), the most wanted first; the last ones have what the others leave of `--seconds`."""


def run_section(name: str, where: Where) -> None:
    """In the section's own process: each row as a line of JSON, as soon as it is there."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "0")) or os.cpu_count() or 1)
    try:
        for row in SECTIONS[name][1](where):
            print("ROW", json.dumps(row), flush=True)
    except Exception as e:  # with its reason as the last line, which a compiler's advice would be
        traceback.print_exc()
        sys.exit(f"{type(e).__name__}: {(str(e).strip() or 'no reason given').splitlines()[0]}")


def rows_of(name: str, where: Where, limit: float) -> list[Row]:
    """The section's rows, and one more that says why it ended early, if it did."""
    arguments = [sys.executable, "-m", "benchmarks.gpu", "--section", name, "--device", where.device] + (["--tiny"] if where.tiny else [])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(
        arguments, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        out, err = process.communicate(timeout=limit)
        failed = f"failed: {(err.strip().splitlines() or ['no reason given'])[-1]}" if process.returncode else None
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as e:
        os.killpg(process.pid, signal.SIGKILL)  # its compilers too, which hold the pipes open
        out, err = process.communicate()
        if isinstance(e, KeyboardInterrupt):
            raise
        failed = f"ended after its {limit:.0f} s"
    if failed and "--verbose" in sys.argv:
        print(err, file=sys.stderr)
    rows = [tuple(json.loads(line[4:])) for line in out.splitlines() if line.startswith("ROW ")]
    return [*rows, (name, failed)] if failed else rows


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes that a CPU can walk through")
    parser.add_argument("--only", nargs="*", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--seconds", type=float, default=530.0, help="for all sections together")
    parser.add_argument("--verbose", action="store_true", help="print what a failed section wrote")
    parser.add_argument("--section", choices=list(SECTIONS), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    where = Where(asked.device, asked.tiny)
    if asked.section:
        run_section(asked.section, where)
        return 0
    began, failed = time.perf_counter(), 0
    ratios: dict[str, str] = {}  # what a section tells twice it has found better the second time
    for name in asked.only:
        left = asked.seconds - (time.perf_counter() - began)
        rows = rows_of(name, where, min(left, SECTIONS[name][0])) if left > 20 else [(name, "no time left for it")]
        for row in rows:
            if row[0] == "ratio":
                ratios[row[1]] = row[2]
            else:
                print(f"{row[0]:<58} {row[1]}", flush=True)
                failed += row[1].startswith(("failed", "FAILED", "ended after"))
    print(f"\n{time.perf_counter() - began:.0f} s in all; {failed} failed\n")
    print("\n".join(f"{name} ratio {value}" for name, value in ratios.items()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
