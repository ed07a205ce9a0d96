"""What can go wrong, as one tree. Every class carries a sentence a user can act on.

AblateError
├── UsageError            the command or its input cannot be used as given        exit 2
│   ├── StudyError        the study file: unknown key, wrong type, empty grid ...
│   ├── DataError         a source, a tokenizer or a benchmark file
│   │   └── NetworkError  what the hub has is not on this machine, and the network is not there either
│   ├── StoreError        results.db: unreadable, newer than this program, bad SQL
│   └── BusyError         another driver holds this folder
└── RunError              a run failed while it was running                       exit 1
    ├── DivergedError     the loss or a gradient is no finite number, or the loss rose for good
    ├── DiskFullError     nothing was overwritten; free some space and run again
    └── Interrupted       SIGINT, SIGTERM or SIGUSR2: a checkpoint was written       exit 130
"""

from __future__ import annotations


class AblateError(Exception):
    """Base of all: its text is shown to the user as it is, without a traceback."""

    exit_status = 2


class UsageError(AblateError):
    """The command or its input cannot be used as given."""


class StudyError(UsageError):
    """The study file says something that cannot be run."""


class DataError(UsageError):
    """A source, a tokenizer or a benchmark file cannot be used."""


class NetworkError(DataError):
    """What the hub has is not on this machine, and the hub cannot be reached."""


class StoreError(UsageError):
    """results.db cannot be read or written as asked."""


class BusyError(UsageError):
    """Another driver holds this folder."""


class RunError(AblateError):
    """A run failed while it was running; the others go on."""

    exit_status = 1


class DivergedError(RunError):
    """The loss or a gradient is no longer a finite number, or the loss rose and did not come back."""


class DiskFullError(RunError):
    """The disk is full; nothing was overwritten."""


class Interrupted(RunError):
    """A signal asked the program to stop; a checkpoint was written."""

    exit_status = 130
