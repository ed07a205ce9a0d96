"""A Hugging Face hub on this machine: the few requests that the libraries make of it, answered from a folder."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class _Handler(BaseHTTPRequestHandler):
    root: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(f"{self.command} {path}")
        content, headers = self._found(path.strip("/"))
        self.send_response(403 if "/closed/" in path else 404 if content is None else 200)
        for name, value in headers.items():
            self.send_header(name, value)
        if content is None and "/closed/" not in path:
            self.send_header("X-Error-Code", "RepoNotFound" if path.startswith("/api") else "EntryNotFound")
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if body and content:
            self.wfile.write(content)

    def _found(self, path: str) -> tuple[bytes | None, dict[str, str]]:
        """root/datasets/OWNER/NAME/FILE or root/models/OWNER/NAME/FILE."""
        parts = path.split("/")
        if parts[0] == "api" and len(parts) >= 4:
            folder = self.root / parts[1] / parts[2] / parts[3]
            if not folder.is_dir():
                return None, {}
            files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
            if "tree" in parts:
                inside = sorted((folder / "/".join(parts[6:])).iterdir())
                rows = [_entry(path, str(path.relative_to(folder))) for path in inside]
                return json.dumps(rows).encode(), {"Content-Type": "application/json"}
            info = {"id": "/".join(parts[2:4]), "sha": COMMIT, "siblings": [{"rfilename": f} for f in files], "private": False, "tags": []}
            return json.dumps(info).encode(), {"Content-Type": "application/json"}
        if "resolve" in parts:
            kind, rest = ("datasets", parts[1:]) if parts[0] == "datasets" else ("models", parts)
            file = self.root / kind / rest[0] / rest[1] / "/".join(rest[4:])
            if file.is_file():
                return file.read_bytes(), {"ETag": f'"{_oid(file)}"', "X-Repo-Commit": COMMIT}
        return None, {"X-Repo-Commit": COMMIT}

    def log_message(self, *_: object) -> None:
        pass


def _entry(path: Path, name: str) -> dict[str, object]:
    if path.is_dir():
        return {"type": "directory", "path": name, "size": 0, "oid": "0" * 40}
    return {"type": "file", "path": name, "size": path.stat().st_size, "oid": _oid(path)}


def _oid(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


@contextmanager
def hub(root: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a hub that has what lies in `root`, and the list of what it is asked."""
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"root": root, "asked": asked}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
