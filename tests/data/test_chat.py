"""Conversations become documents: by the tokenizer's template or plainly, the same for both kinds of rows; bad rows get a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from ablate.data import sources
from ablate.data.tokenizer import train_bpe
from ablate.errors import DataError
from ablate.study.load import load
from ablate.study.spec import Source
from tests.studies import TINY, write

TALK = [("user", "What is an owl?"), ("assistant", "A bird of the night.")]
TEMPLATE = "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"


def rows(folder: Path, *values: object, field: str = "messages") -> Source:
    (folder / "talk.jsonl").write_text("".join(json.dumps({field: value}) + "\n" for value in values))
    return Source(files=str(folder / "talk.jsonl"), messages_field=field)


def with_template(folder: Path, template: str = TEMPLATE) -> str:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=train_bpe([["an owl " * 40]], 258), bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder / "tokenizer")
    return str(folder / "tokenizer")


def test_plain_format_is_the_same_for_both_kinds_of_rows(tmp_path: Path) -> None:
    openai = [{"role": role, "content": f" {words}\n"} for role, words in TALK]
    sharegpt = [{"from": {"user": "human", "assistant": "gpt"}[role], "value": words} for role, words in TALK]
    for written in (openai, sharegpt):
        (document,) = sources.documents(rows(tmp_path, written), 0)
        assert document == "User: What is an owl?\n\nAssistant: A bird of the night."


def test_a_template_writes_it_out_and_is_in_the_digest(tmp_path: Path) -> None:
    plain = rows(tmp_path, [{"role": role, "content": words} for role, words in TALK])
    templated = plain.model_copy(update={"chat_template": with_template(tmp_path)})
    assert list(sources.documents(templated, 0)) == ["<s><user>What is an owl?<assistant>A bird of the night."]
    before = sources.digest(templated)
    other = plain.model_copy(update={"chat_template": with_template(tmp_path / "other", TEMPLATE + "!")})
    assert len({sources.digest(plain), before, sources.digest(other)}) == 3


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("just text", "line 1: the field 'messages' is not a list of {role, content} or {from, value} messages"),
        ([], "is not a list"),
        ([{"role": "user"}], "message 1 lacks one of them"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": None}], "message 2 lacks"),
    ],
)
def test_bad_rows(tmp_path: Path, value: object, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        list(sources.documents(rows(tmp_path, value), 0))


def test_a_template_that_refuses_a_conversation_is_named(tmp_path: Path) -> None:
    template = with_template(tmp_path, "{{ raise_exception('roles must alternate') }}")
    source = rows(tmp_path, [{"role": "user", "content": "a"}]).model_copy(update={"chat_template": template})
    with pytest.raises(DataError, match=r"line 1: the chat template .* refuses the conversation: roles must alternate"):
        list(sources.documents(source, 0))


def test_a_wrong_column_is_named(tmp_path: Path) -> None:
    source = rows(tmp_path, [{"role": "user", "content": "a"}]).model_copy(update={"messages_field": "conversations"})
    with pytest.raises(DataError, match=r"no field 'conversations'; the row has: messages; name the right one in messages_field:"):
        list(sources.documents(source, 0))


def test_text_and_messages_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="messages_field: and text_field: both say where the text is"):
        load(write(tmp_path, TINY.replace("builtin:textbook", "{files: a.jsonl, messages_field: m, text_field: t}")))
