"""Scoring multiple-choice items: `ablate` against lm-eval's Hugging Face backend, both sides in turn, in one sitting.

    python -m benchmarks.evaluate [--data FOLDER] [--only PART ...]

Parts: 1M, 15M, ten and 100M have goals; others are more tasks at 1M, each told alone. FOLDER (default: $ABLATE_DATA) holds benchmarks/
and text/ as README, "Real text", says; where it is absent the embedded items serve. Both sides are given the same pairs of context and
continuation, the same model (random weights, float32) and tokenizer, and all cores; lm-eval the batch size that is fastest in a trial.
A round is one call of each: lm-eval's `loglikelihood`, which tokenises, and ours with tokenising (one model) or without (the ten models
of a study tokenise once, and are scored as a study's jobs do it: one process a core). Loading models and tokenizers, and starting
processes, is not timed. Medians over rounds; a ratio is the median of the rounds' ratios. The largest difference of any log-probability
is printed. Needs the extra `lm-eval`.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from numpy.typing import NDArray
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ablate.data import sources, tokenizer
from ablate.evals.benchmarks import catalogue
from ablate.evals.items import Benchmark
from ablate.evals.likelihood import likelihoods
from ablate.evals.requests import Requests, requests
from ablate.jobs import cores
from ablate.model import ladder
from ablate.model.build import build
from ablate.study import spec

CPU = torch.device("cpu")
VOCABULARY, SEQ_LEN, MODELS = 8192, 1024, 10
DOCUMENTS, CUT = 400, 3000  # of each text that the tokenizer learns from, and characters of each
FILES = {
    "arc_easy": "arc_easy_validation.jsonl.gz",
    "arc_challenge": "arc_challenge_validation.jsonl.gz",
    "hellaswag": "hellaswag_val_*.txt.gz",
    "sciq": "sciq_validation.jsonl.gz",
}
OTHERS = {
    "boolq": "boolq_validation.jsonl.gz",
    "piqa": "piqa_valid.jsonl.gz",
    "winogrande": "winogrande_xl_validation.jsonl.gz",
    "truthfulqa_mc1": "truthfulqa_v1_mc_task.json.gz",
    "blimp": "blimp_45_paradigms.jsonl.gz",
    "agieval_sat_en": "agieval_sat-en.jsonl.gz",
    "agieval_logiqa_en": "agieval_logiqa-en.jsonl.gz",
    "agieval_sat_math": "agieval_sat-math.jsonl.gz",
    "agieval_aqua_rat": "agieval_aqua-rat.jsonl.gz",
    "agieval_lsat_ar": "agieval_lsat-ar.jsonl.gz",
    "mmlu": "mmlu_10subjects.jsonl.gz",
}
"""Of which each is only told: the goals are of FILES."""
BATCHES = (4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Side:
    """One way to score: what it took, and what it found."""

    seconds: float
    logprobs: NDArray[np.float64]


def pairs(benchmarks: Sequence[Benchmark]) -> list[tuple[str, str]]:
    """What both sides are asked: every context with every continuation."""
    return [(item.context_of(i), choice) for b in benchmarks for item in b.questions for i, choice in enumerate(item.choices)]


def theirs(model: LlamaForCausalLM, made: PreTrainedTokenizerFast, asked: Sequence[tuple[str, str]], batch: int) -> Side:
    harness = HFLM(pretrained=model, tokenizer=made, batch_size=batch, max_length=SEQ_LEN)
    instances = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(asked)]
    began = time.perf_counter()
    found = harness.loglikelihood(instances, disable_tqdm=True)
    return Side(time.perf_counter() - began, np.array([logprob for logprob, _ in found]))


def prepare(benchmarks: Sequence[Benchmark], made: PreTrainedTokenizerFast) -> list[Requests]:
    return [requests(benchmark, made, SEQ_LEN, prefix=()) for benchmark in benchmarks]


def ours(model: LlamaForCausalLM, prepared: Callable[[], Sequence[Requests]]) -> Side:
    began = time.perf_counter()
    found = [likelihoods(model, one, CPU).logprobs for one in prepared()]
    return Side(time.perf_counter() - began, np.concatenate(found))


def best_batch(model: LlamaForCausalLM, made: PreTrainedTokenizerFast, asked: Sequence[tuple[str, str]]) -> int:
    """Which batch size lm-eval is fastest with, on a quarter of the pairs."""
    some = [pair for i in range(0, len(asked), 16) for pair in asked[i : i + 4]]
    theirs(model, made, some[:8], 4)
    return min(BATCHES, key=lambda batch: theirs(model, made, some, batch).seconds)


def compare(name: str, model: LlamaForCausalLM, made: PreTrainedTokenizerFast, benchmarks: Sequence[Benchmark], rounds: int) -> str:
    """One model, benchmark by benchmark in turn."""
    batch = best_batch(model, made, pairs(benchmarks))
    ours(model, lambda: prepare(benchmarks[:1], made))
    kept: list[list[tuple[Side, Side]]] = [[] for _ in benchmarks]
    for _ in range(rounds):
        for each, benchmark in zip(kept, benchmarks, strict=True):
            ask = partial(prepare, [benchmark], made)
            each.append((theirs(model, made, pairs([benchmark]), batch), ours(model, ask)))
    if len(benchmarks) > 1:
        for each, benchmark in zip(kept, benchmarks, strict=True):
            say(f"  {benchmark.name}", len(benchmark.items), each, f"batch {batch}")
    whole = [(joined(side for side, _ in each), joined(side for _, side in each)) for each in zip(*kept, strict=True)]
    return f"evaluate_{name} ratio {say(name, sum(len(b.items) for b in benchmarks), whole, f'batch {batch}'):.2f}"


def joined(sides: Iterable[Side]) -> Side:
    every = list(sides)
    return Side(sum(side.seconds for side in every), np.concatenate([side.logprobs for side in every]))


def say(name: str, items: int, both: Sequence[tuple[Side, Side]], note: str) -> float:
    """Print both speeds; the ratio."""
    far = max(float(np.abs(a.logprobs - b.logprobs).max()) for a, b in both)
    speeds = [items / statistics.median(side.seconds for side in sides) for sides in zip(*both, strict=True)]
    ratio = statistics.median(a.seconds / b.seconds for a, b in both)
    print(
        f"{name}: {items} items; lm-eval {speeds[0]:.1f} items/s ({note}), ablate {speeds[1]:.1f}, ratio {ratio:.2f}; "
        f"largest difference {far:.1e}",
        flush=True,
    )
    return ratio


def model_of(params: int, vocabulary: int, seed: int = 0) -> LlamaForCausalLM:
    return build(ladder.shape(params, vocabulary, SEQ_LEN, True), seed=seed).eval()


def score_some(pipe: Connection, params: int, vocabulary: int, seeds: Sequence[int], prepared: Sequence[Requests]) -> None:
    """A job of the study, on one core: waits to be told, scores its models, says what it found."""
    torch.set_num_threads(1)
    models = [model_of(params, vocabulary, seed) for seed in seeds]
    ours(models[0], lambda: prepared[:1])
    pipe.send("ready")
    while pipe.recv() == "go":
        pipe.send([ours(model, lambda: prepared).logprobs for model in models])


class Job:
    """One of a study's processes, on one core, with its models loaded."""

    def __init__(self, params: int, vocabulary: int, seeds: Sequence[int], prepared: Sequence[Requests]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        context.Process(target=score_some, args=(there, params, vocabulary, seeds, prepared), daemon=True).start()

    def tell(self, word: str) -> None:
        self._pipe.send(word)

    def hear(self) -> Any:
        return self._pipe.recv()


def study(name: str, params: int, made: PreTrainedTokenizerFast, benchmarks: Sequence[Benchmark], rounds: int) -> str:
    """Ten models of one study: lm-eval one after the other on all cores; ours tokenised once, then one process a core."""
    asked = pairs(benchmarks)
    models = [model_of(params, len(made), seed) for seed in range(MODELS)]
    batch = best_batch(models[0], made, asked)
    jobs = [Job(params, len(made), range(i, MODELS, cores()), prepare(benchmarks, made)) for i in range(cores())]
    for job in jobs:
        job.hear()
    both = []
    for _ in range(rounds):
        one_by_one = joined(theirs(model, made, asked, batch) for model in models)
        began = time.perf_counter()
        prepare(benchmarks, made)  # the jobs have it: what a study pays once
        for job in jobs:
            job.tell("go")
        found = [job.hear() for job in jobs]
        seconds = time.perf_counter() - began
        both.append((one_by_one, Side(seconds, np.concatenate([found[i % len(jobs)][i // len(jobs)] for i in range(MODELS)]))))
    for job in jobs:
        job.tell("stop")
    return f"evaluate_{name} ratio {say(name, MODELS * sum(len(b.items) for b in benchmarks), both, f'batch {batch}'):.2f}"


def real(data: Path, task: str, files: str, limit: int, **more: Any) -> Benchmark:
    return catalogue([spec.Benchmark(task=task, files=str(data / "benchmarks" / files), limit=limit, **more)], fresh=False)[0]


def material(data: Path | None, items: int) -> tuple[PreTrainedTokenizerFast, list[Benchmark], list[Benchmark]]:
    """The tokenizer, the items for one model, and those that begin with the same solved examples."""
    if data is None:
        every = catalogue([spec.Benchmark(builtin="all")], fresh=False)
        return learned([spec.Source(builtin="textbook")], 1024), every[:: max(1, 500 // items)], every[:1]
    patterns = ("synthetic_textbooks_*.jsonl.gz", "c4_noisy_web_*.jsonl.gz", "tinystories_train_head.jsonl.gz")
    found = [spec.Source.model_validate(f"files:{data}/text/{pattern}") for pattern in patterns]
    few_shot = real(data, "mmlu", OTHERS["mmlu"], max(2, items // 4), shots=5)
    return learned(found, VOCABULARY), [real(data, *one, items) for one in FILES.items()], [few_shot]


def others(data: Path | None, items: int) -> list[Benchmark]:
    if data is None:
        raise SystemExit("others: needs --data")
    return [real(Path(data), *one, items) for one in OTHERS.items()]


def learned(found: Sequence[spec.Source], size: int) -> PreTrainedTokenizerFast:
    """A BPE of `size` entries, from the beginning of each source."""
    texts = [[document[:CUT] for document in islice(sources.documents(source, sources.TOKENIZER), DOCUMENTS)] for source in found]
    special = dict.fromkeys(("bos_token", "eos_token", "pad_token"), "<|endoftext|>")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer.train_bpe(texts, size), **special)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("ABLATE_DATA") or None, help="folder of benchmarks/ and text/")
    parser.add_argument("--only", nargs="*", default=["1M", "15M", "ten", "100M"])
    parser.add_argument("--items", type=int, default=60, help="of each task; a quarter as many with solved examples")
    arguments = parser.parse_args()
    for noisy in ("lm_eval", "lm-eval", "transformers"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    torch.set_num_threads(cores())
    made, items, few_shot = material(Path(arguments.data) if arguments.data else None, arguments.items)
    n = len(made)
    parts = {
        "1M": lambda: compare("one_model_1M", model_of(1_000_000, n), made, items, 3),
        "15M": lambda: compare("one_model_15M", model_of(15_000_000, n), made, items, 3),
        "ten": lambda: study("ten_models_1M", 1_000_000, made, items, 2),
        "others": lambda: compare("others_1M", model_of(1_000_000, n), made, others(arguments.data, arguments.items), 3),
        "100M": lambda: compare("shared_prefix_100M", model_of(100_000_000, n), made, few_shot, 2),
    }
    lines = [parts[part]() for part in arguments.only]
    print()
    print("\n".join(lines))


if __name__ == "__main__":
    main()
