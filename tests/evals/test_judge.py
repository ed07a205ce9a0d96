"""The client of a judge: what it sends, what it tries again, what it refuses, and that the key goes nowhere else."""

from __future__ import annotations

from itertools import count

import pytest

from ablate.errors import RunError, StudyError
from ablate.evals.judge import Judge, conversation, judge_of
from ablate.study import spec
from tests.evals.judge_stub import Answer, judge_server

KEY = "sk-secret-of-a-test"


def test_asks_once_at_temperature_zero() -> None:
    with judge_server(lambda asked: Answer(f"heard {asked.last}")) as (url, asked):
        reply = Judge(f"{url}/", "grader", KEY).ask(conversation("one", "two", "three"))
        Judge(url, "grader").ask(conversation("one"))
    assert reply == ("heard three", 0)
    assert [one.path for one in asked] == ["/v1/chat/completions"] * 2
    assert [one.key for one in asked] == [f"Bearer {KEY}", None]
    assert (asked[0].body["model"], asked[0].body["temperature"]) == ("grader", 0)
    assert [turn["role"] for turn in asked[0].body["messages"]] == ["user", "assistant", "user"]


def test_a_busy_server_is_asked_again() -> None:
    calls = count()
    soon, later = ((("Retry-After", when),) for when in ("0.01", "Fri, 01 Jan 2100 00:00:00 GMT"))
    answers = [Answer("slow down", 429, soon), Answer("", 503), Answer("", 429, later), Answer("good")]
    with judge_server(lambda _: answers[next(calls)]) as (url, _):
        assert Judge(url, "m", pauses=(0, 0, 0)).ask(conversation("?")) == ("good", 3)


def test_a_server_that_stays_busy_or_is_dead_is_one_sentence() -> None:
    with judge_server(lambda _: Answer("overloaded", 500)) as (url, asked):
        with pytest.raises(RunError, match=r"does not answer \(HTTP 500 .*overloaded; asked 3 times\); see that it runs"):
            Judge(url, "m", pauses=(0, 0)).ask(conversation("?"))
        assert len(asked) == 3
    with pytest.raises(RunError, match=r"the judge at http://127.0.0.1:\d+/v1 does not answer \(.*[Cc]onnection refused"):
        Judge(url, "m", pauses=(0,)).ask(conversation("?"))


def test_a_refusal_is_not_tried_again_and_does_not_show_the_key() -> None:
    with judge_server(lambda asked: Answer(f"no such key: {asked.key}", 401)) as (url, asked):
        judge = Judge(url, "m", KEY)
        with pytest.raises(RunError, match=r"refuses \(HTTP 401 .*no such key: Bearer \*\*\*") as refused:
            judge.ask(conversation("?"))
    assert len(asked) == 1
    assert KEY not in str(refused.value) + repr(judge)


def test_a_redirect_does_not_take_the_key_along() -> None:
    with judge_server(lambda _: Answer("mine")) as (other, reached):
        for status in (302, 307):
            moved = Answer("", status, (("Location", f"{other}/chat/completions"),))
            with judge_server(lambda _, moved=moved: moved) as (url, _), pytest.raises(RunError, match=f"refuses .HTTP {status}"):
                Judge(url, "m", KEY).ask(conversation("?"))
    assert reached == []


def test_what_is_no_chat_completion_is_said() -> None:
    with judge_server(lambda _: Answer("<html>", 201)) as (url, _), pytest.raises(RunError, match=r"is no chat completion \(b'<html>'\)"):
        Judge(url, "m").ask(conversation("?"))


def test_the_key_comes_from_the_variable_that_is_named() -> None:
    asked = spec.Judge(url="https://host/v1", model="m", api_key_env="A_KEY")
    assert judge_of("stories", asked, {"A_KEY": f"{KEY}\n"}).key == KEY
    assert judge_of("stories", spec.Judge(url="http://host/v1", model="m"), {"OPENAI_API_KEY": KEY}).key is None
    with pytest.raises(StudyError, match="the environment variable A_KEY is not set"):
        judge_of("stories", asked, {})
    with pytest.raises(StudyError, match="A_KEY holds characters that no key has") as refused:
        judge_of("stories", asked, {"A_KEY": f"{KEY}\n{KEY}"})
    assert KEY not in str(refused.value)


URLS = ["host:8000/v1", "file:///etc/passwd", "https://", "http://me:secret@host/v1", "http://host/v 1", "http://é/v1", "http://h:99999"]


@pytest.mark.parametrize("url", URLS)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"url: |Port out of range"):
        spec.Judge(url=url, model="m")
