"""Where programs cannot be confined at all, the refusal is a sentence."""

from __future__ import annotations

import sys

import pytest

from ablate.errors import StudyError, UsageError
from ablate.evals.sandbox import check, run


def test_no_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    for ask in (lambda: check(True, "humaneval"), lambda: run(["print()"])):
        with pytest.raises(UsageError, match="generated code is not executed here"):
            ask()


def test_a_study_that_does_not_allow_it() -> None:
    with pytest.raises(StudyError, match=r"humaneval runs what the model writes; .* evaluate\.allow_code_execution: true"):
        check(False, "humaneval")
