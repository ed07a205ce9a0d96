"""`ablate prefetch STUDY`: what a study needs of the Hugging Face hub, fetched once; and what of it is not here yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ablate import baselines, resolve
from ablate.data import hub
from ablate.errors import StudyError
from ablate.evals import lm_eval, rows
from ablate.evals.catalogue import entry
from ablate.study import spec
from ablate.study.load import with_values
from ablate.study.quantities import format_bytes
from ablate.workspace import Workspace


@dataclass(frozen=True)
class Known:
    """What can be said of a study without the network, and by name what of it is not on this machine."""

    evaluate: spec.Evaluate
    """With the benchmarks alone that can be read."""
    absent: tuple[str, ...]
    """Data sets without which nobody knows what is trained on or measured."""
    absent_benchmarks: tuple[str, ...]
    """As they are called in the results."""
    absent_baselines: tuple[str, ...]


def fetch(study: spec.Study, space: Workspace) -> Iterator[str]:
    """Fetch data sets, tokenizers and models; a sentence for each. NetworkError where something is missing and cannot be had."""
    some = False
    for tokenizer in {data.tokenizer for data in _levels(study) if data.tokenizer.hf}:
        some = True
        yield f"tokenizer hf:{tokenizer.hf}: {hub.tokenizer(tokenizer)}"
    asked = (source for benchmark in study.evaluate.benchmarks for source in _of_benchmark(benchmark))
    for source in dict.fromkeys([*_texts(study), *asked]):
        some = True
        sizes = [part.path.stat().st_size for part in hub.parts(source)]
        pinned = hub.commit("dataset", source.hf or "", source.revision)
        yield f"data set {source.name} at {pinned[:12]}: {len(sizes)} files, {format_bytes(sum(sizes))}"
    for name in study.evaluate.lm_eval:
        some = True
        lm_eval.loaded(name)
        yield f"lm-eval's task {name} and its data"
    for baseline in baselines.resolve(study.baselines, space):
        some = True
        yield f"baseline {baseline.name}: {baseline.folder}"
    resolve.runs(study, space)  # fetches the models to start from, and refuses what could not be run
    yield "everything is here" if some or study.model.start_from else "the study needs nothing of the hub"


def known(study: spec.Study) -> Known:
    """What is here of what the study evaluates and compares with; StudyError or DataError for a task that is not to be had anywhere."""
    here = [benchmark for benchmark in study.evaluate.benchmarks if _is_here(benchmark)]
    tasks = [name for name in study.evaluate.lm_eval if lm_eval.is_to_be_had(name)]
    gone = [benchmark.name or benchmark.task or "" for benchmark in study.evaluate.benchmarks if benchmark not in here]
    return Known(
        study.evaluate.model_copy(update={"benchmarks": here, "lm_eval": tasks}),
        tuple(dict.fromkeys(source.name for source in _texts(study) if not hub.is_here(source))),
        (*gone, *(name for name in study.evaluate.lm_eval if name not in tasks)),
        tuple(baselines.absent(study.baselines)),
    )


def known_data(data: spec.Data) -> spec.Data:
    """The data as far as they can be planned with: of a source that is not here nothing is known but its name, and where benchmarks that
    are to be kept out of the text are not here, not what would be left of it."""

    def said(source: spec.Source) -> spec.Source:
        return source.model_copy(update={"revision": hub.UNKNOWN}) if source.hf and not hub.is_here(source) else source

    rules = data.decontaminate
    screened = rules if rules and all(map(_is_here, rules.against)) else None
    return data.with_sources(said).model_copy(update={"decontaminate": screened})


def _is_here(benchmark: spec.Benchmark) -> bool:
    return all(map(hub.is_here, _of_benchmark(benchmark)))


def _of_benchmark(benchmark: spec.Benchmark) -> list[spec.Source]:
    """What a benchmark needs of the hub."""
    return [] if benchmark.task is None else rows.sources(benchmark, entry(benchmark.task))


def _texts(study: spec.Study) -> Iterator[spec.Source]:
    """What the text of the study needs of the hub: its sources, and the benchmarks that are kept out of them."""
    for data in _levels(study):
        every = [*data.trained_on().values(), data.neutral, *data.held_out.values(), *data.tokenizer.train_on]
        yield from (source for source in every if source.hf)
        for benchmark in data.decontaminate.against if data.decontaminate else ():
            yield from _of_benchmark(benchmark)


def _levels(study: spec.Study) -> Iterator[spec.Data]:
    """The data of the study, and with each level of each factor that changes them."""
    yield study.data
    named = [(name, level) for name, levels in study.grid.items() for level in levels]
    named += [(name, level) for cell in study.cells for name, level in cell.items()]
    for name, level in named:
        if name.startswith("data."):
            try:
                yield with_values(study, {name: level}).data
            except StudyError:  # a level that goes only with another one: resolving the runs meets it
                continue
