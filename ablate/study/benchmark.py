"""What a study may say about a benchmark: what its models are scored on, and what its text must not hold."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field, model_validator

from ablate.study.block import Block, Name, or_text


class Benchmark(Block):
    """A benchmark: `builtin:all`, `builtin:NAME`, or minimal pairs in BLiMP's format from a file."""

    model_config = ConfigDict(json_schema_extra=or_text(r"^builtin:.*\S.*$"))

    builtin: str | None = Field(None, description="all, or the name of an embedded benchmark")
    blimp: str | None = Field(None, description="glob of .jsonl files with sentence_good and sentence_bad, plain or .gz")
    name: Name | None = Field(None, description="its name in the results (needed with blimp:)")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            kind, _, rest = value.partition(":")
            if kind != "builtin" or not rest:
                raise ValueError(f"{value!r} is not a benchmark; write builtin:all, builtin:NAME or {{blimp: PATTERN, name: NAME}}")
            return {kind: rest.strip()}
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Benchmark:
        if (self.builtin is None) == (self.blimp is None):
            raise ValueError("a benchmark needs exactly one of builtin: and blimp:")
        if (self.blimp is None) != (self.name is None):
            raise ValueError("name: goes with blimp: (embedded benchmarks have names)")
        return self
