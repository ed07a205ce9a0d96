"""Prints how fast the embedded corpora are generated, in MB/s of UTF-8 on one core, and how often documents repeat.

python benchmarks/corpora.py
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from ablate.data import neutral, textbook, web
from ablate.study.spec import Noise

BYTES = 10_000_000


def main() -> None:
    corpora: dict[str, Iterator[str]] = {
        "textbook": textbook.documents(0, 0),
        "web": web.documents(0, 0, Noise()),
        "neutral": neutral.documents(0, 0),
    }
    for name, documents in corpora.items():
        total = count = 0
        different = set()
        start = time.process_time()
        while total < BYTES:
            document = next(documents)
            total += len(document.encode())
            count += 1
            different.add(document)
        speed = total / 1e6 / (time.process_time() - start)
        repeated = 1 - len(different) / count
        print(f"{name:9} {speed:5.1f} MB/s   {count} documents of {total / count:.0f} bytes   {repeated:.4f} repeated exactly")


if __name__ == "__main__":
    main()
