"""From a point of the grid to a run with nothing left to decide: every `auto` becomes a number.

The recipe made here is what a run's digest is taken of, so it holds everything that changes the weights
and nothing else: no study name, no other levels, no seeds of others, no hardware, no folder.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ablate.data import chat, sources, tokenizer
from ablate.errors import StudyError
from ablate.model import ladder, presets
from ablate.model.pretrained import Pretrained, pretrained
from ablate.scored import screen_of
from ablate.study import grid, spec
from ablate.study.fields import SHORTHAND
from ablate.study.load import with_values
from ablate.study.quantities import format_count
from ablate.train import device, schedule
from ablate.workspace import Workspace

NUMERICS_VERSION = 2
"""Raise it when the same recipe would give other weights than before."""

FEWEST_STEPS = 100
DEFAULT_BPE = 1024
"""Vocabulary of the tokenizer that is trained where a study names none."""
LARGEST_WARMUP = Fraction(1, 10)


def runs(
    study: spec.Study, space: Workspace | None = None, known: Callable[[spec.Data], spec.Data] = lambda data: data
) -> list[grid.Run]:
    """All runs of a study, in the order of its grid; StudyError where one cannot be trained as written.

    `space` is where `model.from: run:DIGEST` looks for its run; without it only other models can be resolved. `known`: what of a run's
    data can be said, for a plan of text that is not here (`prefetch.known_data`); no run is made of that.
    """
    chosen = device.pick(study.launch.device)
    checkpoint = cache(lambda name: pretrained(name, space))
    studies: dict[str, spec.Study] = {}
    starts: dict[str, Pretrained | None] = {}
    placed: list[tuple[str, grid.Point]] = []
    for point in grid.points(study, lambda model: _own_params(model, checkpoint)):
        values = {k: str(v) if isinstance(v, Fraction) else v for k, v in point.factors.items() if k not in SHORTHAND}
        key = repr(sorted(values.items(), key=lambda item: item[0]))
        if key not in studies:
            written = with_values(study, values) if values else study
            can_be_said = written.model_copy(update={"data": known(written.data)})
            studies[key], starts[key] = _started(can_be_said, checkpoint)
        placed.append((key, point))
    one_tokenizer = _one_tokenizer(studies)
    return [_run(one_tokenizer[key], starts[key], point, chosen) for key, point in placed]


def _one_tokenizer(studies: dict[str, spec.Study]) -> dict[str, spec.Study]:
    """The same studies with one BPE for all where a factor changes the sources: it is trained on the sources of every level,
    so that no level gets the kinder vocabulary."""
    open_ = {key: study.data for key, study in studies.items() if study.data.tokenizer.train_bpe and not study.data.tokenizer.train_on}
    read = {key: {name: sources.digest(source) for name, source in data.trained_on().items()} for key, data in open_.items()}
    if len({grid.digest(names) for names in read.values()}) < 2:
        return studies
    every = {read[key][name]: source for key, data in open_.items() for name, source in data.trained_on().items()}
    together = tuple(every[found] for found in sorted(every))
    widened = {}
    for key, data in open_.items():
        update = {"tokenizer": data.tokenizer.model_copy(update={"train_on": together})}
        widened[key] = studies[key].model_copy(update={"data": data.model_copy(update=update)})
    return studies | widened


def _own_params(model: spec.Model, checkpoint: Callable[[str], Pretrained]) -> int | None:
    """The non-embedding count of a preset or a checkpoint; None for a shape that follows from params."""
    if model.preset is not None:
        return presets.preset(model.preset).non_embedding
    return ladder.count(checkpoint(model.start_from).model).non_embedding if model.start_from is not None else None


def _started(study: spec.Study, checkpoint: Callable[[str], Pretrained]) -> tuple[spec.Study, Pretrained | None]:
    """The checkpoint that a study's runs start from, and the study with its tokenizer where it names none of its own."""
    name, unnamed = study.model.start_from, study.data.tokenizer == spec.Tokenizer()
    if name is None:
        return _with_tokenizer(study, spec.Tokenizer(train_bpe=DEFAULT_BPE) if unnamed else study.data.tokenizer), None
    start = checkpoint(name)
    if study.data.seq_len > start.window:
        raise StudyError(
            f"data.seq_len: {study.data.seq_len} is more than the {start.window} tokens that the model of model.from: {name} sees at once"
        )
    tokenizer_of = spec.Tokenizer(path=str(start.folder)) if unnamed else study.data.tokenizer
    if tokenizer_of.train_bpe is not None:
        raise StudyError(
            f"data.tokenizer.train_bpe: the weights of model.from: {name} know the tokens of their own tokenizer; "
            "leave data.tokenizer out to use that, or name an existing one in data.tokenizer.path"
        )
    size, rows = tokenizer.vocab_size(tokenizer_of), start.model["vocab_size"]
    if size > rows:
        raise StudyError(f"data.tokenizer: it has {size:,} tokens, more than the {rows:,} rows of the embedding of model.from: {name}")
    return _with_tokenizer(study, tokenizer_of), start


def _with_tokenizer(study: spec.Study, chosen: spec.Tokenizer) -> spec.Study:
    """The study with this tokenizer, whose chat template, if it has one, writes out conversations that name no other."""

    def written(source: spec.Source) -> spec.Source:
        if source.messages_field is None or source.chat_template is not None or chosen.path is None:
            return source
        return source.model_copy(update={"chat_template": chosen.path}) if chat.has_template(Path(chosen.path)) else source

    return study.model_copy(update={"data": study.data.with_sources(written).model_copy(update={"tokenizer": chosen})})


def shares(data: spec.Data, synthetic_ratio: Fraction) -> dict[str, Fraction]:
    """Name of a source (as in Data.trained_on) → its share of the sequences; those with none are left out.

    data.web takes what synthetic_ratio and data.shares leave. In alphabetical order, since sequences are dealt out in it.
    """
    roles = {"synthetic": synthetic_ratio, "web": 1 - synthetic_ratio - sum(data.shares.values(), Fraction(0))}
    each = dict(data.shares)
    for name in data.trained_on().keys() - data.shares.keys():
        role, _, source = name.partition(".")
        each[name] = roles[role] * (getattr(data, role).sources[source] if source else 1)
    return {name: share for name, share in sorted(each.items()) if share > 0}


def _run(study: spec.Study, start: Pretrained | None, point: grid.Point, chosen: torch.device) -> grid.Run:
    params, tokens = point.factors["params"], point.factors["tokens"]
    data = study.data
    model = _shape(study, params) if start is None else start.model
    train = _train(study, params, chosen)
    _check_steps(tokens, train, params)
    mixed = shares(data, point.factors["synthetic_ratio"])
    recipe = {
        "numerics_version": NUMERICS_VERSION,
        "params": params,
        "tokens": tokens,
        "seed": point.seed,
        "model": model,
        "data": {
            "seq_len": data.seq_len,
            "shares": {role: str(share) for role, share in mixed.items()},
            "sources": {name: sources.digest(data.trained_on()[name]) for name in mixed},
            "tokenizer": tokenizer.definition(data),
            **({"decontaminate": screen.digest} if (screen := screen_of(data)) else {}),
        },
        "train": train,
    }
    factors = {k: float(v) if isinstance(v, Fraction) else v for k, v in point.factors.items()}
    weights = None if start is None else str(start.folder)
    return grid.Run(factors=factors, seed=point.seed, recipe=recipe, data=data, weights=weights)


def _shape(study: spec.Study, params: int) -> dict[str, Any]:
    """The shape of a model with fresh weights: a preset's, or the ladder's for `params`."""
    vocabulary, seq_len, tied = tokenizer.vocab_size(study.data.tokenizer), study.data.seq_len, study.model.tie_word_embeddings
    if study.model.preset is not None:
        return presets.preset(study.model.preset).shape(vocabulary, seq_len)
    return ladder.shape(params, vocabulary, seq_len, tie_word_embeddings=tied in ("auto", True))


def _train(study: spec.Study, params: int, chosen: torch.device) -> dict[str, Any]:
    train, seq_len = study.train, study.data.seq_len
    batch = schedule.batch_tokens(params, seq_len) if train.batch_tokens == "auto" else train.batch_tokens
    if batch % seq_len:
        raise StudyError(f"train.batch_tokens: {batch} is not a whole number of sequences of {seq_len} tokens (data.seq_len)")
    if train.schedule in schedule.WHOLE_RUN and study.launch.share != "none":
        raise StudyError(
            f"train.schedule: {train.schedule} depends on the token budget from its first step, so that runs cannot share a trunk: "
            "write launch: {share: none}"
        )
    if (batch // seq_len) % study.launch.devices:
        sequences, devices = batch // seq_len, study.launch.devices
        fitting = max(1, round(sequences / devices)) * devices * seq_len
        raise StudyError(
            f"launch.devices: the {sequences} sequences of a step (train.batch_tokens {batch} / data.seq_len {seq_len}) cannot be dealt "
            f"evenly to {devices} devices; write train.batch_tokens: {fitting}, or another number of devices"
        )
    ends = {"min_lr": train.min_lr} if train.schedule in schedule.WHOLE_RUN else {}
    return {
        "optimizer": train.optimizer.model_dump(mode="json", exclude={"backend"}),
        "lr": schedule.learning_rate(params) if train.lr == "auto" else train.lr,
        "batch_tokens": batch,
        "schedule": train.schedule,
        "warmup_steps": schedule.warmup_steps(params, batch) if train.warmup_steps == "auto" else train.warmup_steps,
        "decay": schedule.DECAY.get(train.schedule, train.decay),
        **ends,
        "clip": train.clip,
        "precision": device.precision(chosen) if train.precision == "auto" else train.precision,
    }


def _check_steps(tokens: int, train: dict[str, Any], params: int) -> None:
    steps = schedule.steps_of(tokens, train["batch_tokens"])
    cell = f"the cell params {format_count(params)}, tokens {format_count(tokens)}"
    if steps < FEWEST_STEPS:
        raise StudyError(
            f"{cell} has {steps} steps ({tokens} tokens / train.batch_tokens {train['batch_tokens']}), fewer than {FEWEST_STEPS}: "
            "raise tokens or lower train.batch_tokens"
        )
    if train["warmup_steps"] > steps * LARGEST_WARMUP:
        raise StudyError(
            f"{cell} would warm up for {train['warmup_steps']} of its {steps} steps, more than a tenth: "
            "raise tokens, or lower train.warmup_steps or train.batch_tokens"
        )
