"""Conversations as documents: rows of messages, written out by a tokenizer's chat template or in a plain format.

A message is {role, content} or, as ShareGPT has it, {from, value} with human and gpt for user and assistant. The loss is on every token
of the conversation, the user's included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerFast

from ablate.errors import DataError

VERSION = 1
"""Raise it when the same rows would give other text."""
_SHAREGPT = {"human": "user", "gpt": "assistant"}
_SHAPE = "a list of {role, content} or {from, value} messages"


def has_template(folder: Path) -> bool:
    """Whether the tokenizer in `folder` has a chat template."""
    return bool(_tokenizer(folder).chat_template)


def identity(template: str | None) -> list[Any]:
    """What the text of a conversation depends on beside its rows."""
    if template is None:
        return [VERSION, "plain"]
    tokenizer = _tokenizer(Path(template))
    return [VERSION, tokenizer.chat_template, {name: str(token) for name, token in tokenizer.special_tokens_map.items()}]


def text(path: Path, place: str, row: Mapping[str, Any], field: str, template: str | None) -> str | None:
    """The conversation of a row as one document; None for a null. DataError where there is none, or none that can be written out.

    template: folder of the tokenizer whose chat template is used; None: the plain format, `User: ...`, a blank line,
    `Assistant: ...`.
    """
    if field not in row:
        raise DataError(
            f"{path}, {place}: there is no field {field!r}; the row has: {', '.join(row)}; name the right one in messages_field:"
        )
    if row[field] is None:
        return None
    messages = _messages(row[field], f"{path}, {place}: the field {field!r}")
    if template is None:
        return "\n\n".join(f"{message['role'].capitalize()}: {message['content'].strip()}" for message in messages)
    try:
        return str(_tokenizer(Path(template)).apply_chat_template(messages, tokenize=False))
    except (TemplateError, ValueError, TypeError) as e:
        raise DataError(f"{path}, {place}: the chat template of {template} refuses the conversation: {e}") from e


def _messages(value: Any, where: str) -> list[dict[str, str]]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise DataError(f"{where} is not {_SHAPE}")
    found = []
    for number, message in enumerate(value, start=1):
        known = isinstance(message, Mapping)
        role = message.get("role", message.get("from")) if known else None
        content = message.get("content", message.get("value")) if known else None
        if not isinstance(role, str) or not isinstance(content, str):
            raise DataError(f"{where} is not {_SHAPE}: message {number} lacks one of them, or it is not text")
        found.append({"role": _SHAREGPT.get(role, role), "content": content})
    return found


@lru_cache(maxsize=8)
def _tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    try:
        return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as e:
        raise DataError(f"chat_template: the tokenizer in {folder} cannot be loaded: {e}") from e
