"""A stream of tokens as it is asked for: who builds it may be a process of its own, which loads what is imported here and no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ablate.data import shards, tokenizer
from ablate.data.decontaminate import Screen
from ablate.study import spec
from ablate.workspace import Workspace


@dataclass(frozen=True)
class Stream:
    """One stream of one source in the tokens of one tokenizer."""

    source: spec.Source
    stream: int
    tokenizer: Path
    screen: Screen | None = None
    """What is kept out of it."""

    def is_built(self, tokens: int, space: Workspace) -> bool:
        return shards.is_built(self.source, self.stream, self.tokenizer.name, tokens, space, self._screened)

    def open(self, space: Workspace) -> shards.Shards:
        return shards.open_shards(self.source, self.stream, self.tokenizer.name, space, self._screened)

    def build(self, tokens: int, space: Workspace, processes: int = 1, say: Callable[[str], None] = lambda line: None) -> None:
        made = tokenizer.load(self.tokenizer)
        shards.prepare(self.source, self.stream, self.tokenizer.name, made, tokens, space, self.screen, processes, say)

    @property
    def _screened(self) -> str | None:
        return self.screen.digest if self.screen else None
