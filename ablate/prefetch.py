"""`ablate prefetch STUDY`: what a study needs of the Hugging Face hub, fetched once; and what of it is not here yet."""

from __future__ import annotations

from collections.abc import Iterator

from ablate import baselines, resolve
from ablate.data import hub
from ablate.errors import StudyError
from ablate.evals import lm_eval, rows
from ablate.evals.catalogue import entry
from ablate.study import spec
from ablate.study.load import with_values
from ablate.study.quantities import format_bytes
from ablate.workspace import Workspace

_UNKNOWN = "0" * 40
"""Stands for the commit of a data set that was never asked for, in the digests of a plan that nothing is run by."""


def fetch(study: spec.Study, space: Workspace) -> Iterator[str]:
    """Fetch data sets, tokenizers and models; a sentence for each. NetworkError where something is missing and cannot be had."""
    some = False
    for tokenizer in {data.tokenizer for data in _levels(study) if data.tokenizer.hf}:
        some = True
        yield f"tokenizer hf:{tokenizer.hf}: {hub.tokenizer(tokenizer)}"
    read = (source for data in _levels(study) for source in _sources(data) if source.hf)
    for source in dict.fromkeys([*read, *_of_benchmarks(study)]):
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


def _of_benchmarks(study: spec.Study) -> Iterator[spec.Source]:
    """What the tasks of the catalogue need of the hub: those that are scored, and those that are kept out of the text."""
    kept_out = (asked for data in _levels(study) if data.decontaminate for asked in data.decontaminate.against)
    for asked in dict.fromkeys([*study.evaluate.benchmarks, *kept_out]):
        if asked.task is not None:
            yield from rows.sources(asked, entry(asked.task))


def as_known(study: spec.Study) -> tuple[spec.Study, tuple[str, ...]]:
    """The study as far as it can be priced without the network, and the data sets that are not here."""
    absent = [source for source in _sources(study.data) if source.hf and not hub.is_here(source)]
    if not absent:
        return study, ()

    def known(source: spec.Source) -> spec.Source:
        return source.model_copy(update={"revision": _UNKNOWN}) if source in absent else source

    data = study.data
    one = {name: known(source) for name in ("synthetic", "web", "neutral") if (source := getattr(data, name)) is not None}
    many = {name: {key: known(source) for key, source in getattr(data, name).items()} for name in ("sources", "held_out")}
    tokenizer = data.tokenizer.model_copy(update={"train_on": tuple(map(known, data.tokenizer.train_on))})
    changed = data.model_copy(update={**one, **many, "tokenizer": tokenizer})
    return study.model_copy(update={"data": changed}), tuple(dict.fromkeys(source.name for source in absent))


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


def _sources(data: spec.Data) -> list[spec.Source]:
    return [*data.trained_on().values(), data.neutral, *data.held_out.values(), *data.tokenizer.train_on]
