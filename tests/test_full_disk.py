"""A disk that is really full: a small file system in memory, mounted in a name space of its own, so that nothing of it is left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from ablate.data import shards, tokenizer
from ablate.errors import DiskFullError
from ablate.evals.benchmarks import catalogue
from ablate.evals.kept import Kept
from ablate.study.spec import Benchmark, Data, Source, Tokenizer
from ablate.train import checkpoint
from ablate.workspace import Workspace, read_json, write_json
from tests.studies import TINY, start, typed, write, written

INSIDE = ["unshare", "--map-root-user", "--mount"]
WEB = Source(builtin="web")


def can_mount() -> bool:
    """Whether this system lets us make a file system of our own: as root, or by user name spaces."""
    if shutil.which("unshare") is None:
        return False
    probe = subprocess.run([*INSIDE, "mount", "-t", "tmpfs", "-o", "size=64k", "none", "/mnt"], capture_output=True, check=False)
    return probe.returncode == 0


needs_a_disk = pytest.mark.skipif(not can_mount(), reason="no file system of a chosen size can be mounted here (unshare --mount)")


def on_a_small_disk(kilobytes: int, folder: Path, what: str) -> Any:
    """The JSON that the function `what` of this module prints, given a folder on a disk of so many kilobytes and one on another."""
    disk = folder / "disk"
    disk.mkdir()
    call = f"import sys; from tests import test_full_disk as t; t.{what}(t.Path(sys.argv[1]), t.Path(sys.argv[2]))"
    script = 'mount -t tmpfs -o size="$1"k none "$2" && exec "$3" -c "$4" "$2" "$5"'
    done = subprocess.run(
        [*INSIDE, "sh", "-c", script, "sh", str(kilobytes), str(disk), sys.executable, call, str(folder)],
        capture_output=True, text=True, timeout=500, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def fill(disk: Path) -> Path:
    """A file that leaves no room for another byte."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError:
            return filler


def sentence(work: Any) -> str | None:
    """What the DiskFullError says that `work` must raise; None where it raises none."""
    try:
        work()
    except DiskFullError as e:
        return str(e)
    return None


def parts(disk: Path, elsewhere: Path) -> None:
    """A checkpoint, an outcome, token shards and requests: written, refused by a full disk, written after all."""
    data = Data(web=WEB, tokenizer=Tokenizer(train_bpe=400))
    tokenizer.prepare(data, Workspace(elsewhere))
    digest = tokenizer.definition(data)
    made = tokenizer.load(Workspace(elsewhere).tokenizers / digest)

    def save(step: int) -> None:
        checkpoint.save(disk, "trunk", {"a": torch.full((20_000,), float(step))}, {"step": step})
        write_json(disk / "outcome.json", {"step": step, "much": "x" * 10_000})

    def build(space: Path, tokens: int) -> str:
        shards.prepare(WEB, 0, digest, made, tokens, Workspace(space))
        (manifest,) = Workspace(space).data.glob("*/manifest.json")
        return str(read_json(manifest)["content"])

    def ask() -> None:
        benchmark, *_ = catalogue([Benchmark(builtin="grammar")], fresh=False)
        Kept(made, digest, (), 64, Workspace(disk).requests).requests(benchmark, shared=True)

    def state() -> list[Any]:
        loaded = checkpoint.load(disk, "trunk")
        return [loaded and loaded[1]["step"], loaded and float(loaded[0]["a"].sum()), read_json(disk / "outcome.json")["step"]]

    save(1)
    build(disk, 20_000)
    filler = fill(disk)
    outcome = disk / "outcome.json"
    refused = [sentence(work) for work in (lambda: save(2), lambda: write_json(outcome, "x" * 10_000), lambda: build(disk, 200_000), ask)]
    during = state()
    left = sorted(path.name for path in disk.iterdir())
    filler.unlink()
    save(2)
    ask()
    print(json.dumps([refused, during, left, state(), build(disk, 200_000) == build(elsewhere / "undisturbed", 200_000)]))


@needs_a_disk
def test_a_full_disk_is_a_sentence_and_overwrites_nothing(tmp_path: Path) -> None:
    refused, during, left, after, same_shards = on_a_small_disk(2_000, tmp_path, "parts")
    assert all(said and "no room left on the disk while writing" in said and "free some space" in said for said in refused)
    assert during == [1, 20_000.0, 1] and left == ["filler", "outcome.json", "runs", "trunk.safetensors"]
    assert after == [2, 40_000.0, 2]
    assert same_shards


def study(disk: Path, _elsewhere: Path) -> None:
    """`ablate run` on a disk that fills up while it trains, and again when there is room."""
    write(disk, TINY.replace("[60k, 120k]", "[120k]").replace("[0, 1]", "[1]"))
    driver = start("run", "tiny.yaml", cwd=disk)
    deadline = time.monotonic() + 120
    while not written(disk, "runs/families/*/metrics.jsonl"):
        assert driver.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    filler = fill(disk)
    out, err = driver.communicate(timeout=200)
    filler.unlink()
    again = typed("run", "tiny.yaml", cwd=disk)
    fill(disk)
    print(json.dumps([driver.returncode, out + err, again, typed("plot", cwd=disk, status=1)]))


@pytest.mark.slow
@needs_a_disk
def test_a_study_whose_disk_fills_up_goes_on_when_there_is_room(tmp_path: Path) -> None:
    status, said, again, plot = on_a_small_disk(40_000, tmp_path, "study")
    assert status == 1 and "no room left on the disk" in said and "run the same command again" in said and "Traceback" not in said, said
    assert "1 runs: 0 done, 1 to go" in again and "failed" not in again
    assert "no room left on the disk" in plot
