"""Everything a study's jobs read, built once before the first of them starts: tokenizers, token shards and tokenised benchmarks.

Only here is it known how many tokens a finite source really has, so here a run that would repeat a
source too often is refused, before any step is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import TypeVar

from ablate.data import mixture, ready, sources, tokenizer
from ablate.data.building import pool
from ablate.data.stream import Stream
from ablate.errors import StudyError
from ablate.evals import kept
from ablate.evals.likelihood import reads_trees
from ablate.scored import Wanted, screen_of
from ablate.study import spec
from ablate.study.grid import Run
from ablate.study.quantities import format_bytes, format_count
from ablate.workspace import Workspace

T = TypeVar("T")


def prepare(
    runs: Sequence[Run], evaluate: spec.Evaluate, space: Workspace, processes: int, say: Callable[[str], None] = lambda line: None
) -> None:
    """Build what is missing, then refuse what could not be scored, and runs that repeat a source more than data.max_epochs times.

    `say` is told what is tokenised, and what another process is waited for.
    """
    _refuse_changed(runs)
    check_evaluation(runs, evaluate)
    build(runs, streams(runs, space), space, processes, say)
    _tokenise(runs, evaluate, space)
    for run in runs:
        _refuse_repetition(run, space)


def _tokenise(runs: Sequence[Run], evaluate: spec.Evaluate, space: Workspace) -> None:
    """The benchmarks, as the models will read them. DataError for one that they cannot be scored on."""
    for data, shared in _distinct((run.data, reads_trees(run.recipe["model"]["family"])) for run in runs):
        asked = kept.of_study(data, space)
        for benchmark in Wanted(evaluate, data).benchmarks(fresh=True):
            if benchmark.kind in kept.KINDS:
                asked.requests(benchmark, shared)


def check_evaluation(runs: Sequence[Run], evaluate: spec.Evaluate, known: spec.Evaluate | None = None, here: bool = True) -> None:
    """DataError or StudyError for what could not be scored or measured. `known`: of `evaluate` what can be read already, if that is not
    all; the rest is checked without its items. `here`: the runs will be scored on this machine."""
    for data in _distinct(run.data for run in runs):
        Wanted(evaluate, data).refuse_unready(here)
        Wanted(known or evaluate, data).read()


def largest_epochs(
    runs: Sequence[Run], space: Workspace, processes: int, say: Callable[[str], None] = lambda line: None
) -> dict[str, float]:
    """Most passes that any run makes over each finite source. To know, the finite sources are prepared (a run reuses that);
    refuses, and tells `say`, as `prepare` does."""
    read = {stream: tokens for stream, tokens in streams(runs, space).items() if sources.is_finite(stream.source)}
    if not read:
        return {}
    build(runs, read, space, processes, say)
    most: dict[str, float] = {}
    for run in runs:
        _refuse_repetition(run, space)
        most.update({used.source: max(used.epochs, most.get(used.source, 0.0)) for used in usage(run, space)})
    return most


def build(
    runs: Sequence[Run], wanted: Mapping[Stream, int], space: Workspace, processes: int, say: Callable[[str], None] = lambda line: None
) -> None:
    """What is missing of the tokenizers and the tokens. `say` is told as `prepare` tells it."""
    for data in _distinct(run.data for run in runs):
        tokenizer.prepare(data, space)
    missing = [(stream, tokens) for stream, tokens in wanted.items() if not stream.is_built(tokens, space)]
    for stream, tokens in [one for one in missing if sources.is_finite(one[0].source)]:
        say(f"tokenising {_with_size(stream.source)}")
        stream.build(tokens, space, processes, say)  # one after another, each by all processes
    missing = [one for one in missing if not sources.is_finite(one[0].source)]
    for name in dict.fromkeys(stream.source.name for stream, _ in missing):
        say(f"tokenising {name}")
    if len(missing) > 1 and processes > 1:
        with pool(min(processes, len(missing))) as many:
            for work in [many.submit(stream.build, tokens, space) for stream, tokens in missing]:
                work.result()
    else:
        for stream, tokens in missing:
            stream.build(tokens, space, say=say)


def _with_size(source: spec.Source) -> str:
    """`files: crawl/*.jsonl.gz (1.2 GB)`: of the files as they are packed. What is on the hub is not fetched to know."""
    if source.hf is not None:
        return source.name
    paths = sources.paths(source) if source.tokens is None else ready.paths(source)
    return f"{source.name} ({format_bytes(sum(path.stat().st_size for path in paths))})"


def tokens_to_build(runs: Sequence[Run], space: Workspace) -> int:
    """Tokens that `prepare` would have to write."""
    return sum(tokens for stream, tokens in streams(runs, space).items() if not stream.is_built(tokens, space))


def _refuse_changed(runs: Sequence[Run]) -> None:
    """StudyError where a source is no longer the one that the runs' digests speak of."""
    named = {(run.data.trained_on()[name], name, found) for run in runs for name, found in run.recipe["data"]["sources"].items()}
    for source, name, found in named:
        if sources.digest(source) != found:
            raise StudyError(
                f"data.{name}: {source.name} has changed since the study was read; run the same command again "
                "(changed files are another source: its runs are new ones, those of the old files stay in results.db)"
            )


def mixed(run: Run, space: Workspace) -> mixture.Mixture:
    """The stream of sequences of a run; its sources must be prepared."""
    data = run.recipe["data"]
    read = [mixture.Stream(stream.open(space), run.seed, name, data["seq_len"]) for name, stream in streams_of(run, space).items()]
    return mixture.Mixture(read, [Fraction(share) for share in data["shares"].values()])


def usage(run: Run, space: Workspace) -> list[mixture.Usage]:
    """What a run will have read, by its end, of each source that ends; these must be prepared, the endless ones need not."""
    data = run.recipe["data"]
    sequences = mixture.counts(run.tokens // data["seq_len"], [Fraction(share) for share in data["shares"].values()])
    return [
        mixture.Stream(stream.open(space), run.seed, name, data["seq_len"]).usage(count)
        for (name, stream), count in zip(streams_of(run, space).items(), sequences, strict=True)
        if sources.is_finite(stream.source)
    ]


def _distinct(many: Iterable[T]) -> list[T]:
    found: list[T] = []
    for one in many:
        if one not in found:
            found.append(one)
    return found


def streams(runs: Sequence[Run], space: Workspace) -> dict[Stream, int]:
    """Every stream with the tokens that its hungriest run reads. Finite sources have one stream for all seeds."""
    needed: dict[Stream, int] = {}
    for run in runs:
        data = run.recipe["data"]
        for name, stream in streams_of(run, space).items():
            sequences = int(run.tokens // data["seq_len"] * Fraction(data["shares"][name])) + len(data["shares"])
            needed[stream] = max(needed.get(stream, 0), sequences * data["seq_len"] + 1)
    return needed


def streams_of(run: Run, space: Workspace) -> dict[str, Stream]:
    """The streams that a run reads, by the name of their source."""
    data, trained_on, screen = run.recipe["data"], run.data.trained_on(), screen_of(run.data)
    made = space.tokenizers / data["tokenizer"]
    return {name: Stream(trained_on[name], 0 if sources.is_finite(trained_on[name]) else run.seed, made, screen) for name in data["shares"]}


def _refuse_repetition(run: Run, space: Workspace) -> None:
    """StudyError, with the sum, for a run that would read a finite source too often."""
    for used in usage(run, space):
        if used.epochs > run.data.max_epochs:
            has = round(used.tokens / used.epochs)
            raise StudyError(
                f"the cell tokens {format_count(run.tokens)}, synthetic_ratio {run.factors['synthetic_ratio']:g} reads "
                f"{format_count(used.tokens)} tokens of data.{used.source}, which has {format_count(has)}: {used.epochs:.1f} epochs, "
                f"more than data.max_epochs {run.data.max_epochs:g}; add text, lower tokens, or raise data.max_epochs"
            )
