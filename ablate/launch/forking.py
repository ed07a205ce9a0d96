"""A process that has imported what every job imports, and forks itself for each, and for each measurement of a job's speed: the side
of who asks.

The imports of a job and the first call of torch's compiler take some ten seconds of a core. Only for jobs on the CPU of a
Linux machine: CUDA cannot be used after a fork, and other systems' libraries may not survive one.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

MESSAGE_BYTES = 1 << 16
MODULE = "ablate.forkserver"
RUNS = "runs"
"""Answered for the exit status of a process that has none yet."""
JOB, MEASUREMENT = "job", "measurement"
"""What a fork can be for."""

Started = tuple[int, Callable[[], int | None]]
"""A process, and what tells its exit status: None while it runs, ConnectionError where nobody knows any more."""


def can_fork(gpus: int, devices: int) -> bool:
    """Whether the jobs of a driver that gives them so many GPUs, and each so many devices, are forked."""
    return not gpus and devices == 1 and sys.platform == "linux"


class ForkServer:
    """Started at once, in the background; whoever asks it for a fork waits until it is ready. There is none, and of earlier ones it is
    not known how they ended, where it has ended itself: somebody killed it, or what it imports cannot be imported."""

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

    def job(self, folder: Path, lock: int, log: int) -> Started | None:
        """What has begun the job in `folder`, with that lock and that log."""
        return self._fork({JOB: str(folder.absolute())}, (log, log, lock))

    def measurement(self, asked: int, answers: int, log: int) -> Started | None:
        """What has begun to do what `python -m ablate.measure` does, with these for its input, its output and its errors."""
        return self._fork({MEASUREMENT: ""}, (answers, log, asked))

    def _fork(self, request: dict[str, str], fds: Sequence[int]) -> Started | None:
        """A process in a session of its own. Its standard output and error are the first two of `fds`."""
        try:
            process = int(self._ask(request, fds))
        except ConnectionError:
            return None
        except KeyboardInterrupt:
            self.close()  # or it would begin after whoever asked for it has stopped
            raise
        return process, lambda: self._status(process)

    def _status(self, process: int) -> int | None:
        """Exit status of a process that it forked, minus the signal that killed it; None while it runs."""
        said = self._ask({"process": process})
        return None if said == RUNS else int(said)

    def close(self) -> None:
        """End it. What it forked goes on."""
        self._socket.close()
        self._process.kill()  # it may be in the middle of its imports
        self._process.wait()

    def _ask(self, request: dict[str, Any], fds: Sequence[int] = ()) -> str:
        if self._socket.fileno() < 0:
            raise ConnectionError("the fork server was closed")
        socket.send_fds(self._socket, [json.dumps(request).encode()], fds)
        if said := self._socket.recv(MESSAGE_BYTES):
            return said.decode()
        raise ConnectionError("the fork server has ended")


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The server's side of a request: what is asked, and the descriptors that came with it. ConnectionError once the driver is gone."""
    message, fds, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, 3)
    if not message:
        raise ConnectionError("the driver has ended")
    return json.loads(message), fds
