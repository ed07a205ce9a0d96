"""Both sides of benchmarks/data.py, and its corpora."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import datasets
from transformers import PreTrainedTokenizerFast

from ablate.data import shards, sources, tokenizer
from ablate.data.blocks import blocks
from ablate.data.encoding import encoded
from ablate.data.hygiene import Tally
from ablate.jobs import cores
from ablate.study.spec import Data, Source
from ablate.study.spec import Tokenizer as Spec
from ablate.workspace import Workspace

REPEATS = 3
CHARACTERS = 60_000_000
DOCUMENTS = 60_000


def main(files: str | None) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # datasets.map forks: the library's own threads would be locked in the children
    datasets.disable_progress_bars()
    processes = cores()
    with tempfile.TemporaryDirectory() as temporary:
        space = Path(temporary)
        file, count = _corpus(files, space / "corpus.jsonl")
        source = Source(files=str(file))
        made = tokenizer.load(tokenizer.prepare(Data(web=source, tokenizer=Spec(train_bpe=8192 if files else 2048)), Workspace(space)))
        print(f"{count} documents, {file.stat().st_size / 1e6:.0f} MB, {processes} processes, vocabulary {len(made)}")
        sides: dict[str, Callable[[Path], None]] = {
            "map": lambda out: _map(file, made, processes, out),
            "tokenise": lambda out: _tokenise(source, made, processes, out),
            "prepare": lambda out: _prepare(source, made, processes, out),
        }
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for repeat in range(REPEATS):
            for name, side in sides.items():
                out = space / f"{name}{repeat}"
                out.mkdir()
                began = time.perf_counter()
                side(out)
                rates[name].append(count / (time.perf_counter() - began))
        for name, each in rates.items():
            print(f"{name}: {statistics.median(each):.0f} documents/s ({', '.join(f'{rate:.0f}' for rate in each)})")
        for name in ("tokenise", "prepare"):
            print(f"{name} ratio {statistics.median(rates[name]) / statistics.median(rates['map']):.2f}")


def _corpus(files: str | None, file: Path) -> tuple[Path, int]:
    """Real documents over and over (each marked, or all but the first would be duplicates), or generated ones."""
    if files is None:
        texts = list(islice(sources.documents(Source(builtin="web"), 0), DOCUMENTS))
    else:
        real = list(sources.read(Source(files=files), Tally()))
        times = max(1, CHARACTERS // sum(map(len, real)))
        texts = [f"{text}\n{i}" for i in range(times) for text in real]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return file, len(texts)


def _map(file: Path, made: PreTrainedTokenizerFast, processes: int, out: Path) -> None:
    end = made.eos_token_id

    def tokenised(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        ids = made(batch["text"], add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False, verbose=False)
        return {"input_ids": [[*one, end] for one in ids["input_ids"]]}

    read = datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=str(out))
    read.map(tokenised, batched=True, num_proc=processes, remove_columns=["text"], load_from_cache_file=False)


def _tokenise(source: Source, made: PreTrainedTokenizerFast, processes: int, out: Path) -> None:
    texts = blocks(sources.read(source, Tally()), len, shards.BLOCK_CHARACTERS, shards.BLOCK_DOCUMENTS)
    with (out / "tokens.bin").open("wb") as f:
        for block in encoded(texts, made.backend_tokenizer.to_str(), int(made.eos_token_id), "uint16", processes):
            f.write(block.ids.tobytes())


def _prepare(source: Source, made: PreTrainedTokenizerFast, processes: int, out: Path) -> None:
    shards.prepare(source, 0, "benchmark", made, 1, Workspace(out), processes=processes)
