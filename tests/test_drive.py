"""The main job, as a user runs it: real processes, really killed, and always the same numbers at the end."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.launch.base import held
from ablate.leave import signals_as_interrupt
from ablate.store.store import Store
from ablate.train import device
from ablate.verbs import ingest
from ablate.workspace import Workspace, write_json
from tests.studies import TINY, ablate, numbers, start, typed, write, written

PAIRS = "".join(f'{{"sentence_good": "the cat {i} sleeps", "sentence_bad": "the cat {i} sleep", "UID": "agreement"}}\n' for i in range(20))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the tiny study ran to its end."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write(folder)
    ablate("run", "tiny.yaml", cwd=folder)
    return folder


def with_data_of(other: Path, folder: Path) -> Path:
    """A new folder that has the prepared data already, so that kills land in training and scoring."""
    folder.mkdir(exist_ok=True)
    write(folder)
    for name in ("data", "tokenizers"):
        shutil.copytree(other / "runs" / name, folder / "runs" / name)
    return folder


def workers(folder: Path) -> dict[str, int]:
    """Job → process of those that hold their job's lock now."""
    return {p.parent.name: json.loads(p.read_text())["pid"] for p in folder.glob("runs/jobs/*/lock") if p.read_text() and held(p)}


def signal_all(folder: Path, number: signal.Signals) -> None:
    """To every worker of the folder."""
    for pid in workers(folder).values():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def wait_for(condition: Callable[[], bool], seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def at_work(folder: Path, since: float) -> bool:
    """Whether a worker that started after `since` has come so far as to carry a run."""
    return any(p.stat().st_mtime >= since for p in folder.glob("runs/*/run.json"))


def test_a_study_runs_to_its_end(undisturbed: Path) -> None:
    rows = numbers(undisturbed)
    assert [row[1] for row in rows[:4]] == ["done"] * 4
    plots = undisturbed / "plots" / "tiny"
    assert {p.suffix for p in plots.iterdir()} == {".png", ".svg", ".csv"}


def test_what_was_predicted_stands_beside_what_was(undisturbed: Path) -> None:
    columns = "predicted_memory_bytes, peak_memory_bytes, predicted_device_hours from results order by started"
    _, rows = Store.read_only(undisturbed / "results.db").query(f"select {columns}")
    for predicted, actual, _ in rows:
        assert actual == pytest.approx(predicted, rel=0.25)  # eager, which holds less than the compiled jobs that the sum is for
    known = json.loads((undisturbed / "runs" / "speed.json").read_text())
    assert [row["from"] for row in known.values()] == ["as a run took"]
    assert max(actual for _, actual, _ in rows) == next(iter(known.values()))["job_bytes"]


def test_what_generating_costs_is_measured_once_a_shape(undisturbed: Path) -> None:
    _, rows = Store.read_only(undisturbed / "results.db").query(
        "select ms_per_token, ms_per_token_after_prompt, inference_memory_bytes, generate_batch from results"
    )
    assert len(rows) == 4 and all(value > 0 for row in rows for value in row)
    assert len(list(undisturbed.glob("runs/latency/*.json"))) == 1


def test_benchmarks_are_tokenised_once_before_the_jobs(undisturbed: Path) -> None:
    made = [path.stat().st_mtime_ns for path in undisturbed.glob("runs/requests/*")]
    began = [path.stat().st_mtime_ns for path in undisturbed.glob("runs/jobs/*/job.json")]
    assert len(made) == 8 and len(began) == 2  # two benchmarks in two registers, each with its twin
    assert max(made) < min(began)


def test_every_number_of_a_run_is_in_its_folder(undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed / "runs", tmp_path / "runs", ignore=shutil.ignore_patterns("model", "families", "data"))
    assert ingest(Workspace(tmp_path)).startswith("4 runs recorded")
    for what in (
        "run, status, final_loss, bits_per_byte, train_seconds, ms_per_token, inference_memory_bytes from runs order by run",
        "run, benchmark, register, fresh, score, stderr, bits_per_byte, benchmark_digest from benchmark_scores order by 1, 2, 3, 4",
        "run, item, correct, logprob from item_answers a join benchmark_scores b on b.id = score_id order by b.digest, item",
    ):
        before, now = (Store.read_only(folder / "results.db").query(f"select {what}")[1] for folder in (undisturbed, tmp_path))
        assert now == before and before


def test_the_same_command_again_changes_nothing(undisturbed: Path) -> None:
    before = numbers(undisturbed)
    stamps = {p: p.stat().st_mtime_ns for p in undisturbed.rglob("*.safetensors")}
    began = time.process_time()
    assert "nothing to train" in typed("run", "tiny.yaml", cwd=undisturbed)
    assert time.process_time() - began < 10  # of CPU, so that what else the machine does counts for nothing
    assert numbers(undisturbed) == before
    assert {p: p.stat().st_mtime_ns for p in undisturbed.rglob("*.safetensors")} == stamps


def test_an_audit_that_a_killed_driver_did_not_make_is_made(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(undisturbed, folder)
    clean = "select run, benchmark, register, fresh, score_clean, n_clean from benchmark_scores order by 1, 2, 3, 4"
    with contextlib.closing(sqlite3.connect(folder / "results.db")) as db, db:
        before = db.execute(clean).fetchall()
        for table in ("overlaps", "item_overlaps"):
            db.execute(f"delete from {table}")
        db.execute("update benchmark_scores set score_clean = null, n_clean = null")
    for path in folder.glob("runs/data/*/overlap.json"):
        path.unlink()
    assert any(row[-1] for row in before)
    assert "nothing to train" in typed("run", "tiny.yaml", cwd=folder)
    with contextlib.closing(sqlite3.connect(folder / "results.db")) as db:
        assert db.execute(clean).fetchall() == before


def test_a_level_and_a_benchmark_more_retrain_nothing(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(undisturbed, folder)
    before = {row[0]: row for row in numbers(folder)[:4]}
    weights = {p: p.read_bytes() for p in folder.glob("runs/*/model/model.safetensors")}
    write(folder, TINY.replace("tokens: [60k, 120k]", "tokens: [60k, 120k, 180k]"))
    assert "6 runs: 4 done, 2 to go" in typed("run", "tiny.yaml", cwd=folder)
    after = {row[0]: row for row in numbers(folder)[:6]}
    assert {digest: after[digest] for digest in before} == before
    predicted = "select sum(predicted_device_hours > 0), sum(predicted_device_hours is null), count(*) from results"
    assert typed("query", predicted, "--format", "csv", cwd=folder).splitlines()[1] == "2,4,6"  # the first ones met an unknown machine

    (folder / "pairs.jsonl").write_text(PAIRS)
    (folder / "extra.txt").write_text("The cat sat on the mat and the dog saw it.\n" * 50)
    benchmarks = "[builtin:grammar, builtin:which_kind, {task: blimp, files: pairs.jsonl, name: pairs}]"
    more = [f"evaluate.benchmarks={benchmarks}", "data.held_out={extra: {files: extra.txt}}", "launch.with=inline"]
    assert "4 runs: 0 done, 4 to go" in typed("run", "tiny.yaml", "grid.tokens=[60k, 120k]", *more, cwd=folder)
    assert {p: p.read_bytes() for p in weights} == weights
    counts = "select (select count(*) from scores where benchmark = 'pairs'), (select count(*) from text_losses where text = 'extra')"
    assert typed("query", counts, "--format", "csv", cwd=folder).splitlines()[1] == "4,4"
    assert typed("query", predicted, "--format", "csv", cwd=folder).splitlines()[1] == ",4,4", "nothing is predicted afterwards"
    assert "nothing to train" in typed("run", "tiny.yaml", "grid.tokens=[60k, 120k]", *more, cwd=folder)


@pytest.mark.parametrize(("ratios", "kills"), [("[1]", 2), pytest.param("[0, 1]", 3, marks=pytest.mark.slow)])
def test_stopped_and_killed_at_random_moments_the_numbers_are_the_same(undisturbed: Path, tmp_path: Path, ratios: str, kills: int) -> None:
    """First Ctrl-C; then driver and workers are killed together, each time after a worker has begun."""
    folder, rng, asked = with_data_of(undisturbed, tmp_path), random.Random(kills), ("tiny.yaml", f"grid.synthetic_ratio={ratios}")
    for number in [signal.SIGINT] + [signal.SIGKILL] * kills:
        began = time.time()
        driver = start("run", *asked, cwd=folder)
        wait_for(lambda: at_work(folder, began) or driver.poll() is not None)  # noqa: B023
        if number == signal.SIGKILL:
            time.sleep(rng.uniform(0, 3))
            signal_all(folder, number)
        driver.send_signal(number)
        out, err = driver.communicate(timeout=60)
        if number == signal.SIGINT:
            assert driver.returncode == 130 and "the same command goes on" in out + err, out + err
            assert not workers(folder)
        signal_all(folder, signal.SIGKILL)
    typed("run", *asked, cwd=folder)
    found = numbers(folder)
    assert found == [row for row in numbers(undisturbed) if row[0] in {row[0] for row in found}]


def test_stopped_while_it_starts_its_first_job_it_leaves_at_once(undisturbed: Path, tmp_path: Path) -> None:
    folder = with_data_of(undisturbed, tmp_path)
    driver = start("run", "tiny.yaml", cwd=folder)
    wait_for(lambda: bool(written(folder, "runs/jobs/*/slot")))
    asked = time.monotonic()
    driver.send_signal(signal.SIGINT)
    out, err = driver.communicate(timeout=60)
    assert driver.returncode == 130 and "the same command goes on" in out + err and "Traceback" not in err, out + err
    assert time.monotonic() - asked < 10 and not workers(folder)


@pytest.mark.slow
def test_stopped_and_killed_while_it_prepares_it_prepares_the_same(undisturbed: Path, tmp_path: Path) -> None:
    write(tmp_path)
    for number, status in ((signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)):
        began = time.time()
        driver = start("run", "tiny.yaml", cwd=tmp_path)
        wait_for(lambda began=began: any(file.st_mtime >= began for file in written(tmp_path, "runs/data/*/*").values()))  # type: ignore[misc]
        driver.send_signal(number)
        asked = time.monotonic()
        out, err = driver.communicate(timeout=60)
        assert driver.returncode == status and "Traceback" not in err, out + err
        assert time.monotonic() - asked < 20, "what builds for it leaves too"
        assert not workers(tmp_path), "it was stopped before any job"
    typed("data", "prepare", "tiny.yaml", cwd=tmp_path)
    assert prepared(tmp_path) == prepared(undisturbed)


def prepared(folder: Path) -> dict[Path, bytes]:
    """What the jobs of a folder read: its tokenizer and its token shards."""
    files = [*folder.glob("runs/tokenizers/*/tokenizer.json"), *folder.glob("runs/data/*/tokens.bin")]
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_a_new_driver_adopts_the_jobs_of_a_killed_one(undisturbed: Path, tmp_path: Path) -> None:
    folder = with_data_of(undisturbed, tmp_path)
    driver = start("run", "tiny.yaml", cwd=folder)
    wait_for(lambda: bool(workers(folder)))
    alive = workers(folder)
    driver.kill()  # at once: the workers are still importing
    driver.communicate()
    assert workers(folder).items() >= alive.items(), "workers outlive their driver"
    typed("run", "tiny.yaml", cwd=folder)
    carried = [
        run["digest"] for path in folder.glob("runs/jobs/*/job.json") for runs in json.loads(path.read_text())["families"] for run in runs
    ]
    assert len(carried) == len(set(carried)) == 4, "nothing was started a second time"
    assert numbers(folder) == numbers(undisturbed)


def test_forked_jobs_make_the_same_bits_as_processes_of_their_own(undisturbed: Path, tmp_path: Path) -> None:
    assert weights(spawned(undisturbed, tmp_path)) == weights(undisturbed)


@pytest.mark.slow
@pytest.mark.skipif(not device.can_compile(), reason="torch.compile needs a C++ compiler, and there is none here")
def test_so_do_forked_jobs_that_compile(undisturbed: Path, tmp_path: Path) -> None:
    forked = with_data_of(undisturbed, tmp_path / "forked")
    typed("run", "tiny.yaml", "launch.compile=true", "grid.synthetic_ratio=[1]", cwd=forked)
    assert weights(spawned(forked, tmp_path / "spawned")) == weights(forked)


def spawned(other: Path, folder: Path) -> Path:
    """A new folder in which the jobs of another were carried by processes of their own."""
    with_data_of(other, folder)
    for path in other.glob("runs/jobs/*/job.json"):
        again = folder / path.parent.relative_to(other)
        write_json(again / "job.json", {**json.loads(path.read_text()), "root": str(folder)})
        subprocess.run([sys.executable, "-m", "ablate.job", str(again)], check=True)
    return folder


def weights(folder: Path) -> dict[Path, bytes]:
    """Of every run."""
    found = {path.relative_to(folder): path.read_bytes() for path in folder.glob("runs/*/model/model.safetensors")}
    assert found
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_signals_to_the_driver_are_ctrl_c(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), signals_as_interrupt():
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert signal.getsignal(number) == before


def test_a_study_at_work_can_be_watched_and_loses_nothing_by_a_dead_worker(undisturbed: Path, tmp_path: Path) -> None:
    """Its workers are held still while they score fresh twins, so that it is at work however long the watching takes."""
    folder = with_data_of(undisturbed, tmp_path)
    driver = start("run", "tiny.yaml", cwd=folder)
    wait_for(lambda: any(folder.glob("runs/*/scores/*.fresh.*.json")))
    signal_all(folder, signal.SIGSTOP)
    try:
        run = next(path.parents[1].name for path in folder.glob("runs/*/scores/*.fresh.*.json"))
        assert f"process {driver.pid} on" in typed("run", "tiny.yaml", cwd=folder, status=2), "a second driver is refused"
        status = typed("status", cwd=folder)
        assert f"a driver is at work: process {driver.pid}" in status and "4 runs: " in status
        assert typed("query", "select count(*) from results", "--format", "csv", cwd=folder).split() == ["count(*)", "4"]
        typed("plot", cwd=folder)
        assert driver.poll() is None, "the study still runs"
        (job,) = (path.parent.name for path in folder.glob("runs/jobs/*/job.json") if run in path.read_text())
        os.kill(workers(folder)[job], signal.SIGKILL)
    finally:
        signal_all(folder, signal.SIGCONT)
    out, err = driver.communicate(timeout=200)
    assert driver.returncode == 0 and "killed by SIGKILL" in out, out + err
    assert numbers(folder) == numbers(undisturbed)


def test_a_diverging_run_fails_alone_and_is_tried_again(undisturbed: Path, tmp_path: Path) -> None:
    # a weight decay of 1e9 multiplies every matrix by -4e6 a step: infinite within ten steps
    text = TINY.replace("tokens: [60k, 120k]", "tokens: [60k]\n  train.optimizer.weight_decay: [1e9, 0.1]")
    text = text.replace("synthetic_ratio: [0, 1]", "synthetic_ratio: [1]")
    folder = with_data_of(undisturbed, tmp_path)
    write(folder, text.replace("name: tiny", "name: diverging").replace("slots: 2", "with: inline"))
    out = typed("run", "tiny.yaml", cwd=folder, status=1)
    assert "the loss became" in out or "the gradient's norm became" in out
    assert "1 of 2 runs failed; the same command tries them again" in out
    assert sorted(row[1] for row in numbers(folder)[:2]) == ["done", "failed"]
    assert "1 done, 1 failed" in typed("status", cwd=folder)
    assert "2 runs: 1 done, 1 to go" in typed("run", "tiny.yaml", cwd=folder, status=1)
