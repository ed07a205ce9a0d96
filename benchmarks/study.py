"""The figure a user feels: the whole shipped study, from nothing, against one Hugging Face Trainer process a run.

    python -m benchmarks.study

The rival trains each run alone: a process that imports transformers, trains the same Llama with Trainer as it comes (float32, eager) on as
many tokens in the same batches, and scores it on the same benchmarks and texts, each choice as a sequence of its own. In its favour, it
finds its text tokenised on the disk, and as many processes run at once as there are cores, one thread each, no core ever idle. Its nine
(size, budget) cells are run; the other five of each six runs differ only in data and seed, so the whole is six times the seconds of the
nine processes, over the cores. Needs accelerate (for Trainer).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Trainer, TrainingArguments

from ablate.data import neutral, textbook
from ablate.data import tokenizer as tokenizers
from ablate.evals.benchmarks import catalogue
from ablate.evals.texts import bits_per_byte, windows
from ablate.jobs import cores
from ablate.model.build import build
from ablate.model.ladder import shape
from ablate.store.store import Store
from ablate.study import spec
from ablate.study.load import load
from ablate.study.quantities import parse_count
from ablate.workspace import Workspace
from benchmarks.scoring import plain_batches, plain_logprobs

STUDY = Path(__file__).parents[1] / "studies" / "quality_vs_quantity.yaml"
COLUMNS = "params, count(*), sum(spent_device_hours) * 3600, sum(score_hours) * 3600, sum(lost_hours) * 3600"
SPENT = f"select {COLUMNS} from results group by params"
CPU = torch.device("cpu")


class Tokens(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __init__(self, rows: NDArray[np.uint16]) -> None:
        self._rows = rows.astype(np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, NDArray[np.int64]]:
        return {"input_ids": self._rows[index], "labels": self._rows[index]}


def alone(params: int, tokens: int, folder: Path) -> None:
    """One run as a script of one's own would do it, in the calling process."""
    torch.set_num_threads(1)
    study = load(STUDY)
    data, train = study.data, study.train
    sequences = int(train.batch_tokens) // data.seq_len
    tokenizer = tokenizers.load(next((folder / "runs").rglob("tokenizer.json")).parent)
    steps = tokens // int(train.batch_tokens)
    model = build(shape(params, len(tokenizer), data.seq_len, tie_word_embeddings=True), seed=0)
    arguments = TrainingArguments(
        output_dir=str(folder / f"trainer-{params}-{tokens}"), use_cpu=True, per_device_train_batch_size=sequences, max_steps=steps,
        learning_rate=float(train.lr), lr_scheduler_type="warmup_stable_decay", warmup_steps=int(train.warmup_steps), weight_decay=0.1,
        lr_scheduler_kwargs={"num_decay_steps": steps // 5}, report_to=[], disable_tqdm=True,
    )  # fmt: skip
    Trainer(model, arguments, train_dataset=Tokens(np.load(folder / "tokens.npy"))).train()
    model.eval()
    largest = tokens == max(parse_count(level) for level in study.grid["tokens"])
    for fresh in (False, True) if largest else (False,):
        for benchmark in catalogue([spec.Benchmark(builtin="all")], fresh=fresh):
            plain_logprobs(model, plain_batches(benchmark, tokenizer))
    held_out = (list(islice(written.documents(0, -1), 60)) for written in (neutral, textbook))
    for documents in held_out:
        bits_per_byte(model, windows(documents, tokenizer, data.seq_len), CPU)


def rival() -> float:
    """Seconds for every run of the study, one process each."""
    study = load(STUDY)
    cells = [(parse_count(p), parse_count(t)) for p in study.grid["params"] for t in study.grid["tokens"]]
    each = len(study.grid["synthetic_ratio"]) * len(study.seeds)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = tokenizers.load(tokenizers.prepare(study.data, Workspace(folder)))
        most = max(tokens for _, tokens in cells)
        ids = [i for text in islice(textbook.documents(0, 0), most // 60) for i in tokenizer(text)["input_ids"]][:most]
        np.save(folder / "tokens.npy", np.array(ids, dtype=np.uint16)[: len(ids) // 128 * 128].reshape(-1, 128))
        with ThreadPoolExecutor(cores()) as pool:
            seconds = list(pool.map(lambda cell: _process(*cell, folder), sorted(cells, key=lambda cell: -cell[0] * cell[1])))
        return sum(seconds) * each / cores()


def _process(params: int, tokens: int, folder: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.study", "--alone", str(params), str(tokens), str(folder)]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    seconds = time.perf_counter() - began
    print(f"Trainer, {params:,} params on {tokens:,} tokens, all in: {seconds:.0f} s", flush=True)
    return seconds


def ours() -> list[float]:
    """Seconds of the study from nothing, and of the same command again."""
    os.environ.pop("TORCHINDUCTOR_CACHE_DIR", None)  # from nothing: no kernels either
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ablate", "run", str(STUDY), "--folder", folder]
        seconds = []
        for _ in range(2):
            began = time.perf_counter()
            subprocess.run(command, check=True)
            seconds.append(time.perf_counter() - began)
        _, rows = Store.read_only(Path(folder) / "results.db").query(SPENT)
    print("\n   params  runs  training s  scoring s  lost s")
    for row in rows:
        print("{:>9,} {:>5} {:>11.1f} {:>10.1f} {:>7.1f}".format(*row))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--alone", nargs=3, metavar=("PARAMS", "TOKENS", "FOLDER"), help="what one process of the rival is started with")
    given: Any = parser.parse_args().alone
    if given:
        alone(int(given[0]), int(given[1]), Path(given[2]))
        return
    first, again = ours()
    theirs = rival()
    print(f"ablate from nothing {first:.0f} s, the same command again {again:.1f} s; one Trainer process a run {theirs:.0f} s")
    print(f"study_vs_trainer_processes ratio {theirs / first:.2f}")


if __name__ == "__main__":
    main()
