"""A model that grades, asked over any endpoint that speaks OpenAI's chat completions."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException
from typing import IO, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ablate.errors import RunError, StudyError
from ablate.study import spec

_BUSY = 429
_LONGEST_PAUSE = 60.0
_LONGEST_REPLY = 2**20
_MAX_TOKENS = 1024
"""Of a reply: a small object, and room for a judge that thinks first."""


class Reply(NamedTuple):
    """What the judge said, and how many requests failed before it did."""

    text: str
    retries: int


@dataclass(frozen=True)
class Judge:
    """An endpoint and the model behind it. The key is sent to that address alone, and never written anywhere."""

    url: str
    """Where the API begins, e.g. http://localhost:8000/v1."""
    model: str
    key: str | None = field(default=None, repr=False)
    timeout: float = 120.0
    """Seconds for one request."""
    pauses: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    """Seconds before each new try, where the server names none (Retry-After)."""

    def ask(self, messages: Sequence[Mapping[str, str]]) -> Reply:
        """The judge's reply to a conversation, at temperature 0.

        A server that is busy, fails (429, 5xx) or cannot be reached is tried again. RunError where it stays so, refuses, or
        answers something that is no chat completion.
        """
        body = json.dumps({"model": self.model, "messages": list(messages), "temperature": 0, "max_tokens": _MAX_TOKENS}).encode()
        for retries, pause in enumerate((*self.pauses, None)):
            try:
                return Reply(self._text(self._post(body)), retries)
            except HTTPError as e:
                why = f"HTTP {e.code} {e.reason}: {self._said(e)}"
                if e.code != _BUSY and e.code < 500:
                    raise RunError(f"the judge at {self.url} refuses ({why}); see evaluate.judge") from e
                pause = pause and max(pause, _asked_for(e))
            except (URLError, HTTPException, OSError) as e:
                why = str(getattr(e, "reason", "") or e or type(e).__name__)
            if pause is not None:
                time.sleep(pause)
        raise RunError(
            f"the judge at {self.url} does not answer ({why}; asked {len(self.pauses) + 1} times); "
            "see that it runs and that evaluate.judge.url is right, then run the same command again: what it has graded is kept"
        )

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        request = Request(f"{self.url.rstrip('/')}/chat/completions", data=body, headers=headers)
        with build_opener(_NoRedirect).open(request, timeout=self.timeout) as response:
            return bytes(response.read(_LONGEST_REPLY))

    def _text(self, body: bytes) -> str:
        """The text of a chat completion; empty where the judge said nothing."""
        try:
            text = json.loads(body)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError) as e:
            raise RunError(
                f"what {self.url} answers is no chat completion ({body[:100]!r}); evaluate.judge.url must say where the API begins"
            ) from e
        return text if isinstance(text, str) else ""

    def _said(self, error: HTTPError) -> str:
        """The beginning of what came with an error; servers quote the key that they refuse."""
        try:
            with error:
                said = " ".join(error.read(2000).decode(errors="replace").split())[:200]
        except (HTTPException, OSError):
            return ""
        return said.replace(self.key, "***") if self.key else said


class _NoRedirect(HTTPRedirectHandler):
    """A redirect is an error: urllib would take the key along to another host."""

    def redirect_request(self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str) -> None:
        return None


def _asked_for(error: HTTPError) -> float:
    """Seconds that a busy server asks to be left alone for, within reason."""
    try:
        return min(_LONGEST_PAUSE, max(0.0, float(error.headers.get("Retry-After") or 0)))
    except ValueError:  # a date
        return 0.0


def judge_of(task: str, asked: spec.Judge | None, environment: Mapping[str, str] = os.environ) -> Judge:
    """Who grades `task`. StudyError where the study names nobody, or the variable of the key is not set."""
    if asked is None:
        raise StudyError(
            f"evaluate.benchmarks: {task} needs a judge; write evaluate.judge: {{url: http://HOST:PORT/v1, model: NAME}}, "
            "or leave the task out"
        )
    return Judge(asked.url, asked.model, asked.api_key_env and _key(asked.api_key_env, environment))


def _key(name: str, environment: Mapping[str, str]) -> str:
    key = environment.get(name, "").strip()
    if not key:
        raise StudyError(
            f"evaluate.judge.api_key_env: the environment variable {name} is not set; set it to the key, or leave api_key_env out"
        )
    if not (key.isascii() and key.isprintable()):  # or the library's own error would quote it
        raise StudyError(f"evaluate.judge.api_key_env: the environment variable {name} holds characters that no key has; set it again")
    return key


def conversation(*turns: str) -> list[dict[str, str]]:
    """Turns of a conversation that the user begins."""
    return [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]
