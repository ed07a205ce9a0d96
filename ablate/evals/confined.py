"""The inside of the sandbox: a script that sandbox.py starts, which gives up what it does not need, then runs a program it does not trust.

It takes its limits as JSON in its one argument; on standard input a secret, a newline and the program. Once it is confined it says
CONFINED on standard error, which nothing else can be written to from then on, and after the program the secret and the verdict on
standard output. Only the standard library, and nothing of ablate: it starts in milliseconds, and holds nothing worth stealing.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import sys
import termios
import traceback
from pathlib import Path
from typing import Any

CONFINED = "confined"
PASSED = "passed"

_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.EPERM
_EQUAL, _MASKED_EQUAL = 4, 7  # enum scmp_compare
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_TMPFILE", 0) & ~getattr(os, "O_DIRECTORY", 0)

_CALLS = """
access brk chdir clock_getres clock_gettime clock_nanosleep close close_range dup dup2 dup3 epoll_create epoll_create1 epoll_ctl
epoll_pwait epoll_wait eventfd2 exit exit_group faccessat faccessat2 fadvise64 fchdir fstat fstat64 fstatat64 fstatfs fstatfs64 futex
getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getpgid getpgrp getpid getppid
getpriority getrandom getresgid getresuid getrlimit getrusage getsid gettid gettimeofday getuid getuid32 lseek lstat lstat64 madvise
membarrier mmap mmap2 mprotect mremap munmap nanosleep newfstatat pause pipe pipe2 poll ppoll pread64 preadv preadv2 pselect6 pwrite64
pwritev pwritev2 read readlink readlinkat readv restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn
rt_sigsuspend rt_sigtimedwait sched_getaffinity sched_getparam sched_getscheduler sched_yield select set_robust_list set_tid_address
sigaltstack sigreturn stat stat64 statfs statfs64 statx sysinfo time times ugetrlimit umask uname write writev
"""
"""System calls that a computation needs. None of them starts a process or a thread, opens a socket, signals or traces another process,
changes a file or another process; every call that is not here, also one that a later kernel brings, is refused with EPERM."""
_FILE_CALLS = """
copy_file_range fdatasync fsync ftruncate mkdir mkdirat rename renameat renameat2 rmdir sendfile truncate unlink unlinkat
"""
"""Besides, where Landlock keeps them inside the folder. Not those that it does not know: of owners, modes, times and attributes."""
_FCNTL = (fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL)
_IOCTL = (termios.FIOCLEX, termios.FIONCLEX, termios.FIONREAD, termios.TIOCGWINSZ, getattr(termios, "TCGETS", 0x5401))

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446  # on every processor
_LANDLOCK_RIGHTS = {1: 2**13 - 1, 2: 2**14 - 1, 3: 2**15 - 1}
_LANDLOCK_READ_FILE, _LANDLOCK_READ_DIR, _LANDLOCK_EXECUTE = 4, 8, 1
_LANDLOCK_TRUNCATE_SINCE = 3


class _Condition(ctypes.Structure):
    """struct scmp_arg_cmp"""

    _fields_ = (("argument", ctypes.c_uint), ("compare", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    """struct landlock_path_beneath_attr"""

    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def confine(limits: dict[str, Any]) -> None:
    """Give everything up, for good. OSError where any of it cannot be done."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) or os.getppid() != limits["parent"]:
        raise OSError("its parent is gone")
    for name, value in limits["resources"].items():
        _limit(getattr(resource, name), value)
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _filter(may_write=_keep_to(libc, limits["folder"]))
    if libc.socket(2, 1, 0) != -1:
        raise OSError("the filter of system calls does not work: a socket can be opened")


def _limit(which: int, value: int) -> None:
    _, most = resource.getrlimit(which)
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    last = value + 1 if which == resource.RLIMIT_CPU else value  # SIGXCPU first, which says why; SIGKILL where that is ignored
    resource.setrlimit(which, (value, last if most == resource.RLIM_INFINITY else min(last, most)))


def _keep_to(libc: ctypes.CDLL, folder: str) -> bool:
    """With Landlock, where the kernel has it (5.13): read the Python installation alone, and write in the folder alone. → whether
    whatever changes a file is kept inside the folder, which Landlock does since its third version (Linux 6.2)."""
    version: int = libc.syscall(_LANDLOCK_CREATE, None, 0, 1)
    if version < 1:
        return False
    rights = _LANDLOCK_RIGHTS[min(version, max(_LANDLOCK_RIGHTS))]
    handled = ctypes.c_uint64(rights)
    rules = _checked(libc.syscall(_LANDLOCK_CREATE, ctypes.byref(handled), ctypes.sizeof(handled), 0), "Landlock")
    for path in _readable():
        _permit(libc, rules, path, _LANDLOCK_READ_FILE | (_LANDLOCK_READ_DIR if Path(path).is_dir() else 0))
    _permit(libc, rules, folder, rights & ~_LANDLOCK_EXECUTE)
    _checked(libc.syscall(_LANDLOCK_RESTRICT, rules, 0), "Landlock")
    os.close(rules)
    return version >= _LANDLOCK_TRUNCATE_SINCE


def _readable() -> set[str]:
    system = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/localtime")
    devices = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    return {path for path in (*system, *devices, *libraries, *sys.path, sys.prefix, sys.base_prefix) if path and Path(path).exists()}


def _permit(libc: ctypes.CDLL, rules: int, path: str, allowed: int) -> None:
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    beneath = _Beneath(allowed, parent)
    _checked(libc.syscall(_LANDLOCK_ADD, rules, 1, ctypes.byref(beneath), 0), f"Landlock, {path}")
    os.close(parent)


def _filter(may_write: bool) -> None:
    """A filter of system calls by libseccomp, which knows their numbers on every processor; calls of a foreign one end the process."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_REFUSE)))

    def allow(call: str, *conditions: tuple[int, int, int, int]) -> None:
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:  # else this processor or this libseccomp has none of that name
            array = (_Condition * len(conditions))(*(_Condition(*condition) for condition in conditions))
            failed = library.seccomp_rule_add_array(context, ctypes.c_uint32(_ALLOW), number, len(conditions), array)
            _checked(failed, f"seccomp, {call}")

    for call in (_CALLS + (_FILE_CALLS if may_write else "")).split():
        allow(call)
    for call, flags in (("open", 1), ("openat", 2)):
        allow(call, *(() if may_write else [(flags, _MASKED_EQUAL, _WRITES, 0)]))
    for call, commands in (("fcntl", _FCNTL), ("fcntl64", _FCNTL), ("ioctl", _IOCTL)):
        for command in commands:
            allow(call, (1, _EQUAL, command, 0))
    allow("prlimit64", (0, _EQUAL, 0, 0), (2, _EQUAL, 0, 0))  # reading its own
    _checked(library.seccomp_load(context), "seccomp")


def _checked(result: int, what: str) -> int:
    """A call's result; OSError where it is negative: then it is −errno, or −1 and errno says why."""
    if result < 0:
        number = -result if result < -1 else ctypes.get_errno() or errno.EPERM
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def verdict(program: bytes) -> str:
    """PASSED, or the last line of the traceback. SystemExit is no way to pass."""
    try:
        exec(compile(program, "<program>", "exec"), {})
    except BaseException as e:
        return traceback.format_exception_only(e)[-1].strip()[:400]
    return PASSED


def main() -> None:
    """Confine this process and run the program on standard input."""
    secret, _, program = sys.stdin.buffer.read().partition(b"\n")
    nowhere = os.open(os.devnull, os.O_RDWR)
    report = os.dup(1)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    try:
        confine(json.loads(sys.argv[1]))
    except (OSError, AttributeError) as e:
        os.write(2, str(e).encode())
        os._exit(1)
    os.write(2, CONFINED.encode())
    os.dup2(nowhere, 2)
    os.write(report, secret + b"\n" + verdict(program).encode(errors="replace"))
    os._exit(0)


if __name__ == "__main__":
    main()
