"""Files of published benchmarks, made up, and what the catalogue makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ablate.evals.benchmarks import catalogue
from ablate.evals.items import Benchmark, Item, Prompt
from ablate.study import spec


def written(folder: Path, name: str, content: Any) -> str:
    """A file with `content` twice: text as it is, rows as JSON of the kind that the name says."""
    if isinstance(content, str):
        text = 2 * content
    else:
        text = json.dumps([content, content]) if name.endswith(".json") else 2 * (json.dumps(content) + "\n")
    (folder / name).write_text(text)
    return str(folder / name)


def made(task: str, files: str, **options: Any) -> Benchmark:
    return catalogue([spec.Benchmark(task=task, files=files, **options)], fresh=False)[0]


def item(benchmark: Benchmark, number: int = 0) -> Item:
    found = benchmark.items[number]
    assert isinstance(found, Item)
    return found


def prompt(benchmark: Benchmark, number: int = 0) -> Prompt:
    found = benchmark.items[number]
    assert isinstance(found, Prompt)
    return found
