"""What a study may say about a benchmark: what its models are scored on, and what its text must not hold."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from ablate.study.block import Block, Name, or_text

_TASK = r"[A-Za-z][A-Za-z0-9_]*"
_OF_TASKS = ("files", "shots", "shots_from", "limit", "samples", "name")


class Benchmark(Block):
    """A benchmark: `builtin:all`, `builtin:NAME`, or a task of the catalogue by its name in lm-eval, from the hub or from files."""

    model_config = ConfigDict(json_schema_extra=or_text(rf"^(builtin:.*\S.*|{_TASK})$"))

    builtin: str | None = Field(None, description="all, or the name of an embedded benchmark")
    task: Name | None = Field(None, description="a task of the catalogue (docs/benchmarks.md), by its name in lm-eval")
    files: str | None = Field(
        None, min_length=1, description="glob of the task's files in their published format; without it they come from the hub"
    )
    shots: Annotated[int, Field(ge=0, le=100)] | None = Field(None, description="solved examples before each item; default: the task's own")
    shots_from: str | None = Field(
        None, min_length=1, description="glob of the files whose first rows are the examples; default: the task's few-shot split"
    )
    limit: Annotated[int, Field(ge=2)] | None = Field(None, description="only the first items, this many; default: all")
    samples: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None,
        description="programs written for each problem of humaneval and mbpp; default: 1, without chance; from 10 on there is a pass@10",
    )
    name: Name | None = Field(None, description="its name in the results; default: the task's")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        kind, colon, rest = value.partition(":")
        if colon and kind == "builtin" and rest.strip():
            return {"builtin": rest.strip()}
        if not re.fullmatch(_TASK, value):
            raise ValueError(
                f"{value!r} is not a benchmark; write builtin:all, builtin:NAME, a task such as arc_easy, or {{task: NAME, files: PATTERN}}"
            )
        return {"task": value}

    @model_validator(mode="after")
    def _one_kind(self) -> Benchmark:
        if (self.builtin is None) == (self.task is None):
            raise ValueError("a benchmark needs exactly one of builtin: and task:")
        given = [key for key in _OF_TASKS if getattr(self, key) is not None]
        if self.builtin is not None and given:
            raise ValueError(f"{given[0]}: goes with task: (embedded benchmarks are made here)")
        if self.shots == 0 and self.shots_from is not None:
            raise ValueError("shots_from: says where examples lie, and shots: 0 asks for none; leave one out")
        return self
