"""The base of every block of a study file, and the kinds of value that several blocks hold."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema

from ablate.study.quantities import parse_count, parse_fraction, parse_seconds

_TEXT_OR_NUMBER = {"anyOf": [{"type": "string"}, {"type": "number"}]}
Count = Annotated[int, BeforeValidator(parse_count), WithJsonSchema(_TEXT_OR_NUMBER)]
Seconds = Annotated[float, BeforeValidator(parse_seconds), WithJsonSchema(_TEXT_OR_NUMBER)]
Share = Annotated[Fraction, PlainValidator(parse_fraction), PlainSerializer(str, return_type=str), WithJsonSchema(_TEXT_OR_NUMBER)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=60)]


def or_text(pattern: str) -> Callable[[dict[str, Any]], None]:
    """For the JSON Schema of a block that may also be written as one word."""

    def widen(schema: dict[str, Any]) -> None:
        block = dict(schema)
        schema.clear()
        schema.update(description=block["description"], anyOf=[{"type": "string", "pattern": pattern}, block])

    return widen


class Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
