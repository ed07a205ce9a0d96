"""Rows of a split, written as `datasets` writes them."""

from __future__ import annotations

import pytest

from ablate.study.split import Split, parse_split, shortest_form


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("train", Split("train")),
        ("train[:]", Split("train")),
        ("train[0:]", Split("train")),
        (" train[:1_000] ", Split("train", 0, 1000)),
        ("train_sft[20:30]", Split("train_sft", 20, 30)),
        ("test.raw[7:]", Split("test.raw", 7)),
    ],
)
def test_read_and_written_in_one_form(text: str, split: Split) -> None:
    assert parse_split(text) == split
    assert parse_split(shortest_form(text)) == split


def test_one_set_of_rows_has_one_form() -> None:
    assert {shortest_form(text) for text in ("train[0:1_000]", "train[:1000]", "train[00:01000]")} == {"train[:1000]"}


@pytest.mark.parametrize(
    "text", ["", "train[:10%]", "train[-5:]", "train[:-5]", "train+test", "train[5]", "train[:1M]", "train[:_]", "train[:5](x)", "[:5]"]
)
def test_what_is_no_split(text: str) -> None:
    with pytest.raises(ValueError, match="is not a split; write its name, or rows of it counted from the first"):
        parse_split(text)


@pytest.mark.parametrize("text", ["train[5:5]", "train[5:4]", "train[:0]"])
def test_a_slice_without_a_row(text: str) -> None:
    with pytest.raises(ValueError, match="holds no row"):
        parse_split(text)


def test_the_files_of_a_split_share_out_its_rows() -> None:
    rows = list(range(30))
    for split in (Split("train", 0, 7), Split("train", 3, 12), Split("train", 10, 20), Split("train", 12), Split("train", 29, 99)):
        found = [rows[10 * n + k] for n in range(3) for k in split.within(10 * n, 10)]
        assert found == rows[split.first : split.end]


def test_slices_that_have_a_row_in_common() -> None:
    first, second = Split("train", 0, 10), Split("train", 10, 20)
    assert not first.overlaps(second)
    assert not second.overlaps(first)
    assert first.overlaps(Split("train", 9))
    assert Split("train").overlaps(second)
    assert not first.overlaps(Split("test", 0, 10))
