"""`ablate data`: what a person sees of a study's text, and the same as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from ablate.cli import cli
from ablate.data_verbs import Inspection, Read, inspection_text
from ablate.errors import StudyError
from tests.studies import TINY, write
from tests.test_audit import leaking


def data(verb: str, folder: Path, *more: str) -> str:
    done = CliRunner().invoke(cli, ["data", verb, str(folder / "tiny.yaml"), "--folder", str(folder), *more], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def one_core() -> Iterator[None]:
    """With two, the tokens of two sources would be built by processes of their own, which take longer to start than to build these."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of a web source with ten leaked items, copies of documents and two that are too short, and an embedded one."""
    folder = tmp_path_factory.mktemp("data")
    text = leaking(folder).replace("synthetic_ratio: [0]", "synthetic_ratio: [0, 1/4]")
    rows = (folder / "leaked.jsonl").read_text().splitlines()
    more = [json.dumps({"text": text}) for text in ("tiny", "wee", json.loads(rows[7])["text"] + " changed")]
    (folder / "leaked.jsonl").write_text("\n".join([*rows, rows[5], *more]))
    write(
        folder,
        text.replace("leaked.jsonl}", "leaked.jsonl, hygiene: {min_chars: 10}}").replace("seq_len: 64", "seq_len: 64\n  max_epochs: 99"),
    )
    return folder


def test_inspect_says_what_is_there_and_what_was_dropped(folder: Path) -> None:
    shown = json.loads(data("inspect", folder, "--format", "json"))
    sources = {read["source"]: read for read in shown["sources"]}
    web = sources["web"]
    assert web["hygiene"]["dropped"] == {"duplicates": 1, "short": 2}
    assert web["hygiene"]["samples"]["short"] == ["tiny", "wee"]
    assert web["documents"] == web["hygiene"]["kept"] - web["hygiene"]["held_out"]
    assert web["near_duplicates"] == 1 and web["whole"]
    assert web["tokens_per_byte"] == pytest.approx(web["tokens"] / web["bytes"])
    assert sources["synthetic"]["hygiene"] == {} and not sources["synthetic"]["whole"]
    assert (web["most_read"], sources["synthetic"]["most_read"]) == (120_000, 120_000 // 64 // 4 * 64)
    arms = {json.dumps(arm["shares"]): [one["source"] for one in arm["sequences"]] for arm in shown["arms"]}
    assert arms['{"synthetic": "1/4", "web": "3/4"}'] == ["web", "web", "web", "synthetic"] * 2
    text = data("inspect", folder)
    assert "dropped: duplicates 1, short 2" in text
    assert "not looked for yet" in text
    assert f"0.12M tokens by the hungriest run ({120_000 / web['tokens']:.2g} epochs)" in text
    assert "the first sequences of an arm with synthetic 1/4, web 3/4 (seed 0)" in text


def test_inspect_says_what_it_means_that_nothing_is_held_out() -> None:
    counts = {"read": 9, "kept": 9, "held_out": 0, "dropped": {}, "samples": {}}
    read = Read("web", "0123", 9, 90, 300, 0.3, True, 90, counts, 0, 9, {}, [])
    endless, one = replace(read, whole=False), replace(read, hygiene=counts | {"held_out": 1})
    told = ["NULL" in inspection_text(Inspection("tiny", [shown], [])) for shown in (read, endless, one)]
    assert told == [True, False, False]


def test_audit_finds_what_leaked_and_inspect_then_shows_it(folder: Path) -> None:
    assert (folder / "results.db").exists() is False, "nothing has run"
    rows = json.loads(data("audit", folder, "--format", "json"))
    leaked = {
        r["method"]: r["contaminated"]
        for r in rows
        if (r["source"], r["benchmark"], r["register"], r["fresh"]) == ("web", "which_kind", "page", False)
    }
    assert 8 <= leaked["palm"] <= 12
    lines = data("audit", folder).splitlines()
    assert lines[0].split()[:5] == ["source", "benchmark", "items", "gpt3", "palm"]
    shown = {tuple(line.split()[:2]): line.split()[2:] for line in lines}
    assert shown["web", "which_kind"][0] == "608" and shown["web", "which_kind"][1].endswith("/608"), "both registers; 8 words and more"
    grammar = [r for r in rows if (r["source"], r["benchmark"], r["method"], r["fresh"]) == ("web", "grammar", "gpt3", False)]
    told = sum(r["items"] - r["untold"] for r in grammar)
    assert 0 < told < sum(r["items"] for r in grammar) and shown["web", "grammar"][1] == f"0/{told}"
    assert "overlap     which_kind: gpt3" in data("inspect", folder)


def test_prepare_builds_and_refuses_as_run_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, TINY)
    assert "synthetic: " in data("prepare", tmp_path)
    assert len([*(tmp_path / "runs" / "data").glob("*/manifest.json")]) == 2
    assert len([*(tmp_path / "runs" / "requests").glob("*.bin")]) == 8, "two benchmarks in two registers, each with its fresh twin"
    write(tmp_path, leaking(tmp_path))
    asked = ["data", "prepare", str(tmp_path / "tiny.yaml"), "--folder", str(tmp_path), "grid.tokens=[400k]", "data.max_epochs=2"]
    with pytest.raises(StudyError, match="epochs"):
        cli.main(asked, standalone_mode=False)
    assert capsys.readouterr().err.splitlines() == [f"tokenising files: {tmp_path / 'leaked.jsonl'} (0 MB)"]
