"""A process that has imported what every job imports, and forks itself for each: the driver's side of it.

The imports of a job and the first call of torch's compiler take some ten seconds of a core. Only for jobs on the CPU of a
Linux machine: CUDA cannot be used after a fork, and other systems' libraries may not survive one.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MESSAGE_BYTES = 1 << 16
MODULE = "ablate.forkserver"


class ForkServer:
    """Started at once, in the background; whoever asks it for a job waits until it is ready."""

    def __init__(self, env: Mapping[str, str], compile: bool) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", MODULE, str(theirs.fileno()), *(["--compile"] if compile else [])],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
                env={**env, "CUDA_VISIBLE_DEVICES": ""},
            )
        self._socket = ours

    def fork(self, folder: Path, lock: int, log: int) -> int | None:
        """The process that has begun the job in `folder`, in a session of its own, with that lock and that log. None where the server has
        ended: somebody killed it, or what it imports cannot be imported."""
        try:
            return self._ask({"folder": str(folder.absolute())}, (lock, log))
        except KeyboardInterrupt:
            self.close()  # or it would begin the job after its driver has stopped
            raise

    def status(self, process: int) -> int | None:
        """Exit status of a process that it forked, waited for; minus the signal that killed it. None where the server has ended."""
        return self._ask({"process": process})

    def close(self) -> None:
        """End it. What it forked goes on."""
        self._socket.close()
        self._process.kill()  # it may be in the middle of its imports
        self._process.wait()

    def _ask(self, request: dict[str, Any], fds: tuple[int, ...] = ()) -> int | None:
        try:
            socket.send_fds(self._socket, [json.dumps(request).encode()], fds)
            answer = self._socket.recv(MESSAGE_BYTES)
        except ConnectionError:
            return None
        return int(answer) if answer else None


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The server's side of a request: what is asked, and the descriptors that came with it. Empty once the driver is gone."""
    message, fds, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, 2)
    return json.loads(message) if message else {}, fds


def answer(channel: socket.socket, number: int) -> None:
    """Ignored where the driver is gone meanwhile: what was forked goes on, and the next `receive` says so."""
    try:
        channel.send(str(number).encode())
    except ConnectionError:
        return


def close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
