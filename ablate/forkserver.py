"""`python -m ablate.forkserver SOCKET [--compile]`: imports what a job needs, then forks itself for each job that is asked for.

It starts no thread and computes nothing but, with --compile, one number: so a fork has all that it needs.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import torch

from ablate import job
from ablate.launch.base import sign
from ablate.launch.forking import answer, close, receive
from ablate.train.forward import load_compiler


def serve(channel: socket.socket) -> int:
    """Until the driver is gone; in a fork, until its job has ended. Returns the exit status."""
    while True:
        request, fds = receive(channel)
        if not request:
            return 0
        if "process" in request:
            answer(channel, os.waitstatus_to_exitcode(os.waitpid(request["process"], 0)[1]))
        elif forked := os.fork():
            close(fds)
            answer(channel, forked)
        else:
            return _carry(channel, Path(request["folder"]), *fds)


def _carry(channel: socket.socket, folder: Path, lock: int, log: int) -> int:
    """What `python -m ablate.job FOLDER LOCK` does, in this process from now on."""
    channel.close()
    os.setsid()
    sign(lock, os.getpid())  # as its driver does, unless that is stopped just now
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    return job.main(folder, lock)


def get_ready(compile: bool) -> None:
    """Make the process one that can be forked: it computes on one thread, for those of a pool would not be there in a fork, nor would the
    one that looks after the compiler's progress bars."""
    torch.set_num_threads(1)
    torch.hub.tqdm.monitor_interval = 0  # type: ignore[attr-defined]
    if compile:
        load_compiler()


def main(fd: int, compile: bool) -> int:
    get_ready(compile)
    with socket.socket(fileno=fd) as channel:
        return serve(channel)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), "--compile" in sys.argv[2:]))
