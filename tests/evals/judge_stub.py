"""A judge on this machine: an endpoint of chat completions that answers as a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What a request gets: a judge's words, or an error and what stands in its body."""

    text: str = ""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Asked:
    """One request."""

    path: str
    key: str | None
    body: dict[str, Any]

    @property
    def last(self) -> str:
        return str(self.body["messages"][-1]["content"])


class _Handler(BaseHTTPRequestHandler):
    asked: list[Asked]
    answer: Callable[[Asked], Answer]
    one: threading.Lock

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = Asked(self.path, self.headers.get("Authorization"), body)
        with self.one:
            self.asked.append(asked)
            answer = type(self).answer(asked)
        message = {"role": "assistant", "content": answer.text}
        said = answer.text if answer.status != 200 else json.dumps({"choices": [{"message": message}]})
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(said.encode())))
        self.end_headers()
        self.wfile.write(said.encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def judge_server(answer: Callable[[Asked], Answer]) -> Iterator[tuple[str, list[Asked]]]:
    """The address of its API, and the list of what it is asked. `answer` is called in its threads, one request at a time."""
    asked: list[Asked] = []
    made = {"asked": asked, "answer": staticmethod(answer), "one": threading.Lock()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), made))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
