"""Published models by name, from presets.yaml: their shapes, what they count, and the rule for another vocabulary or length."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ablate.errors import StudyError
from ablate.study import document
from ablate.study.fields import choices

TABLE = Path(__file__).with_name("presets.yaml")


@dataclass(frozen=True)
class Published:
    """A publication's own parameter count."""

    count: str
    of: str
    """Which of our counts it should be: total, non_embedding or without_head (all but an untied output head)."""
    within: float
    """Share by which ours may differ, since most publications round."""


@dataclass(frozen=True)
class Preset:
    """One published model. `values` are config values under Hugging Face's names."""

    name: str
    family: str
    values: dict[str, Any]
    non_embedding: int
    total: int
    published: Published
    tokenizer_size: int
    source: str
    note: str = ""

    def shape(self, vocab_size: int, seq_len: int) -> dict[str, Any]:
        """The shape for a tokenizer of `vocab_size` ids and sequences of `seq_len` tokens.

        A tokenizer with as many ids as the published one has is taken for it and keeps the published rows (which are
        padded to a round number); any other gets one row an id. The model sees at least the published length.
        """
        rows = self.values["vocab_size"] if vocab_size == self.tokenizer_size else vocab_size
        window = window_key(self.values)
        return {"family": self.family, **self.values, "vocab_size": rows, window: max(self.values[window], seq_len)}


def preset(name: str) -> Preset:
    """StudyError for a name that is not in the table."""
    table = _table()
    if name not in table:
        raise StudyError(f"model.preset: {name!r} is not known{choices(name, table)}")
    return table[name]


def names() -> list[str]:
    """Every preset, in the order of the table."""
    return list(_table())


def window_key(values: dict[str, Any]) -> str:
    """The config value that says how many tokens the model sees at once; MPT alone has a name of its own for it."""
    return "max_seq_len" if "max_seq_len" in values else "max_position_embeddings"


@cache
def _table() -> dict[str, Preset]:
    entries = document.read(TABLE.read_text(encoding="utf-8")).value
    return {name: Preset(name=name, **{**entry, "published": Published(**entry["published"])}) for name, entry in entries.items()}
