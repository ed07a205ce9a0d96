"""Programs that mean harm, really run: nothing outside is touched, and each is reported as failed. And programs that mean none."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest

from ablate.evals.sandbox import Limits, check, run

pytestmark = pytest.mark.usefixtures("sandbox")

SHORT = Limits(cpu_seconds=1, wall_seconds=10)


def landlock() -> int:
    """Landlock's version here; under 1 where the kernel has none."""
    return int(ctypes.CDLL(None).syscall(444, None, 0, 1))


def tried(*attempts: str) -> str:
    """A program that tries each and goes on whatever comes; it fails in the end, naming what was not refused."""
    body = "\n".join(f"try:\n    {attempt}\n    done.append({attempt!r})\nexcept BaseException as e:\n    pass" for attempt in attempts)
    return f"import os, socket, subprocess, threading, signal, shutil, sys\ndone = []\n{body}\nassert not done, done"


def test_a_program_that_means_no_harm() -> None:
    useful = """
import collections, datetime, functools, hashlib, heapq, itertools, json, math, random, re, statistics, string, time, typing
assert math.gcd(12, 18) == 6 and hashlib.md5(b"owl").hexdigest() and datetime.datetime.now().year > 2000
random.seed(0); time.sleep(0.001); print("talk" * 1000)
"""
    wrong = ["assert 1 + 1 == 3, 'two'", "raise ValueError('not\\nthis')", "def f(:\n", "import nowhere_to_be_found", "input()"]
    verdicts = run([useful, "", "é = 'ü'", *wrong])
    assert [v.why for v in verdicts[:3]] == ["passed"] * 3 and all(v.passed and not v.stopped for v in verdicts[:3])
    assert not any(v.passed or v.stopped for v in verdicts[3:])
    why = [v.why for v in verdicts[3:]]
    assert why[0] == "AssertionError: two" and why[1].startswith("ValueError: not") and why[2].startswith("SyntaxError")
    assert why[3].startswith("ModuleNotFoundError") and why[4].startswith("EOFError")


def test_every_run_is_alike() -> None:
    assert (
        run(["assert 0, [list({'red', 'green', 'blue', 'pink'}), hash('owl')]"] * 2)[0]
        == run(["assert 0, [list({'red', 'green', 'blue', 'pink'}), hash('owl')]"])[0]
    )


@pytest.mark.parametrize("end", ["exit()", "raise SystemExit(0)", "import os; os._exit(0)", "import ctypes; ctypes.string_at(0)"])
def test_ending_early_is_no_way_to_pass(end: str) -> None:
    (verdict,) = run([f"{end}\nassert False"], SHORT)
    assert not verdict.passed and (verdict.stopped or verdict.why.startswith("SystemExit"))


def test_no_process_no_thread_no_signal() -> None:
    bomb = "import os\nwhile True:\n    os.fork()"
    others = tried(
        "os.fork()", "os.posix_spawn('/bin/sh', ['sh'], {})", "subprocess.run(['true'])", "os.execv('/bin/true', ['true'])",
        "threading.Thread(target=int).start()", "os.kill(os.getppid(), 9)", "os.kill(-1, 9)", "os.setpriority(0, os.getppid(), 19)",
        "__import__('multiprocessing').Process(target=int).start()", "os.unshare(0x10000000)", "os.setuid(1)",
        "__import__('resource').prlimit(os.getppid(), 0, (1, 1))", "__import__('resource').setrlimit(0, (60, 60))",
    )  # fmt: skip
    assert [v.why for v in run([bomb, others], SHORT)] == ["PermissionError: [Errno 1] Operation not permitted", "passed"]


def test_a_child_that_would_outlive_is_never_born(tmp_path: Path) -> None:
    late = f"import subprocess\nsubprocess.Popen(['sh', '-c', 'sleep 1; touch {tmp_path}/late'], start_new_session=True)"
    (verdict,) = run([late], SHORT)
    assert verdict.why.startswith("PermissionError")
    time.sleep(1.2)
    assert list(tmp_path.iterdir()) == []


def test_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        name = f"\0ablate-test-{os.getpid()}"
        local.bind(name)
        local.listen()
        server.settimeout(0.2)
        local.settimeout(0.2)
        program = tried(
            f"socket.create_connection({server.getsockname()}, 1)", f"socket.socket(socket.AF_UNIX).connect({name!r})",
            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", "socket.socketpair()",
            "socket.getaddrinfo('localhost', 80)[0] and socket.socket()",
            "__import__('urllib.request').request.urlopen('http://127.0.0.1')",
        )  # fmt: skip
        plain = f"import socket\nsocket.create_connection({server.getsockname()}, 1)"
        assert [v.why for v in run([program, plain], SHORT)] == ["passed", "PermissionError: [Errno 1] Operation not permitted"]
        for listener in (server, local):
            with pytest.raises(TimeoutError):
                listener.accept()


def test_no_file_outside_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "precious"
    folder.mkdir()
    file = folder / "file"
    file.write_text("whole")
    file.chmod(0o640)
    held = os.open(file, os.O_RDWR)
    os.set_inheritable(held, True)
    before = file.stat()
    program = tried(
        f"os.remove({str(file)!r})", f"os.rename({str(file)!r}, 'mine')", f"shutil.rmtree({str(folder)!r})", f"open({str(file)!r}, 'w')",
        f"open({str(file)!r}, 'a')", f"os.open({str(file)!r}, os.O_RDONLY | os.O_TRUNC)", f"os.truncate({str(file)!r}, 0)",
        f"os.chmod({str(file)!r}, 0)", f"os.chown({str(file)!r}, 1, 1)", f"os.utime({str(file)!r}, (0, 0))", f"os.link({str(file)!r}, 'l')",
        f"os.symlink({str(file)!r}, 's'); open('s', 'w')", f"os.mkdir({str(folder / 'new')!r})", f"os.rmdir({str(folder)!r})",
        f"os.setxattr({str(file)!r}, 'user.a', b'a')", f"open({str(folder / 'new')!r}, 'x')", f"os.write({held}, b'gone')",
        f"os.mkfifo({str(folder / 'new')!r})", "open('/proc/self/oom_score_adj', 'w')", "open('/dev/shm/ablate-test', 'w')",
        "os.chroot('.')",
    )  # fmt: skip
    plain = f"import shutil\nshutil.rmtree({str(folder)!r})"
    verdicts = run([program, plain], SHORT)
    os.close(held)
    assert [v.passed for v in verdicts] == [True, False]
    after = file.stat()
    assert file.read_text() == "whole" and os.listdir(folder) == ["file"]
    kept = ("st_mode", "st_uid", "st_mtime_ns", "st_ino", "st_nlink", "st_size")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]


@pytest.mark.skipif(landlock() < 3, reason="the kernel has no Landlock of version 3 or later: nothing can be written")
def test_its_own_folder_is_there_to_write_in(tmp_path: Path) -> None:
    program = """
import os, tempfile
assert os.listdir() == [] and os.getcwd() == tempfile.gettempdir() == os.path.expanduser("~")
with open("a.txt", "w") as f:
    f.write("owl")
os.mkdir("d"); os.rename("a.txt", "d/b.txt"); assert open("d/b.txt").read() == "owl"
with tempfile.TemporaryDirectory() as d, tempfile.NamedTemporaryFile(dir=d) as f:
    f.write(b"1")
raise ValueError(os.getcwd())
"""
    (verdict,) = run([program], SHORT)
    assert verdict.why.startswith("ValueError: /"), verdict
    assert not Path(verdict.why.partition(": ")[2]).exists()


def test_nothing_of_the_user_s_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_TEST_TOKEN", "secret")
    (tmp_path / "secret").write_text("secret")
    assert run(["import os\nassert 'ABLATE_TEST_TOKEN' not in os.environ"], SHORT)[0].passed
    if landlock() < 1:
        pytest.skip("the kernel has no Landlock: files that the user may read can be read")
    program = tried(
        f"open({str(tmp_path / 'secret')!r})", f"os.listdir({str(tmp_path)!r})", "open('/etc/passwd')",
        "open('/proc/%d/environ' % os.getppid())",
        "open('/proc/self/mem', 'rb')", f"open({__file__!r})",
    )  # fmt: skip
    assert run([program], SHORT)[0].why == "passed"


def test_time_memory_output_and_disk_are_bounded() -> None:
    loops = [
        "while True: pass",
        "while True: print('flood' * 1000)",
        "import signal\nsignal.signal(signal.SIGXCPU, print)\nwhile True: pass",
    ]
    hogs = ["x = bytearray(10**11)", "x = []\nwhile True: x.append(bytearray(2**24))"]
    began = time.monotonic()
    looped, flooded, stubborn = run(loops, SHORT)
    hog, hogs_on = run(hogs, Limits(memory_bytes=2**28))
    assert (looped.why, flooded.why) == ("used more than 1 s of processor time",) * 2 and looped.stopped and flooded.stopped
    assert not stubborn.passed and stubborn.why == "ended by SIGKILL"
    assert (hog.why, hogs_on.why) == ("MemoryError", "MemoryError")
    asleep = run(["import time\ntime.sleep(1000)"], Limits(wall_seconds=0.5))[0]
    assert asleep.why == "ran longer than 0.5 s" and asleep.stopped
    assert time.monotonic() - began < 60


@pytest.mark.skipif(landlock() < 3, reason="the kernel has no Landlock of version 3 or later: nothing can be written")
def test_the_disk_is_not_filled() -> None:
    large = "with open('f', 'wb') as f:\n    while True: f.write(bytes(2**16))"
    many = "import itertools\nfor i in itertools.count():\n    with open(str(i), 'wb') as f: f.write(bytes(2**19))"
    empty = "import itertools\nfor i in itertools.count(): open(str(i), 'wb').close()"
    first, *rest = run([large, many, empty], Limits(cpu_seconds=5, folder_bytes=2**22))
    assert first.why == "OSError: [Errno 27] File too large"
    assert [v.why for v in rest] == ["wrote more than 4194304 bytes or 1000 files"] * 2


def test_it_ends_with_the_one_who_started_it(tmp_path: Path) -> None:
    script = "from ablate.evals.sandbox import run\nrun(['import time\\ntime.sleep(1000)'])"
    parent = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "TMPDIR": str(tmp_path)})
    children: list[str] = []
    deadline = time.monotonic() + 60
    while not children and time.monotonic() < deadline:
        time.sleep(0.05)
        tasks = Path(f"/proc/{parent.pid}/task")
        children = [pid for task in tasks.iterdir() for pid in (task / "children").read_text().split()]
    time.sleep(0.3)
    assert children and Path(f"/proc/{children[0]}").exists()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while Path(f"/proc/{children[0]}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{children[0]}").exists()


FORBID = """
import ctypes, errno, json
from ablate.errors import UsageError
from ablate.evals.sandbox import check, run
library = ctypes.CDLL("libseccomp.so.2")
library.seccomp_init.restype = ctypes.c_void_p
context = ctypes.c_void_p(library.seccomp_init(0x7FFF0000))
for call in calls:
    number = call if isinstance(call, int) else library.seccomp_syscall_resolve_name(call)
    assert library.seccomp_rule_add_array(context, 0x00050000 | errno.ENOSYS, number, 0, None) == 0
assert library.seccomp_load(context) == 0
"""
"""A real filter, as a container or an older kernel has it; it holds for all that is started from now on."""
TRY = """
for ask in (lambda: check(True, "humaneval"), lambda: run(["open(__import__('os').environ['HOME'] + '/ran', 'w')", "print()"])):
    try:
        ask()
    except UsageError as e:
        print(e)
"""


def under_a_filter(calls: list[bytes | int], script: str) -> list[str]:
    """What a script prints where these system calls are not to be had."""
    said = subprocess.run([sys.executable, "-c", f"calls = {calls}\n{FORBID}{script}"], capture_output=True, text=True, timeout=60)
    assert said.stderr == "", said
    return said.stdout.splitlines()


def test_where_it_cannot_be_confined_nothing_is_executed() -> None:
    lines = under_a_filter([b"seccomp", b"prctl"], TRY)
    assert len(lines) == 2 and all(line.startswith("generated code is not executed here") and "libseccomp2" in line for line in lines)
    check(True, "humaneval")  # here it can be


def test_without_landlock_nothing_can_be_written_anywhere(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("whole")
    file = str(tmp_path / "file")
    program = tried(
        f"os.remove({file!r})", f"open({file!r}, 'w')", f"os.open({file!r}, os.O_RDONLY | os.O_TRUNC)", f"os.truncate({file!r}, 0)",
        "open('mine', 'w')", "os.mkdir('mine')", "os.open('.', os.O_TMPFILE | os.O_WRONLY)", "socket.socket()", "os.fork()",
    )  # fmt: skip
    useful = "import json, hashlib, random, typing, heapq\nassert hashlib.md5(b'owl').hexdigest()"
    lines = under_a_filter([444], f"print(json.dumps([v.why for v in run([{program!r}, {useful!r}])]))")
    assert lines == ['["passed", "passed"]']
    assert (tmp_path / "file").read_text() == "whole" and os.listdir(tmp_path) == ["file"]


def test_many_at_once_from_threads() -> None:
    verdicts: dict[int, list[bool]] = {}

    def work(number: int) -> None:
        verdicts[number] = [v.passed for v in run([f"assert {number} == {i}" for i in range(3)], SHORT)]

    threads = [Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == {number: [number == i for i in range(3)] for number in range(3)}
