"""`python -m ablate.forkserver SOCKET [--compile]`: imports what a job needs, then forks itself for whatever is asked for.

It has no thread that a fork would miss, and computes nothing but, with --compile, one number.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from pathlib import Path

import torch

from ablate import job, measure
from ablate.launch.forking import JOB, RUNS, receive
from ablate.train.forward import load_compiler


def get_ready(compile: bool) -> None:
    """Make the process one that can be forked: it computes on one thread, for those of a pool would not be there in a fork, nor would the
    one that looks after the compiler's progress bars."""
    torch.set_num_threads(1)
    torch.hub.tqdm.monitor_interval = 0  # type: ignore[attr-defined]
    if compile:
        load_compiler()
    gc.collect()
    gc.freeze()  # a collection in a fork would write to what is there so far, and so copy it


def serve(channel: socket.socket) -> int:
    """Until the driver is gone; in a fork, until its work is done. Returns the exit status."""
    try:
        while True:
            request, fds = receive(channel)
            if "process" in request:
                channel.send(_status(request["process"]).encode())
            elif forked := os.fork():
                for fd in fds:
                    os.close(fd)
                channel.send(str(forked).encode())
            else:
                break
    except ConnectionError:
        return 0
    return _work(channel, request, *fds)


def _status(process: int) -> str:
    ended, status = os.waitpid(process, os.WNOHANG)
    return str(os.waitstatus_to_exitcode(status)) if ended else RUNS


def _work(channel: socket.socket, request: dict[str, str], out: int, errors: int, own: int) -> int:
    """What `python -m ablate.job FOLDER LOCK` or `python -m ablate.measure` does, in this process from now on."""
    channel.close()
    os.setsid()
    _become(out, 1)
    _become(errors, 2)
    if JOB in request:
        return job.main(Path(request[JOB]), own)
    _become(own, 0)
    measure.main()
    return 0


def _become(fd: int, stream: int) -> None:
    os.dup2(fd, stream)
    os.close(fd)


def main(fd: int, compile: bool) -> int:
    get_ready(compile)
    with socket.socket(fileno=fd) as channel:
        return serve(channel)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), "--compile" in sys.argv[2:]))
