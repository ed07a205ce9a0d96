"""Overlap of what the runs of a study read with what they are asked, measured beside the shards and recorded by the driver."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from ablate import audit, prepare, resolve
from ablate.data.stream import Stream
from ablate.scored import Wanted
from ablate.store.store import Store
from ablate.study.load import load
from ablate.workspace import Workspace
from tests.studies import TINY, write


def leaking(folder: Path) -> str:
    """A web source in which the first ten items of which_kind stand as they are, among other text."""
    items = Wanted(load(write(folder)).evaluate, load(write(folder)).data).benchmarks(fresh=False)
    which = next(b for b in items if (b.name, b.register) == ("which_kind", "page"))
    rows = [f"Page {n}. " + " ".join(f"word{k}" for k in random.Random(n).choices(range(500), k=60)) for n in range(300)]
    for n, item in enumerate(which.items[:10]):
        rows[20 * n] += f" {item.text} and so on."
    path = folder / "leaked.jsonl"
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    return TINY.replace("builtin:web", f"{{files: {path}}}").replace("synthetic_ratio: [0, 1]", "synthetic_ratio: [0]") + "\n"


@pytest.fixture
def asked(tmp_path: Path) -> tuple[list[Stream], list[audit.Benchmark], Workspace]:
    study = load(write(tmp_path, leaking(tmp_path)), None, ["data.max_epochs=100"])
    space, runs = Workspace(tmp_path), resolve.runs(study)
    prepare.prepare(runs, study.evaluate, space, 1)
    return [*prepare.streams(runs, space)], Wanted(study.evaluate, study.data).benchmarks(fresh=True), space


def test_what_leaked_is_found(asked: tuple[list[Stream], list[audit.Benchmark], Workspace], monkeypatch: pytest.MonkeyPatch) -> None:
    streams, benchmarks, space = asked
    audit.measure(streams, benchmarks[:2], space, 1)
    (stream,) = streams
    first = audit.found_in(stream, space)
    audit.measure(streams, benchmarks[2:], space, 1)
    found = audit.found_in(stream, space)
    assert found[: len(first)] == first, "what another study asked for stays"
    assert len(found) == len(benchmarks) * 8
    shares = {(r["benchmark"], r["register"], r["fresh"], r["method"]): r for r in found}
    for method in ("gpt3", "palm", "gpt4", "llama2_10"):
        leaked = shares["which_kind", "page", False, method]
        held_out = 2  # of fifty documents one is held out, and no run trains on it
        assert sum(dirty for item, _, dirty in leaked["rows"] if item < 10) >= 10 - held_out, f"{method}: {leaked}"
        assert leaked["contaminated"] <= 12 or method == "llama2_10", "10 tokens of such a tokenizer are three words"
        assert shares["grammar", "page", False, method]["contaminated"] == 0
    before = (stream.open(space).folder / audit.FILE).stat().st_mtime_ns
    audit.measure(streams, benchmarks[:3], space, 1)
    assert (stream.open(space).folder / audit.FILE).stat().st_mtime_ns == before, "nothing is missing"
    monkeypatch.setattr(audit, "PART_TOKENS", 3000)
    monkeypatch.setattr(audit, "OVERLAP_VERSION", -1)
    audit.measure(streams, benchmarks, space, 1)
    assert audit.found_in(stream, space) == found, "in parts"


def test_two_audits_at_once_and_tokens_that_grow_meanwhile(
    asked: tuple[list[Stream], list[audit.Benchmark], Workspace],
) -> None:
    streams, benchmarks, space = asked
    for wanted in (benchmarks[:2], benchmarks[1:3]):  # both begun before one of them ends
        parts = [part for stream in streams for part in audit._missing(stream, wanted, space)]
        audit.measure(streams, benchmarks[:1], space, 1)
        audit._gather(parts, map(audit.Part.search, parts))
    found = [(row["benchmark_digest"], row["method"]) for row in audit.found_in(streams[0], space)]
    assert len(found) == len(set(found)) == 3 * 8
    grown = [replace(part, content="fewer tokens") for part in audit._missing(streams[0], benchmarks[3:], space)]
    audit._gather(grown, map(audit.Part.search, grown))
    assert len(audit.found_in(streams[0], space)) == len(found), "what was looked through is not all there is"


def test_what_another_version_found_takes_the_place_in_the_store(
    asked: tuple[list[Stream], list[audit.Benchmark], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    streams, benchmarks, space = asked
    with Store.open(space.database) as store:
        versions = []
        for version in (1, 2, 2):
            monkeypatch.setattr(audit, "OVERLAP_VERSION", version)
            audit.measure(streams, benchmarks[:1], space, 1)
            audit.record(streams, space, store)
            versions.append(store.overlap_known())
    assert versions[0] != versions[1] == versions[2]


@pytest.mark.slow
def test_parts_by_two_processes(asked: tuple[list[Stream], list[audit.Benchmark], Workspace], monkeypatch: pytest.MonkeyPatch) -> None:
    streams, benchmarks, space = asked
    audit.measure(streams, benchmarks, space, 1)
    found = audit.found_in(streams[0], space)
    monkeypatch.setattr(audit, "PART_TOKENS", 3000)
    (streams[0].open(space).folder / audit.FILE).unlink()
    audit.measure(streams, benchmarks, space, 2)
    assert audit.found_in(streams[0], space) == found


@pytest.mark.parametrize("action", ["drop_document", "remove_span"])
def test_what_is_kept_out_is_not_there(tmp_path: Path, action: str) -> None:
    rules = f"\n  decontaminate: {{against: ['builtin:which_kind'], action: {action}, n: 8}}\ntrain:"
    study = load(write(tmp_path, leaking(tmp_path).replace("\ntrain:", rules)), None, ["data.max_epochs=100"])
    plain = study.model_copy(update={"data": study.data.model_copy(update={"decontaminate": None})})
    assert not {run.digest for run in resolve.runs(study)} & {run.digest for run in resolve.runs(plain)}
    space, runs = Workspace(tmp_path), resolve.runs(study)
    prepare.prepare(runs, study.evaluate, space, 1)
    (stream,) = prepare.streams(runs, space)
    tally = json.loads((stream.open(space).folder / "manifest.json").read_text())["hygiene"]
    assert tally["dropped"].get("contaminated", 0) + tally["cut"].get("contaminated_span", 0) >= 8, tally
    assert tally["read"] == tally["kept"] + sum(tally["dropped"].values())
    audit.measure([stream], Wanted(study.evaluate, study.data).benchmarks(fresh=False), space, 1)
    found = {(r["benchmark"], r["method"]): r["contaminated"] for r in audit.found_in(stream, space)}
    assert found["which_kind", "gpt3"] == 0
    assert prepare.usage(runs[0], space)[0].shards == stream.open(space).folder.name, "what the jobs read"
