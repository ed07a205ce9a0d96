"""What each overlap method finds of items planted in a corpus, and how fast it reads: `python benchmarks/overlap.py [FILES ...]`.

Items are made here of the words of the corpus, so that none of them stands in it by chance; all end in one of five questions, as
those of real benchmarks do. Each is planted in one page in one of the ways of KINDS, or not at all. FILES (jsonl, txt; plain or .gz)
are read for the speed instead of the embedded web corpus. One thread; CPU seconds, median of three. The last lines give the speed over
the goal of 10 MB/s a core.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from statistics import median
from time import process_time

import numpy as np

from ablate.data import overlap, sources, tokenizer
from ablate.data.skipgrams import Skipgrams
from ablate.evals import benchmarks
from ablate.study.spec import Benchmark, Source

GOAL_MB_PER_S = 10
ITEMS_A_KIND = 200
QUESTIONS = (
    "Which of the following sentences best describes what happens next in this story?",
    "What is the most likely reason for what the person in the text does?",
    "How many of them are left at the end of the day, and who has them?",
    "Which answer follows?",
    "According to the passage above, which of these statements must be true?",
)


@dataclass(frozen=True)
class Planted:
    """An item, how it was planted, and the page that holds it."""

    kind: str
    text: str
    choice: str

    @property
    def item(self) -> str:
        return f"{self.text} {self.choice}"


def _verbatim(item: Planted, draw: random.Random) -> str:
    return item.item


def _reformatted(item: Planted, draw: random.Random) -> str:
    """Other case, line breaks, list marks, quotes: the same words."""
    lines = [f"* {sentence.upper()} ..." for sentence in re.split(r"(?<=[.?]) ", item.text)]
    return "\n\n".join([*lines, f"(a) “{item.choice.rstrip('.')}”"])


def _numbers(item: Planted, draw: random.Random) -> str:
    return re.sub(r"\d+", lambda found: str(int(found[0]) + draw.randint(1, 50)), item.item)


def _choice(item: Planted, draw: random.Random) -> str:
    return item.choice


def _nothing(item: Planted, draw: random.Random) -> str:
    return ""


KINDS: dict[str, Callable[[Planted, random.Random], str]] = {
    "verbatim": _verbatim,
    "reformatted": _reformatted,
    "numbers changed": _numbers,
    "right choice only": _choice,
    "not planted": _nothing,
}


def pages(count: int) -> list[str]:
    """The corpus that items are planted in."""
    return list(islice(sources.documents(Source(builtin="web"), 0), count))


def items(background: list[str], a_kind: int, seed: int = 0) -> list[Planted]:
    """`a_kind` items of each kind: four sentences with a number each, a question, a choice of twelve words."""
    draw = random.Random(seed)
    words = sorted({word for page in background for word in re.findall(r"[a-z]{3,}", page)})
    made = []
    for number in range(a_kind * len(KINDS)):
        sentences = [" ".join([*draw.choices(words, k=8), str(draw.randint(2, 99)), *draw.choices(words, k=5)]) + "." for _ in range(4)]
        text = " ".join(sentence.capitalize() for sentence in sentences) + " " + QUESTIONS[number // len(KINDS) % len(QUESTIONS)]
        made.append(Planted(list(KINDS)[number % len(KINDS)], text, " ".join(draw.choices(words, k=12)).capitalize() + "."))
    return made


def planted(background: list[str], made: list[Planted], seed: int = 1) -> list[str]:
    """The corpus with every item in the middle of a page of its own."""
    draw = random.Random(seed)
    corpus = list(background)
    for item, page in zip(made, draw.sample(range(len(corpus)), len(made)), strict=True):
        middle = len(corpus[page]) // 2
        corpus[page] = f"{corpus[page][:middle]}\n{KINDS[item.kind](item, draw)}\n{corpus[page][middle:]}"
    return corpus


def found(corpus: list[str], made: list[Planted]) -> dict[str, dict[str, float]]:
    """Kind → method → share of the items that it calls contaminated."""
    texts = [item.item for item in made]
    words = overlap.Overlap([texts])
    words.read(corpus)
    (values,) = words.values()
    bpe = tokenizer.train_bpe([corpus[:500]], 2048)
    tokens = Skipgrams([one.ids for one in bpe.encode_batch_fast(texts)])
    encoded = [one.ids for one in bpe.encode_batch_fast(corpus)]
    tokens.read(np.array([i for ids in encoded for i in ids]), np.cumsum([0, *map(len, encoded)]))
    values |= tokens.values()
    dirty = {method: overlap.is_dirty(method, value) for method, value in values.items()}
    kinds = np.array([item.kind for item in made])
    return {kind: {method: float(is_dirty[kinds == kind].mean()) for method, is_dirty in dirty.items()} for kind in KINDS}


def _files(names: list[str]) -> Iterator[str]:
    for name in names:
        yield from sources.documents(Source(files=name), 0)


def _seconds(work: Callable[[], object]) -> float:
    spent = []
    for _ in range(3):
        began = process_time()
        work()
        spent.append(process_time() - began)
    return median(spent)


def main() -> None:
    background = pages(3000)
    made = items(background, ITEMS_A_KIND)
    table = found(planted(background, made), made)
    methods = list(table["verbatim"])
    print(f"| planted ({ITEMS_A_KIND} items each) | {' | '.join(methods)} |")
    print("| --- |" + " --- |" * len(methods))
    for kind, shares in table.items():
        print(f"| {kind} | " + " | ".join(f"{share:.1%}" for share in shares.values()) + " |")
    corpus = list(_files(sys.argv[1:])) if len(sys.argv) > 1 else background
    size = sum(len(text.encode()) for text in corpus) / 1e6
    catalogue = benchmarks.catalogue([Benchmark(builtin="all")], fresh=False)
    questions = [[item.text for item in benchmark.items] for benchmark in catalogue] + [[item.item for item in made]]
    print(f"\n{size:.1f} MB of text; {len(questions)} benchmarks, {sum(map(len, questions))} items")
    speeds = {}
    both = overlap.Overlap(questions)
    speeds["overlap_texts"] = size / _seconds(lambda: both.read(corpus))
    bpe = tokenizer.train_bpe([corpus[:500]], 2048)
    encoded = [one.ids for one in bpe.encode_batch_fast(corpus)]
    ids, starts = np.array([i for ids in encoded for i in ids], np.uint16), np.cumsum([0, *map(len, encoded)])
    tokens = Skipgrams([one.ids for texts in questions for one in bpe.encode_batch_fast(texts)])
    speeds["overlap_tokens"] = size / _seconds(lambda: tokens.read(ids, starts))
    for name, speed in speeds.items():
        print(f"{name}: {speed:.1f} MB/s a core")
    for name, speed in speeds.items():
        print(f"{name} ratio {speed / GOAL_MB_PER_S:.3g}")


if __name__ == "__main__":
    main()
