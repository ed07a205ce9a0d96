"""The table of words against the library: the same ids, for any text."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from ablate.data import encoding, tokenizer
from ablate.data.blocks import blocks

SOME = [
    "It's the cats' house; they'll say: \"we've 12 345 mice\"...\n\n\tÄhnlich, naïve – “so” it goes…  \r\n x  y   \n z",
    "def f(x):\n    return x+1  # 0.5%\n\n\n",
    " ", "\n", "a\u00a0b\u2003c\u200bd", "don'T I'LL 's 'sx", "日本語 text ﬁne \U0001f600!", "\x1c a\x1f b\x85 c\u2028d",
]  # fmt: skip


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    return tokenizer.train_bpe([SOME * 3, ["the cat sat on the mat because it was warm " * 9]], 400)


def encoder(bpe: Tokenizer) -> encoding.Encoder:
    return encoding.Encoder(bpe.to_str(), 0, "uint16")


def plain(bpe: Tokenizer, text: str) -> list[int]:
    """The library alone, as the plain path has it."""
    copy = Tokenizer.from_str(bpe.to_str())
    copy.encode_special_tokens = True
    return copy.encode(text, add_special_tokens=False).ids


def both_ways(bpe: Tokenizer, texts: list[str]) -> Iterator[tuple[list[int], list[int]]]:
    done = encoder(bpe).encode(texts)
    ends = np.cumsum(done.documents[:, 0])
    assert done.documents[:, 1].tolist() == [len(text.encode()) for text in texts]
    for text, begin, end in zip(texts, [0, *ends[:-1]], ends, strict=True):
        assert done.ids[end - 1] == 0
        yield done.ids[begin : end - 1].tolist(), plain(bpe, text)


def test_the_table_gives_what_the_library_gives(bpe: Tokenizer) -> None:
    """Exactly: tolerance none."""
    assert encoder(bpe)._table is not None
    for found, expected in both_ways(bpe, [*SOME, "<|endoftext|> is text here", ""]):
        assert found == expected


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text(" \n\t'sx1é.", max_size=30))
def test_for_any_text(bpe: Tokenizer, text: str) -> None:
    ((found, expected),) = both_ways(bpe, [text])
    assert found == expected


def test_every_character_that_is_looked_up_is_of_the_class_that_the_library_gives_it(bpe: Tokenizer) -> None:
    """Beside a letter, a digit, a mark and a space, all characters that are not `_UNSURE`: words are parted alike."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    characters = [c for c in map(chr, range(0x2800)) if not encoding._UNSURE.match(c)]
    assert len(characters) > 3000
    for context in ("a{}a", "1{}1", ". {}."):
        text = "\n\n".join(context.format(c) for c in characters if c != "\n")
        pieces = split.pre_tokenize_str(text)
        assert [text[begin:end] for _, (begin, end) in pieces] == encoding._words()(text)


def test_long_documents_are_cut_where_words_begin(bpe: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(SOME[:2] * 4)
    expected = plain(bpe, text)
    for piece in (1, 5, 17):
        monkeypatch.setattr(encoding, "PIECE", piece)
        assert encoder(bpe).encode([text]).ids[:-1].tolist() == expected
    monkeypatch.setattr(encoding, "MOST_WORDS", 3)
    assert encoder(bpe).encode([text] * 3).documents[:, 0].tolist() == [len(expected) + 1] * 3


def test_other_tokenizers_go_through_the_library(bpe: Tokenizer) -> None:
    def changed(**parts: object) -> Tokenizer:
        copy = Tokenizer.from_str(bpe.to_str())
        for name, part in parts.items():
            setattr(copy, name, part)
        return copy

    added = changed()
    added.add_tokens(["cat sat"])
    others = [
        added,
        changed(normalizer=normalizers.Lowercase()),
        changed(pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=True)),
        changed(pre_tokenizer=pre_tokenizers.Whitespace(), model=models.WordLevel({"the": 0, "[UNK]": 1}, unk_token="[UNK]")),
    ]
    for other in others:
        assert encoder(other)._table is None
        for found, expected in both_ways(other, [*SOME, "the cat sat"]):
            assert found == expected


def test_many_processes_give_what_one_gives_in_the_same_order(bpe: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "ALONE_CHARACTERS", 500)
    texts = [f"document {i} " + SOME[i % len(SOME)] for i in range(200)]

    def made(processes: int) -> list[int]:
        parts = encoding.encoded(blocks(iter(texts), len, 200, 7), bpe.to_str(), 0, "uint16", processes)
        return np.concatenate([part.ids for part in parts]).tolist()

    assert made(1) == made(3) == encoder(bpe).encode(texts).ids.tolist()


@pytest.mark.shared_data
def test_on_real_text(bpe: Tokenizer, shared_data: Path) -> None:
    with gzip.open(shared_data / "text" / "webpages_trafilatura_a.jsonl.gz") as f:
        texts = [json.loads(line)["text"][:20_000] for line in f]
    for found, expected in both_ways(bpe, texts[::4]):
        assert found == expected
