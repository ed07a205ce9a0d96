"""`ablate data inspect`, `prepare` and `audit`: what a study's text is, before anything is trained on it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import chain, islice
from typing import Any

import numpy as np

from ablate import audit as auditing
from ablate import prepare, resolve
from ablate.data import hygiene, tokenizer
from ablate.data.mixture import assign, counts
from ablate.data.stream import Stream
from ablate.jobs import cores
from ablate.launch.base import hold
from ablate.scored import Wanted
from ablate.store.store import Store
from ablate.study import spec
from ablate.study.grid import Run, digest
from ablate.study.quantities import format_count
from ablate.workspace import Workspace, read_json

SAMPLES = 2
SHOWN_CHARACTERS = 160
SEQUENCES = 8
NEAR_SAMPLE = 2000
"""Documents among which near-duplicates are counted."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""What a terminal would obey instead of showing it."""


@dataclass(frozen=True)
class Read:
    """One stream of a source, as the runs read it."""

    source: str
    folder: str
    documents: int
    tokens: int
    bytes: int
    tokens_per_byte: float
    whole: bool
    """Whether the source ends here."""
    most_read: int
    """Tokens that the hungriest run reads, repetitions counted."""
    hygiene: dict[str, Any]
    """What was kept and what was dropped and why, with samples; empty where nothing is done to the text."""
    near_duplicates: int
    """Among the first `near_of` documents."""
    near_of: int
    contaminated: dict[str, dict[str, tuple[int, int]]]
    """benchmark → method → items that stand in it, and of how many: those long enough for the method; empty before an audit."""
    samples: list[str]


@dataclass(frozen=True)
class Shown:
    """One sequence of an arm."""

    source: str
    text: str


@dataclass(frozen=True)
class Arm:
    """How the stream of a run begins."""

    shares: dict[str, str]
    seed: int
    sequences: list[Shown]


@dataclass(frozen=True)
class Inspection:
    """Everything that `inspect` shows."""

    study: str
    sources: list[Read]
    arms: list[Arm]


def inspect(study: spec.Study, space: Workspace, say: Callable[[str], None]) -> Inspection:
    """What the study reads. Its tokenizers and shards are built where they are missing; `say` is told of it."""
    runs = resolve.runs(study, space)
    prepare.build(runs, prepare.streams(runs, space), space, cores(), say)
    first = _of_first_seed(runs)
    names = {stream: name for run in first for name, stream in prepare.streams_of(run, space).items()}
    arms = {digest(run.recipe["data"]): run for run in first}
    return Inspection(
        study.name,
        [_read(names[stream], stream, tokens, space) for stream, tokens in _most_read(first, space).items()],
        [_arm(run, space) for run in arms.values()],
    )


def build(study: spec.Study, space: Workspace, say: Callable[[str], None]) -> list[Read]:
    """Tokenizers, shards and tokenised benchmarks of the whole study, made now, as `say` is told; refuses what `ablate run` would."""
    runs = resolve.runs(study, space)
    prepare.prepare(runs, study.evaluate, space, cores(), say)
    names = {stream: name for run in runs for name, stream in prepare.streams_of(run, space).items()}
    return [_read(names[stream], stream, tokens, space) for stream, tokens in _most_read(runs, space).items()]


def audit(study: spec.Study, space: Workspace, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Look for every benchmark item in every source, and record it where there is a results.db: rows of source, benchmark, register,
    fresh, method, items, contaminated, untold. `say` is told what is tokenised before."""
    runs = resolve.runs(study, space)
    prepare.build(runs, prepare.streams(runs, space), space, cores(), say)
    names = {stream: name for run in runs for name, stream in prepare.streams_of(run, space).items()}
    asked = Wanted(study.evaluate, runs[0].data).with_items()
    auditing.measure([*names], asked, space, cores())
    if space.database.exists():
        with hold(space.driver_lock, f"the folder {space.runs}"), Store.open(space.database) as store:
            auditing.record([*names], space, store)
    digests = {benchmark.digest for benchmark in asked}
    shown = ("benchmark", "register", "fresh", "method", "items", "contaminated", "untold")
    return [
        {"source": name, "folder": stream.open(space).folder.name, **{key: row[key] for key in shown}}
        for stream, name in names.items()
        for row in auditing.found_in(stream, space)
        if row["benchmark_digest"] in digests
    ]


def _of_first_seed(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.seed == runs[0].seed]


def _most_read(runs: Sequence[Run], space: Workspace) -> dict[Stream, int]:
    """Every stream with the tokens that its hungriest run reads."""
    most: dict[Stream, int] = {}
    for run in runs:
        data = run.recipe["data"]
        sequences = counts(run.tokens // data["seq_len"], [Fraction(share) for share in data["shares"].values()])
        for stream, count in zip(prepare.streams_of(run, space).values(), sequences, strict=True):
            most[stream] = max(most.get(stream, 0), count * data["seq_len"])
    return most


def _read(name: str, stream: Stream, most_read: int, space: Workspace) -> Read:
    opened = stream.open(space)
    texts = islice(auditing.decoded(opened, stream, 0, len(opened.byte_counts)), NEAR_SAMPLE)
    samples, tally = list(islice(texts, SAMPLES)), hygiene.Tally()
    for _ in hygiene.clean(chain(samples, texts), spec.Hygiene(normalize="none", dedup="near"), lambda key: False, tally):
        pass
    tokens, size = int(opened.starts[-1]), int(opened.byte_counts.sum())
    said = read_json(opened.folder / "manifest.json")["hygiene"]
    return Read(
        source=name, folder=opened.folder.name, documents=len(opened.byte_counts), tokens=tokens, bytes=size,
        tokens_per_byte=tokens / max(size, 1), whole=opened.finite, most_read=most_read,
        hygiene=said if said.get("read") else {},
        near_duplicates=sum(tally.dropped.get(why, 0) for why in ("duplicates", "near_duplicates")), near_of=tally.read,
        contaminated=_told(auditing.found_in(stream, space)), samples=[text[: hygiene.SAMPLE_CHARACTERS] for text in samples],
    )  # fmt: skip


def _told(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, tuple[int, int]]]:
    """benchmark → method → contaminated items, and the items that the method can tell; all rows together but those of twins."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for row in rows:
        if not row["fresh"]:
            methods = found.setdefault(row["benchmark"], {})
            dirty, told = methods.get(row["method"], (0, 0))
            methods[row["method"]] = dirty + row["contaminated"], told + row["items"] - row["untold"]
    return found


def _arm(run: Run, space: Workspace) -> Arm:
    mixed, made = prepare.mixed(run, space), tokenizer.load(space.tokenizers / run.recipe["data"]["tokenizer"])
    which, _ = assign(np.arange(SEQUENCES), mixed.shares)
    names = [mixed.streams[place].role for place in which.tolist()]
    texts = [made.decode(ids[:-1]) for ids in mixed.batch(0, SEQUENCES).tolist()]
    return Arm(run.recipe["data"]["shares"], run.seed, [Shown(*pair) for pair in zip(names, texts, strict=True)])


def as_json(shown: Inspection | list[Read] | list[dict[str, Any]]) -> Any:
    """Plain values."""
    return asdict(shown) if isinstance(shown, Inspection) else [row if isinstance(row, dict) else asdict(row) for row in shown]


def inspection_text(shown: Inspection) -> str:
    """The inspection for people."""
    lines = [*(line for read in shown.sources for line in [*_read_lines(read), ""])]
    for arm in shown.arms:
        shares = ", ".join(f"{name} {share}" for name, share in arm.shares.items())
        lines.append(f"the first sequences of an arm with {shares} (seed {arm.seed})")
        lines += [f"  {number}  {one.source:<12} {_line(one.text)}" for number, one in enumerate(arm.sequences)]
        lines.append("")
    return "\n".join(lines).rstrip()


def _read_lines(read: Read) -> list[str]:
    said = read.hygiene
    size = f"{read.documents:,} documents, {format_count(read.tokens)} tokens, {read.bytes / 1e6:.2f} MB"
    ends = "the whole source" if read.whole else "as far as the runs read it"
    epochs = f" ({read.most_read / read.tokens:.2g} epochs)" if read.whole else ""
    lines = [
        f"{read.source}: {size}, {ends} ({read.folder})",
        f"  fertility   {read.tokens_per_byte:.3f} tokens a byte",
        f"  read        {format_count(read.most_read)} tokens by the hungriest run{epochs}",
    ]
    if said:
        dropped, cut = (", ".join(f"{why} {count:,}" for why, count in said.get(which, {}).items()) for which in ("dropped", "cut"))
        unmeasured = ", so its own bits per byte are NULL" if read.whole and not said["held_out"] else ""
        lines.append(
            f"  hygiene     {said['read']:,} read, {said['kept']:,} kept ({said['held_out']:,} of them held out{unmeasured}); "
            f"dropped: {dropped or 'nothing'}{f'; cut: {cut}' if cut else ''}"
        )
        lines += [f"    {why}: {_line(text)}" for why, texts in said["samples"].items() for text in texts[:1]]
    lines.append(f"  duplicates  near copies of an earlier document: {read.near_duplicates:,} of the first {read.near_of:,}")
    for benchmark, methods in read.contaminated.items():
        lines.append(f"  overlap     {benchmark}: " + ", ".join(f"{method} {dirty}/{told}" for method, (dirty, told) in methods.items()))
    if not read.contaminated:
        lines.append("  overlap     not looked for yet: `ablate data audit STUDY`")
    return lines + [f"  sample      {_line(text)}" for text in read.samples]


def reads_text(reads: list[Read]) -> str:
    """What was prepared, for people."""
    return "\n".join(_read_lines(read)[0] for read in reads)


def audit_text(rows: list[dict[str, Any]]) -> str:
    """Contaminated items by source, benchmark and method, for people; twins left out, streams of a source and registers together."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    lines = [("source", "benchmark", "items", *methods)]
    for source in dict.fromkeys(row["source"] for row in rows):
        own = [row for row in rows if row["source"] == source and not row["fresh"]]
        for benchmark, found in _told(own).items():
            items = sum(row["items"] for row in own if (row["benchmark"], row["method"]) == (benchmark, methods[0]))
            lines.append((source, benchmark, str(items), *("{}/{}".format(*found[method]) for method in methods)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = ["  ".join(f"{value:<{width}}" for value, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    told = "Items called contaminated / items that the method can tell (the others are too short for it), both registers and all streams of"
    return "\n".join([*shown, "", f"{told} a source together; docs/contamination.md defines each method."])


def _line(text: str) -> str:
    short = _CONTROL.sub("\ufffd", " ".join(text.split()))
    return short if len(short) <= SHOWN_CHARACTERS else short[: SHOWN_CHARACTERS - 3] + "..."
