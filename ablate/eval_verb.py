"""`ablate eval MODEL`: any model scored by the code that scores a study's runs, and kept as a baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from transformers.utils import logging as transformers_logging

from ablate import baselines
from ablate.errors import RunError, StudyError
from ablate.evals.scoring import score_digest
from ablate.evaluation import examine_baseline
from ablate.fit import refuse_weights
from ablate.launch.base import hold
from ablate.scored import Wanted
from ablate.store.store import Store
from ablate.study import spec
from ablate.study.quantities import format_bytes, format_count
from ablate.train import device
from ablate.workspace import Workspace

AT_CHANCE = 1.96
"""Standard errors above chance that a score must have, as in the view `scores`."""
_LM_EVAL = "lm_eval:"
_WIDTHS = (28, 10, 7, 12, 17, 9, 7, 9)


def wanted(study: spec.Study | None, names: Sequence[str], limit: int | None, allow_code_execution: bool) -> Wanted:
    """What to score on: the study's evaluate block, or of it the benchmarks with these names in the results; without a study those of these
    names (builtin:NAME, a task of the catalogue, lm_eval:TASK), or the embedded ones. `limit`: the first items of each task of the
    catalogue. StudyError for a name that is none."""
    evaluate = _named(names or ["builtin:all"]) if study is None else _chosen(study.evaluate, names)
    if limit is not None:
        fewer = [one.model_copy(update={"limit": limit}) if one.task is not None else one for one in evaluate.benchmarks]
        evaluate = evaluate.model_copy(update={"benchmarks": fewer})
    if allow_code_execution:
        evaluate = evaluate.model_copy(update={"allow_code_execution": True})
    return Wanted(evaluate, None if study is None else study.data)


def _named(names: Sequence[str]) -> spec.Evaluate:
    tasks = [name.removeprefix(_LM_EVAL) for name in names if name.startswith(_LM_EVAL)]
    try:
        return spec.Evaluate.model_validate({"benchmarks": [name for name in names if not name.startswith(_LM_EVAL)], "lm_eval": tasks})
    except ValidationError as e:
        raise StudyError(f"--benchmarks: {e.errors()[0]['msg'].removeprefix('Value error, ')}") from None


def _chosen(evaluate: spec.Evaluate, names: Sequence[str]) -> spec.Evaluate:
    """Of a study's benchmarks those with these names; all where none is given."""
    if not names:
        return evaluate
    called = {one.name or one.task or f"builtin:{one.builtin}": one for one in evaluate.benchmarks}
    if unknown := [name for name in names if name not in called and name not in evaluate.lm_eval]:
        raise StudyError(f"--benchmarks: the study has no {unknown[0]}; it has: {', '.join([*called, *evaluate.lm_eval])}")
    kept = {"benchmarks": [one for name, one in called.items() if name in names], "lm_eval": [n for n in evaluate.lm_eval if n in names]}
    return evaluate.model_copy(update=kept)


def evaluate(model: str, asked: Wanted, space: Workspace, say: Callable[[str], None]) -> dict[str, Any]:
    """Score `model` on what is asked and not in its folder yet, and record it in results.db. Its outcome, with the scores that were asked.

    `say` is told each score as it is made. StudyError or DataError where something is missing or does not fit, RunError where the model
    cannot be loaded, BusyError while a study runs in this folder: results.db has one writer.
    """
    transformers_logging.disable_progress_bar()
    asked.check()
    with hold(space.driver_lock, f"the folder {space.runs}"):
        (found,) = baselines.resolve([model], space, "ablate eval")
        chosen = device.pick("auto")
        refuse_weights([found], chosen)
        folder = space.baselines / found.digest
        with hold(folder / "lock", f"the baseline {model}"):
            outcome = examine_baseline(space, found, asked, chosen, say)
        with Store.open(space.database) as store:
            store.record_baseline(outcome, folder)
    if outcome["error"]:
        raise RunError(f"{model}: {outcome['error']}")
    made, measured = {row["digest"]: row for row in outcome["scores"]}, {text.identity for text in asked.texts()}
    scores = [made[score_digest(outcome["digest"], benchmark.digest)] for benchmark in asked.benchmarks(fresh=False)]
    return {**outcome, "scores": scores, "texts": [text for text in outcome["texts"] if text["identity"] in measured]}


def as_text(outcome: Mapping[str, Any]) -> str:
    """The outcome for people: a line a score, then bits per byte, then what generating costs."""
    params = f"{format_count(outcome['params_non_embedding'])} params, {format_count(outcome['params_total'])} with embeddings"
    return "\n".join([
        f"{outcome['name']} ({params}), in {outcome['precision']}, on {outcome['attempt']['device']}",
        "",
        _line("benchmark", "register", "n", "metric", "score", "acc_norm", "chance", ""),
        *(_score(row) for row in outcome["scores"]),
        "",
        *(f"{text['text']}: {text['bits_per_byte']:.3f} bits per byte" for text in outcome["texts"] if text["bits_per_byte"] is not None),
        *_latency(outcome.get("latency")),
    ])  # fmt: skip


def _score(row: Mapping[str, Any]) -> str:
    if row["error"] is not None:
        return f"{row['benchmark']:<{_WIDTHS[0]}} no score: {row['error']}"
    score, chance = row["score"], row["chance"]
    flag = "at chance" if chance is not None and row["stderr"] is not None and score - AT_CHANCE * row["stderr"] <= chance else ""
    error = "" if row["stderr"] is None else f" ± {row['stderr']:.3f}"
    figures = (f"{score:.3f}{error}", _figure(row["acc_norm"]), _figure(chance))
    return _line(row["benchmark"], row["register"], row["n"], row["metric"], *figures, flag)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _line(name: object, *columns: object) -> str:
    rest = " ".join(f"{column:>{width}}" for column, width in zip(columns, _WIDTHS[1:], strict=True))
    return f"{name:<{_WIDTHS[0]}} {rest}".rstrip()


def _latency(cost: Mapping[str, Any] | None) -> list[str]:
    if cost is None:
        return []
    return [
        f"writing: {cost['ms_per_token']:.1f} ms a token, {cost['ms_to_first_token']:.0f} ms from a prompt to its first and "
        f"{cost['ms_per_token_after_prompt']:.1f} ms to each after it, "
        f"{cost['generate_tokens_per_s']:.0f} tokens/s at batch {cost['generate_batch']}, "
        f"{format_bytes(cost['inference_memory_bytes'])}, {cost['inference_precision']}, on {cost['inference_device']}"
    ]
