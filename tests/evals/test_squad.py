"""SQuAD's exact match and F1."""

from __future__ import annotations

import pytest

from ablate.evals.squad import exact_match, f1, words


@pytest.mark.parametrize(
    ("answer", "references", "exact", "overlap"),
    [
        ("the Red Owl", ["red owl"], True, 1.0),
        (" Red  owl.", ["a red owl"], True, 1.0),
        ("red-owl", ["redowl"], True, 1.0),
        ("red-owl", ["red owl"], False, 0.0),
        ("red owl at night", ["red owl"], False, 2 * 2 / 6),
        ("owl owl", ["owl"], False, 2 * 1 / 3),
        ("owl", ["hawk", "an owl!"], True, 1.0),
        ("red hawk", ["blue owl", "red owl"], False, 0.5),
        ("", ["owl"], False, 0.0),
        ("the", ["a"], True, 1.0),
        ("", [], True, 1.0),
        ("owl", [], False, 0.0),
        ("", ["the", "owl"], False, 0.0),
        ("an", ["...", "the"], True, 1.0),
        ("1,000", ["1000"], True, 1.0),
        ("Théa", ["thea"], False, 0.0),
        ("theatre", ["atre"], False, 0.0),
    ],
)
def test_official_rules(answer: str, references: list[str], exact: bool, overlap: float) -> None:
    assert exact_match(answer, references) is exact
    assert f1(answer, references) == pytest.approx(overlap)


def test_words() -> None:
    assert words("A cat, an Owl; the 'end'.") == ["cat", "owl", "end"]
