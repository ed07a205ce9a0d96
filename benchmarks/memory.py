"""The memory of `ablate data prepare`: it does not follow the length of a file, and of a document it keeps few bytes.

    python -m benchmarks.memory [MEGABYTES]

Two files of generated documents of 16 kB, no two alike: one of so many megabytes (40), and one ten times as long. Both go through the real
command: read, normalised, exact and near-duplicates looked for, held out, tokenised by as many processes as there are cores. Every 50 ms
the resident memory of the command and all its processes is read: told are the largest sum (a process that is just being started may
count twice) and, a bound that holds, the sum of each process's own peak as the kernel keeps it; what they share is counted in each. What
else grows, up to a bound or with the documents, is measured alone: the words whose ids a process keeps (the files here have few different
ones), and what the hygiene keeps of a document, on the hashes of DOCUMENTS documents.

The last lines are ratios: the short file's memory to the long one's (1: length costs nothing), and 2 GB to what a file of 20 GB in
documents of 2 kB would take, all these added up. Needs Linux. The figures hold on a busy machine too.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ablate.data import tokenizer
from ablate.data.encoding import MOST_WORDS, Encoder
from ablate.data.hygiene import BANDS
from ablate.data.sets import Packed
from ablate.jobs import cores

LETTERS = 8
"""Of every word; a space follows."""
COMMON_WORDS = 4096
DOCUMENT_WORDS = 1800
DOCUMENTS = 5_000_000
ALLOWED, FILE = 2e9, 20e9
STUDY = """
name: memory
grid: {{params: [1M], tokens: [1M], synthetic_ratio: [0]}}
data:
  web: {{files: "{file}", hygiene: {{dedup: near}}}}
  tokenizer: {{train_bpe: 2048}}
train: {{batch_tokens: 4096, warmup_steps: 10}}
evaluate: {{benchmarks: ["builtin:grammar"]}}
"""


@dataclass(frozen=True)
class Peak:
    """Of a command and the processes that it started, in bytes."""

    together: float
    """The largest sum of what was resident at one moment."""
    apart: float
    """The sum of each process's own peak."""
    processes: int


def main(megabytes: int) -> None:
    documents = megabytes * 1_000_000 // (DOCUMENT_WORDS * (LETTERS + 1))
    short, long = prepared(documents, DOCUMENT_WORDS), prepared(10 * documents, DOCUMENT_WORDS)
    kept, words = (float(subprocess.check_output([sys.executable, "-m", "benchmarks.memory", name])) for name in ("--kept", "--words"))
    print(f"what the hygiene keeps: {kept:.1f} bytes a document at the peak, of {DOCUMENTS:,} documents")
    print(f"the ids of {MOST_WORDS:,} words, which is all that a process keeps: {words / 1e6:.0f} MB")
    sizes = {size: long.apart + (1 + cores()) * words + kept * FILE / size for size in (1000, 2000, 4000)}
    print(f"20 GB in documents of so many bytes: {', '.join(f'{size} {used / 1e9:.2f} GB' for size, used in sizes.items())}")
    print(f"memory_of_bytes ratio {short.apart / long.apart:.2f}")
    print(f"memory_of_20GB ratio {ALLOWED / sizes[2000]:.2f}")


def prepared(documents: int, words: int) -> Peak:
    """The peak of preparing a file of so many documents of so many words."""
    with tempfile.TemporaryDirectory() as temporary:
        space, began = Path(temporary), time.perf_counter()
        write(space / "text.jsonl", documents, words)
        (space / "study.yaml").write_text(STUDY.format(file=space / "text.jsonl"))
        with (space / "log").open("w") as log:
            command = [sys.executable, "-m", "ablate", "data", "prepare", "study.yaml"]
            peak = watched(subprocess.Popen(command, cwd=space, stdout=log, stderr=log))
        built = next(iter((space / "runs" / "data").glob("*/manifest.json")), None)
        if built is None:
            sys.exit((space / "log").read_text())
        size = (space / "text.jsonl").stat().st_size
        print(f"{size / 1e6:.0f} MB, {documents:,} documents, {time.perf_counter() - began:.0f} s:", end=" ")
        print(f"{peak.together / 1e6:.0f} MB at the peak of {peak.processes} processes", end=" ")
        print(f"({peak.apart / 1e6:.0f} MB as the sum of their own peaks)", flush=True)
    return peak


def write(path: Path, documents: int, words: int) -> None:
    """A .jsonl file of random words, quickly."""
    draw, head, tail = np.random.default_rng(0), b'{"text": "', b'"}\n'
    known = _words(COMMON_WORDS)
    with path.open("wb") as f:
        while documents > 0:
            shape = (min(documents, 1 + (1 << 20) // words), words)
            lines = np.full((shape[0], len(head) + words * (LETTERS + 1) + len(tail)), ord(" "), np.uint8)
            lines[:, : len(head)], lines[:, -len(tail) :] = np.frombuffer(head, np.uint8), np.frombuffer(tail, np.uint8)
            text = lines[:, len(head) : -len(tail)].reshape(*shape, LETTERS + 1)
            text[:, :, :LETTERS] = known[draw.integers(0, COMMON_WORDS, shape)]
            f.write(lines.tobytes())
            documents -= shape[0]


def _words(count: int) -> NDArray[np.uint8]:
    """[count, LETTERS]"""
    return np.random.default_rng(1).integers(ord("a"), ord("z") + 1, (count, LETTERS), np.uint8)


def watched(process: subprocess.Popen[bytes]) -> Peak:
    """The command's memory until it ends."""
    together, own = 0.0, dict[int, float]()
    while process.poll() is None:
        now = 0.0
        for pid in _tree(process.pid):
            with suppress(OSError, KeyError):  # it may have ended
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                status = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
                now += 1024 * float(status["VmRSS"][0])
                own[pid] = 1024 * float(status["VmHWM"][0])
        together = max(together, now)
        time.sleep(0.05)
    return Peak(together, sum(own.values()), len(own))


def _tree(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):
        for children in list(Path(f"/proc/{pid}/task").glob("*/children")):
            for child in children.read_text().split():
                yield from _tree(int(child))


def kept() -> float:
    """Bytes a document of the sets that the hygiene keeps, at their peak, in a process that has nothing else."""
    draw, exact, near, block = np.random.default_rng(0), Packed(), Packed(), 1 << 14
    before = _own_peak()
    for _ in range(DOCUMENTS // block):
        exact.add(draw.integers(0, 1 << 48, block, np.uint64))
        near.add(draw.integers(0, 1 << 48, BANDS * block, np.uint64))
    return (_own_peak() - before) / DOCUMENTS


def words() -> float:
    """Bytes of a process's table of words when it is full."""
    texts = [bytes(word).decode() for word in _words(MOST_WORDS)]
    encoder = Encoder(tokenizer.train_bpe([texts[:1000] * 2], 300).to_str(), 0, "uint16")
    before = _own_peak()
    for begin in range(0, MOST_WORDS, 1000):
        encoder.encode(texts[begin : begin + 1000])
    return _own_peak() - before


def _own_peak() -> float:
    status = Path("/proc/self/status").read_text()
    return 1024 * float(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    if sys.argv[1:] in (["--kept"], ["--words"]):
        print(kept() if sys.argv[1] == "--kept" else words())
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
