"""The verdict in words. Every number in a sentence comes from the Verdict; nothing is computed here but ratios for the reader."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ablate.report import generation
from ablate.report.claims import Clean, Model, Verdict
from ablate.report.effects import Interval
from ablate.study.quantities import format_count

EQUAL = 1.01
"""Two costs within this ratio are called equal."""


def sentence(verdict: Verdict) -> str:
    """The verdict as one paragraph."""
    return " ".join(lines(verdict))


def lines(verdict: Verdict) -> list[str]:
    """The verdict as sentences, the claim first, then what was tested, the best web cell, and what to hold against it."""
    where = ", ".join(f"{k} = {v}" for k, v in verdict.conditions.items())
    prefix = f"At {where}: " if where else ""
    if verdict.outcome == "missing":
        return [f"{prefix}{'no' if prefix else 'No'} verdict: {verdict.missing}."]
    first = _claim(verdict)
    out = [prefix + (first[0].lower() + first[1:] if prefix else first), _sequence(verdict)]
    if verdict.best_web is not None and verdict.best_web_difference is not None:
        against = f"Against the best web cell, {describe(verdict.best_web)}, taken anew in every resample"
        out.append(f"{against}, the difference is {interval(verdict.best_web_difference)}.")
    if verdict.clean is not None:
        out.append(_clean(verdict.clean, verdict.items))
    if verdict.hours and (cost := generation.sentence(*verdict.hours)):
        out.append(cost)
    for twin in verdict.fresh:
        gap = f"{signed(twin.gap)} [{signed(twin.low)}, {signed(twin.high)}]"
        out.append(f"Public items minus fresh twins at {_cell(twin.model)}: {gap}.")
    if not verdict.lr_tuned:
        out.append("Learning rate not tuned per arm.")
    if verdict.unfinished:
        runs = "1 run is" if verdict.unfinished == 1 else f"{verdict.unfinished} runs are"
        out.append(f"{runs} not done: this may change.")
    if verdict.conditions:
        out.append("The error rate of 5% holds for each such verdict alone.")
    return out + [f"Note: {flag}." for flag in verdict.flags]


def at_chance(table: pl.DataFrame, conditions: Mapping[str, object]) -> str:
    """What `claims.at_chance` found: a line a size; empty where nothing has finished."""
    where = "".join(f"{k} = {v}, " for k, v in conditions.items())
    lines = []
    for (size,), part in table.group_by("params", maintain_order=True):
        by_arms: dict[str, list[str]] = {}
        for (name,), rows in part.group_by("benchmark", maintain_order=True):
            by_arms.setdefault(_arms(rows), []).append(str(name))
        by_arms.pop("", None)
        found = "; ".join(f"{', '.join(names)} {arms}" for arms, names in sorted(by_arms.items(), reverse=True))
        lines.append(f"At chance at {where}{format_count(size)} params, at its largest budget: {found or 'nothing'}.")
    return "\n".join(lines)


def _arms(rows: pl.DataFrame) -> str:
    """In which arms a benchmark is at chance, from its row of each."""
    lost = [f"{ratio:g}" for ratio in rows.filter("at_chance")["synthetic_ratio"]]
    return "in every arm" if len(lost) == len(rows) else f"at synthetic_ratio {' and '.join(lost)}" if lost else ""


def _claim(verdict: Verdict) -> str:
    shown = verdict.named or verdict.tested[0]
    reference, effect = shown.reference, shown.difference
    if verdict.named:
        only = "" if shown.model.flops < reference.flops / EQUAL else ", though only at equal cost"
        return (
            f"The claim holds{only}: {describe(shown.model)}, at {_share(shown.model, reference)} of the training FLOPs, "
            f"beat the reference, {describe(reference)}: a difference of {interval(effect)} ({_basis(verdict, effect)})."
        )
    return (
        f"No synthetic cell beats the reference, {describe(reference)}: the dearest tested, {describe(shown.model)}, "
        f"differs by {interval(effect)} ({_basis(verdict, effect)})."
    )


def _sequence(verdict: Verdict) -> str:
    tested = f"{len(verdict.tested)} of {_count(verdict.candidates, 'synthetic cell')} no dearer than the reference"
    were = "was" if len(verdict.tested) == 1 else "were"
    return f"{tested} {were} tested, from the dearest down to the first that fails; {verdict.passed} passed."


def _clean(clean: Clean, items: int) -> str:
    if clean.difference is None:
        return "GPT-3's rule finds every item in the text that was read, so there is no score on clean items."
    if clean.items == items:
        return "GPT-3's rule finds none of the items in the text that was read."
    over = f"{_count(clean.items, 'item')} of {_count(clean.benchmarks, 'benchmark')}"
    return f"On the {over} that GPT-3's rule finds nowhere in the text that was read, it is {interval(clean.difference)}."


def _basis(verdict: Verdict, effect: Interval) -> str:
    over = f"{_count(verdict.items, 'item')} of {_count(verdict.benchmarks, 'benchmark')}"
    if effect.method == "items":
        return f"1 seed: items only, given this seed; {over}"
    pooled = f"paired t, variance pooled over {verdict.groups} (size, arm) groups"
    how = "bootstrap over seeds and templates" if effect.method == "bootstrap" else pooled
    return f"{_count(effect.seeds, 'seed')}, {over}, paired; {how}"


def describe(model: Model) -> str:
    """`0.1M params on 0.5M tokens (synthetic_ratio 1, score 0.310)`."""
    return (
        f"{format_count(model.params)} params on {format_count(model.tokens)} tokens "
        f"(synthetic_ratio {model.synthetic_ratio:g}, score {model.score:.3f})"
    )


def _cell(model: Model) -> str:
    return f"synthetic_ratio {model.synthetic_ratio:g}, {format_count(model.params)} params, {format_count(model.tokens)} tokens"


def interval(effect: Interval) -> str:
    """`+0.110, 95% interval [+0.021, +0.199]`."""
    return f"{signed(effect.estimate)}, 95% interval [{signed(effect.low)}, {signed(effect.high)}]"


def signed(value: float) -> str:
    """Three decimals with a sign, rounded towards 0 where rounding would turn a bound into 0 (`+0.0004` → `+0.0004`)."""
    text = f"{value:+.3f}"
    return text if float(text) != 0 or value == 0 else f"{value:+.1g}"


def _share(model: Model, reference: Model) -> str:
    ratio = reference.flops / model.flops
    return "100%" if ratio < EQUAL else f"{100 / ratio:.0f}%" if ratio < 2 else f"1/{ratio:.3g}"


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
