"""Packed scoring (ablate/evals/scoring.py) against one sequence a choice, on the embedded benchmarks: `python benchmarks/scoring.py`.

One thread, a 1M model of random weights. Both sides are batched alike by length and take turns; medians of CPU seconds (of this
one thread: what else the machine does hardly matters).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ablate.data import tokenizer as tokenizers
from ablate.evals.benchmarks import catalogue
from ablate.evals.items import Benchmark
from ablate.evals.likelihood import likelihoods
from ablate.evals.requests import encode, requests
from ablate.evals.texts import bits_per_byte, held_out_documents, windows
from ablate.evals.trees import by_length
from ablate.model.build import build
from ablate.model.ladder import shape
from ablate.study import spec
from ablate.workspace import Workspace

ROUNDS = 3
CPU = torch.device("cpu")
Sequence = tuple[list[int], int, int]
"""Tokens, the first one scored, the choice."""


def plain_batches(benchmark: Benchmark, tokenizer: PreTrainedTokenizerFast) -> list[list[Sequence]]:
    """Each choice as a sequence of its own (no choice here merges with its context)."""
    first, rows = tokenizers.end_of_text(tokenizer), []
    for item in benchmark.questions:
        context, *wholes = encode(tokenizer, [item.context, *(item.context + choice for choice in item.choices)])
        rows += [([first, *whole], 1 + len(context)) for whole in wholes]
    return list(by_length([(ids, start, i) for i, (ids, start) in enumerate(rows)], lambda row: len(row[0])))


@torch.inference_mode()
def plain_logprobs(model: LlamaForCausalLM, batches: list[list[Sequence]]) -> NDArray[np.float64]:
    """The usual computation: padded batches, all logits, log-softmax, the scored tokens gathered."""
    total = np.zeros(sum(map(len, batches)))
    for batch in batches:
        length = max(len(ids) for ids, _, _ in batch)
        padded = torch.tensor([ids + [0] * (length - len(ids)) for ids, _, _ in batch])
        logprobs: Tensor = model(padded[:, :-1]).logits.float().log_softmax(-1).gather(2, padded[:, 1:, None])[..., 0]
        for row, (ids, start, choice) in zip(logprobs, batch, strict=True):
            total[choice] = float(row[start - 1 : len(ids) - 1].double().sum())
    return total


def main() -> None:
    torch.set_num_threads(1)
    data = spec.Data(synthetic=spec.Source(builtin="textbook"), web=spec.Source(builtin="web"), tokenizer=spec.Tokenizer(train_bpe=1024))
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = tokenizers.load(tokenizers.prepare(data, Workspace(Path(folder))))
    model = build(shape(1_000_000, 1024, data.seq_len, True), seed=0).eval()
    benchmarks = catalogue([spec.Benchmark(builtin="all")], fresh=False)
    start = process_time()
    packed = [requests(benchmark, tokenizer, data.seq_len) for benchmark in benchmarks]
    preparing = process_time() - start
    plain = [plain_batches(benchmark, tokenizer) for benchmark in benchmarks]
    seconds: dict[str, list[float]] = {"packed": [], "plain": []}
    for _ in range(ROUNDS):
        start = process_time()
        ours = [likelihoods(model, prepared, CPU).logprobs for prepared in packed]
        middle = process_time()
        theirs = [plain_logprobs(model, batches) for batches in plain]
        seconds["packed"].append(middle - start)
        seconds["plain"].append(process_time() - middle)
    worst = max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))
    print(f"scoring_items count {sum(len(benchmark.items) for benchmark in benchmarks)}")
    print(f"scoring_prepare seconds {preparing:.2f}")
    print(f"scoring_tokens count {sum(batch.tokens.numel() for prepared in packed for batch in prepared.batches)}")
    print(f"scoring_packed seconds {median(seconds['packed']):.2f}")
    print(f"scoring_plain seconds {median(seconds['plain']):.2f}")
    print(f"scoring_packed_vs_plain ratio {median(seconds['plain']) / median(seconds['packed']):.2f}")
    print(f"scoring_packed_vs_plain largest_difference {worst:.1e}")
    text = windows(held_out_documents(data.neutral, trained_on=False), tokenizer, data.seq_len)
    start = process_time()
    loss = bits_per_byte(model, text, CPU)
    print(f"text_loss_200kB seconds {process_time() - start:.2f} ({loss.tokens} tokens)")


if __name__ == "__main__":
    main()
