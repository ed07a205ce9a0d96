"""One process of a job that has several devices: the first does the work, the others follow it on the model (train/world.py)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from ablate.errors import AblateError
from ablate.launch.base import LAST_WORDS, stand
from ablate.leave import Leave, on_signals
from ablate.train import device
from ablate.train.parallel import Sharded
from ablate.train.world import World, join, part


def is_one() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def take_part(folder: Path, wanted: Literal["auto", "cpu", "cuda"], compile: bool, work: Callable[[Leave, World], None]) -> int:
    """Be one of the processes of the job in `folder`, to its end. Returns the exit status, as `main` of a job does."""
    with stand(folder, int(os.environ["RANK"])):
        world = join(device.pick(wanted).type, folder / LAST_WORDS)
        if not world.leads:
            for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)  # the first process is asked too, and knows when
            Sharded(world, device.pick(wanted), compile).follow()
            part()
            return 0
        try:
            work(on_signals(), world)
        except AblateError as e:
            print(e, file=sys.stderr)
            return 1
        finally:
            world.tell([])
            part()
    return 0
