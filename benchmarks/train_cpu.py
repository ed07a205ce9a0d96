"""Training on a CPU: `ablate` against Hugging Face Trainer (as it comes, and at its best) and nanoGPT, in turn, in one sitting.

    python -m benchmarks.train_cpu [--nanogpt CHECKOUT]

All train the same tokens (bytes of the embedded textbook) in the same batches of 8 sequences of 256; Trainer trains the very same
Llama, nanoGPT a GPT of as many parameters (its train.py has neither bf16 nor fused AdamW on a CPU; its best is `compile`). Every side is
a process of its own that stays alive; in each round one after the other trains alone for some seconds, having been warmed up.
Two comparisons: one run on all cores, and the whole machine, where ablate trains one run a core at once, as its study does.
Tokens a second are medians over rounds; a ratio is the median of the rounds' ratios. Needs accelerate (for Trainer).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Trainer, TrainerCallback, TrainingArguments

from ablate.data import textbook
from ablate.jobs import cores
from ablate.model import ladder
from ablate.model.build import build
from ablate.train import device
from ablate.train.engine import Engine

SIZES = {"1M": 1_000_000, "5M": 5_000_000}
SEQ_LEN, SEQUENCES, VOCABULARY, LR = 256, 8, 2048, 1e-3
BATCH = SEQ_LEN * SEQUENCES
ROUNDS, ROUND_SECONDS, WARM_UP_STEPS, LOSS_EVERY = 5, 3.0, 4, 10
RIVALS = {"trainer": "Trainer as it comes", "trainer_best": "Trainer, bf16, compiled", "nanogpt": "nanoGPT, compiled"}


class Pace:
    """The rounds of one side: called after each step, it says how fast a round was and waits for the next to be asked for."""

    def __init__(self) -> None:
        self._left, self._steps, self._began = WARM_UP_STEPS, 0, 0.0
        self.losses: dict[int, float] = {}  # step → mean loss of the LOSS_EVERY steps before it

    def step_done(self) -> bool:
        """False once no more rounds are wanted."""
        self._steps += 1
        if not self._began:  # warming up
            self._left -= 1
            return self._left > 0 or self._report(0.0)
        seconds = time.perf_counter() - self._began
        return seconds < ROUND_SECONDS or self._report(self._steps * BATCH / seconds)

    def _report(self, tokens_per_s: float) -> bool:
        print(json.dumps({"tokens_per_s": tokens_per_s, "losses": self.losses}), flush=True)
        asked = sys.stdin.readline().strip() == "go"
        self._steps, self._began = 0, time.perf_counter()
        return asked


class Corpus(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Sequences of bytes of the embedded textbook, as many as anybody trains in a sitting."""

    def __init__(self, sequences: int = 20_000) -> None:
        text = "\n".join(islice(textbook.documents(0, 0), sequences)).encode()
        whole = len(text) // (SEQ_LEN + 1)
        self.tokens = np.frombuffer(text, dtype=np.uint8)[: whole * (SEQ_LEN + 1)].reshape(whole, SEQ_LEN + 1).astype(np.int64)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, NDArray[np.int64]]:
        row = self.tokens[index][:-1]
        return {"input_ids": row, "labels": row}

    def batch(self, step: int) -> NDArray[np.int64]:
        return self.tokens.take(range(step * SEQUENCES, (step + 1) * SEQUENCES), axis=0, mode="wrap")


def recipe(params: int) -> dict[str, Any]:
    return {
        "seed": 0,
        "params": params,
        "model": ladder.shape(params, VOCABULARY, SEQ_LEN, tie_word_embeddings=True),
        "data": {"seq_len": SEQ_LEN},
        "train": {
            "optimizer": {"name": "adamw", "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1},
            "lr": LR, "batch_tokens": BATCH, "clip": 1.0, "precision": device.precision(torch.device("cpu")),
        },
    }  # fmt: skip


def ablate(params: int, _: str) -> None:
    engine, corpus, pace = Engine(recipe(params), torch.device("cpu"), compile=device.can_compile()), Corpus(), Pace()
    engine.prepare()
    waiting: list[torch.Tensor] = []
    for step in range(sys.maxsize):
        waiting.append(engine.step(corpus.batch(step), 1.0)[0])
        if len(waiting) == LOSS_EVERY:
            pace.losses[step + 1] = statistics.fmean(map(float, waiting))
            waiting.clear()
        if not pace.step_done():
            return


class _Rounds(TrainerCallback):
    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self._pace.losses[state.global_step] = float(logs["loss"])

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop = not self._pace.step_done()


def _trainer(params: int, **settings: Any) -> None:
    model = build(recipe(params)["model"], seed=0)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, use_cpu=True, per_device_train_batch_size=SEQUENCES, max_steps=10**6, learning_rate=LR, adam_beta2=0.95,
            weight_decay=0.1, lr_scheduler_type="constant", logging_steps=LOSS_EVERY, save_strategy="no", report_to=[], disable_tqdm=True,
            train_sampling_strategy="sequential", **settings,
        )  # fmt: skip
        Trainer(model, arguments, train_dataset=Corpus(), callbacks=[_Rounds(Pace())]).train()


def trainer(params: int, _: str) -> None:
    _trainer(params)


def trainer_best(params: int, _: str) -> None:
    _trainer(params, bf16=True, torch_compile=True, optim="adamw_torch_fused")


def nanogpt(params: int, checkout: str) -> None:
    """The step of its train.py on a CPU: no autocast there, clipping at 1, AdamW not fused, batches by memory-mapped tokens."""
    sys.path.insert(0, checkout)
    from model import GPT, GPTConfig  # type: ignore[import-not-found]

    shape = recipe(params)["model"]
    width, layers = shape["hidden_size"], round(params / 12 / shape["hidden_size"] ** 2)
    config = GPTConfig(
        block_size=SEQ_LEN, vocab_size=VOCABULARY, n_layer=layers, n_head=shape["num_attention_heads"], n_embd=width, bias=False
    )
    raw, corpus, pace = GPT(config), Corpus(), Pace()
    optimizer = raw.configure_optimizers(0.1, LR, (0.9, 0.95), "cpu")
    model = torch.compile(raw)
    for step in range(sys.maxsize):
        tokens = torch.from_numpy(corpus.batch(step))
        _, loss = model(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(raw.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if not pace.step_done():
            return


SIDES: dict[str, Callable[[int, str], None]] = {"ablate": ablate, "trainer": trainer, "trainer_best": trainer_best, "nanogpt": nanogpt}


class Side:
    """A process that trains in rounds."""

    def __init__(self, name: str, params: int, threads: int, checkout: str) -> None:
        command = [sys.executable, "-m", "benchmarks.train_cpu", "--side", name, str(params), str(threads), checkout]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def ask(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith('{"tokens_per_s"'):  # Trainer prints its own dictionaries
                answered: dict[str, Any] = json.loads(line)
                return answered
        raise RuntimeError(f"{self._process.args} ended with status {self._process.wait()}")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def together(sides: Sequence[Side]) -> dict[str, Any]:
    """One round of all of them at once: tokens a second summed, and the losses of the first."""
    for side in sides:
        side.ask()
    answers = [side.answer() for side in sides]
    return {"tokens_per_s": sum(a["tokens_per_s"] for a in answers), "losses": answers[0]["losses"]}


def compare(size: str, checkout: str) -> list[str]:
    """Both comparisons at one size; returns the lines `NAME ratio VALUE`."""
    params, rivals = SIZES[size], [name for name in RIVALS if name != "nanogpt" or checkout]
    plan = {"ablate": ("ablate", cores(), 1), "machine": ("ablate", 1, cores()), **{name: (name, cores(), 1) for name in rivals}}
    sides: dict[str, list[Side]] = {}
    for label, (name, threads, copies) in plan.items():
        sides[label] = [Side(name, params, threads, checkout) for _ in range(copies)]
        for side in sides[label]:
            side.answer()  # one after the other has warmed up: nobody compiles while another is timed
    rounds = [{label: together(group) for label, group in sides.items()} for _ in range(ROUNDS)]
    for group in sides.values():
        for side in group:
            side.close()
    return report(size, rounds, rivals)


def report(size: str, rounds: list[dict[str, dict[str, Any]]], rivals: Sequence[str]) -> list[str]:
    per_token = ladder.flops_per_token(recipe(SIZES[size])["model"], SEQ_LEN)
    titles = {"ablate": "ablate, one run", "machine": "ablate, one run a core", **RIVALS}
    for label in rounds[0]:
        rates = [r[label]["tokens_per_s"] for r in rounds]
        rate = statistics.median(rates)
        spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
        print(f"{size} {titles[label]:24} {rate:9,.0f} tokens/s ({spread}), {rate * per_token / 1e9:.0f} GFLOP/s", flush=True)
    for label in ("trainer", "trainer_best"):
        print(f"{size} {apart(rounds[-1]['ablate']['losses'], rounds[-1][label]['losses'])} between ablate and {RIVALS[label]}")
    lines = []
    for rival in rivals:
        for label, name in (("ablate", "run"), ("machine", "machine")):
            ratio = statistics.median(r[label]["tokens_per_s"] / r[rival]["tokens_per_s"] for r in rounds)
            lines.append(f"train_{size}_{name}_vs_{rival} ratio {ratio:.2f}")
    share = statistics.median(r["ablate"]["tokens_per_s"] for r in rounds) * per_token / product_flops()
    return [*lines, f"train_{size}_of_large_bf16_product ratio {share:.2f}"]


def apart(mine: dict[str, float], theirs: dict[str, float]) -> str:
    """How far two loss curves are from each other over the steps that both made."""
    common = sorted(set(mine) & set(theirs), key=int)
    worst = max(abs(mine[step] - theirs[step]) for step in common)
    return f"losses of {common[-1]} steps, from {mine[common[0]]:.3f} to {mine[common[-1]]:.3f}: at most {worst:.3f} nats"


def product_flops(size: int = 2048) -> float:
    """FLOP/s of a large bf16 matrix product on all cores."""
    torch.set_num_threads(cores())
    a, b = (torch.randn(size, size, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(9):
        began = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nanogpt", default="", help="folder of a checkout of karpathy/nanoGPT; without it that rival is left out")
    parser.add_argument("--side", nargs=4, metavar=("NAME", "PARAMS", "THREADS", "CHECKOUT"), help="what a child process is started with")
    given = parser.parse_args()
    if given.side:
        name, params, threads, checkout = given.side
        torch.set_num_threads(int(threads))
        SIDES[name](int(params), checkout)
        return
    lines = [line for size in SIZES for line in compare(size, given.nanogpt)]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
