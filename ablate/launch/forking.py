"""A process that has imported what every job imports, and forks itself for each: the driver's side of it.

The imports of a job and the first call of torch's compiler take some ten seconds of a core. Only for jobs on the CPU of a
Linux machine: CUDA cannot be used after a fork, and other systems' libraries may not survive one.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MESSAGE_BYTES = 1 << 16
MODULE = "ablate.forkserver"
RUNS = "runs"
"""Answered for the exit status of a process that has none yet."""


def can_fork(gpus: int, devices: int) -> bool:
    """Whether the jobs of a driver that gives them so many GPUs, and each so many devices, are forked."""
    return not gpus and devices == 1 and sys.platform == "linux"


class ForkServer:
    """Started at once, in the background; whoever asks it for a job waits until it is ready. ConnectionError where it has ended:
    somebody killed it, or what it imports cannot be imported."""

    def __init__(self, env: Mapping[str, str], compile: bool) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", MODULE, str(theirs.fileno()), *(["--compile"] if compile else [])],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
                env=env,
            )

    def fork(self, folder: Path, lock: int, log: int) -> int:
        """The process that has begun the job in `folder`, in a session of its own, with that lock and that log."""
        try:
            return int(self._ask({"folder": str(folder.absolute())}, (lock, log)))
        except KeyboardInterrupt:
            self.close()  # or it would begin the job after its driver has stopped
            raise

    def status(self, process: int) -> int | None:
        """Exit status of a process that it forked, minus the signal that killed it; None while it runs."""
        said = self._ask({"process": process})
        return None if said == RUNS else int(said)

    def close(self) -> None:
        """End it. What it forked goes on."""
        self._socket.close()
        self._process.kill()  # it may be in the middle of its imports
        self._process.wait()

    def _ask(self, request: dict[str, Any], fds: tuple[int, ...] = ()) -> str:
        if self._socket.fileno() < 0:
            raise ConnectionError("the fork server was closed")
        socket.send_fds(self._socket, [json.dumps(request).encode()], fds)
        if said := self._socket.recv(MESSAGE_BYTES):
            return said.decode()
        raise ConnectionError("the fork server has ended")


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The server's side of a request: what is asked, and the descriptors that came with it. ConnectionError once the driver is gone."""
    message, fds, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, 2)
    if not message:
        raise ConnectionError("the driver has ended")
    return json.loads(message), fds
