"""Any task or group of EleutherAI's lm-evaluation-harness by its name, run by lm-eval itself on the model in memory.

lm-eval brings the tasks' definitions, so its version is part of a score's digest; their data come from the hub through the cache of the
`datasets` library, which asks nobody where HF_HUB_OFFLINE or HF_DATASETS_OFFLINE is set. No code of the hub is run.
"""

from __future__ import annotations

import copy
import logging
import os
import random
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from difflib import get_close_matches
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch

from ablate.data.tokenizer import beginning_with
from ablate.errors import DataError, NetworkError, RunError, StudyError, UsageError
from ablate.evals import logged
from ablate.evals.items import LM_EVAL, Benchmark
from ablate.evals.result import Result
from ablate.study.grid import digest

if TYPE_CHECKING:  # a driver asks for digests here and need not wait for the modelling code to load
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

LOGITS_AT_ONCE = 2**26
"""Most logits in a batch, padding included: 256 MiB in float32, and lm-eval holds them twice."""
BOOTSTRAPS = 1000
"""Resamples for the standard error of what is no mean (lm-eval's own 100,000 take minutes)."""
PYTHON_SEED, SEED = 0, 1234
"""Of Python's random numbers, and of all others: lm-eval's own."""

_INSTALL = "pip install 'ablate[lm-eval]'"


def benchmarks(names: Sequence[str]) -> list[Benchmark]:
    """One benchmark a name, whose items are not known before lm-eval has run it. StudyError where lm-eval is not installed."""
    return [_benchmark(name) for name in names]


def check(names: Sequence[str], max_tokens: int | None = None) -> None:
    """Fetch what the tasks lack of their data, and refuse what models that see `max_tokens` tokens (None: that is not known) could not
    be scored on.

    StudyError for a name that is no task, for a task that runs code, and for one that lets a model write more than it sees; NetworkError
    for data that are not here while the hub cannot be reached, DataError for others that cannot be had.
    """
    for name in names:
        for task in loaded(name)["tasks"].values():
            writes = logged.written_tokens(task)
            if max_tokens is not None and writes >= max_tokens:
                raise StudyError(
                    f"evaluate.lm_eval: the task {task.task_name} lets a model write {writes} tokens, and these models see {max_tokens} "
                    "at once; raise data.seq_len or leave the task out"
                )


def is_to_be_had(name: str) -> bool:
    """Whether a task's data are here or can be fetched, which they are. Refuses what `check` refuses of a task."""
    try:
        loaded(name)
    except NetworkError:
        return False
    return True


def score(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, benchmark: Benchmark, max_tokens: int, prefix: tuple[int, ...]
) -> Result:
    """Have lm-eval score a model that sees `max_tokens` tokens and whose texts begin with `prefix`. RunError where the task fails or
    its score is no finite number.

    Log-probabilities are made in float32. What is too long loses tokens at the left, each choice for itself. The few-shot examples are
    the same for every model, and the generators of random numbers are left as they were.
    """
    wanted = loaded(benchmark.name)
    tasks = wanted["tasks"]
    for task in tasks.values():
        task.set_fewshot_seed(SEED)
    with contained(), torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        random.seed(PYTHON_SEED)
        np.random.seed(SEED)
        torch.manual_seed(SEED)
        try:
            # before the windows of a rolling task lm-eval puts the first token itself
            rolling = all(task.OUTPUT_TYPE == "loglikelihood_rolling" for task in tasks.values())
            judged = harness().models.huggingface.HFLM(
                pretrained=model,
                tokenizer=copy.deepcopy(tokenizer) if rolling else beginning_with(prefix, tokenizer),
                batch_size=max(1, min(64, LOGITS_AT_ONCE // (max_tokens * model.config.vocab_size))),
                max_length=max_tokens,
                softmax_dtype="float32",
            )
            found = harness().evaluator.evaluate(judged, wanted, bootstrap_iters=BOOTSTRAPS)
            return logged.result(benchmark, found, tasks, judged)
        except RunError:
            raise
        except Exception as e:
            raise RunError(f"lm-eval's task {benchmark.name} failed ({type(e).__name__}: {_short(e)})") from e


@cache
def harness() -> Any:
    """lm-eval, imported where it is first asked for: that takes seconds, and few studies need it. StudyError where it is missing."""
    version()
    try:
        with contained():
            import lm_eval.evaluator
            import lm_eval.models.huggingface
            import lm_eval.tasks
    except ImportError as e:
        raise StudyError(f"evaluate.lm_eval: lm-eval cannot be imported ({_short(e)}): {_INSTALL}") from e
    return lm_eval


@cache
def loaded(name: str) -> dict[str, Any]:
    """{"tasks": {name: task}, "groups": {name: group}} of one task, or of a group that has a score of its own, ready to be run."""
    manager = _beside(name) or _everything()
    if name not in manager.task_index:
        near = ", ".join(get_close_matches(name, manager.task_index, 3, 0))
        raise StudyError(f"evaluate.lm_eval: lm-eval {version()} has no task {name!r}; nearest: {near}")
    if name in manager.all_tags:
        tagged = ", ".join(sorted(manager.task_index[name].tags))
        raise StudyError(f"evaluate.lm_eval: {name} is no task but a tag of several; name them: {tagged}")
    own = manager.task_index[name].cfg or {}
    if name in manager.all_groups and not own.get("aggregate_metric_list"):
        raise StudyError(f"evaluate.lm_eval: {name} is a group without a score of its own; name what is in it: {_inside(own)}")
    for part, definition in _parts(name, manager.task_index):
        _refuse_unsafe(part, definition or {})
    with contained():
        try:
            found: dict[str, Any] = manager.load([name])
        except Exception as e:
            raise _not_loaded(name, e) from e
    for task in found["tasks"].values():
        if task.config.num_fewshot is None:
            task.set_config("num_fewshot", 0)
    return found


@contextmanager
def contained() -> Iterator[None]:
    """Keep to itself what lm-eval and its libraries would do besides: log lines, bars, prints, warnings, random numbers drawn,
    processes of their own, and metrics that are scripts of the hub."""
    import evaluate

    def refused(path: str, *_: object, **__: object) -> NoReturn:
        raise RunError(f"the metric {path} is code that the hub would send, which is not run here")

    silent, load, many = logging.root.manager.disable, evaluate.load, os.environ.get("DISABLE_MULTIPROC")
    python, numpy = random.getstate(), np.random.get_state()
    with open(os.devnull, "w") as nowhere, warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        evaluate.load, os.environ["DISABLE_MULTIPROC"] = refused, many or "1"
        try:
            yield
        finally:
            logging.disable(silent)
            evaluate.load = load
            random.setstate(python)
            np.random.set_state(numpy)
            if many is None:
                os.environ.pop("DISABLE_MULTIPROC", None)


@cache
def version() -> str:
    """lm-eval's. StudyError where it is not installed."""
    try:
        return metadata.version("lm_eval")
    except metadata.PackageNotFoundError:
        raise StudyError(f"evaluate.lm_eval needs the package lm-eval: {_INSTALL}") from None


@cache
def _everything() -> Any:
    """lm-eval's list of all its tasks. To read them takes ten seconds."""
    with contained():
        return harness().tasks.TaskManager()


def _beside(name: str) -> Any:
    """The list of the tasks in the folder that defines `name`; None where there is no such folder, or where more is needed."""
    defines = re.compile(rb"""^["']?(?:task|group)["']?[ ]*:[ ]*["']?%b["']?[ ]*\r?$""" % re.escape(name.encode()), re.MULTILINE)
    files = sorted(Path(harness().tasks.__file__).parent.glob("**/*.yaml"))
    folder = next((path.parent for path in files if defines.search(path.read_bytes())), None)
    if folder is None:
        return None
    with contained():
        manager = harness().tasks.TaskManager(include_path=folder, include_defaults=False)
    known = name in manager.task_index and None not in (definition for _, definition in _parts(name, manager.task_index))
    return manager if known else None


def _benchmark(name: str) -> Benchmark:
    """A name means a definition only together with lm-eval's version. Of the task's data nobody keeps a version."""
    identity = digest({"lm_eval": name, "version": version()})
    return Benchmark(name=name, group="lm_eval", register=LM_EVAL, fresh=False, chance=None, digest=identity, items=(), kind="lm_eval")


def _parts(name: str, index: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """Of a task, or of everything that is in a group or a tag: its name and its YAML file, the functions in it unread; None where
    `index` does not have it."""
    if name not in index:
        yield name, None
        return
    entry = index[name]
    inside = entry.cfg.get("task") if entry.cfg else sorted(entry.tags)
    if not isinstance(inside, list):
        yield name, entry.cfg
        return
    for part in inside:
        if isinstance(part, dict):
            yield name, part
            part = part.get("task") or part.get("group")
        yield from _parts(str(part), index)


def _inside(group: Mapping[str, Any]) -> str:
    return ", ".join(part if isinstance(part, str) else str(part.get("task") or part.get("group")) for part in group["task"])


def _refuse_unsafe(name: str, definition: Mapping[str, Any]) -> None:
    if definition.get("unsafe_code"):
        raise StudyError(
            f"evaluate.lm_eval: the task {name} runs what the model writes outside of any sandbox; "
            "of the catalogue humaneval and mbpp run it inside of one (evaluate.benchmarks, with evaluate.allow_code_execution)"
        )
    if definition.get("doc_to_image") or definition.get("doc_to_audio"):
        raise StudyError(f"evaluate.lm_eval: the task {name} is about images or sounds; these models read text")
    writes = definition.get("output_type", "generate_until") == "generate_until"  # elsewhere lm-eval does not call it
    if writes and any(metric.get("hf_evaluate") for metric in definition.get("metric_list") or []):
        raise StudyError(f"evaluate.lm_eval: the metric of the task {name} is code that the hub would send, which is not run here")


def _not_loaded(name: str, error: Exception) -> UsageError:
    """The sentence for a task that lm-eval cannot load: its code may ask for what is refused or not installed; else it lacks data."""
    cause: BaseException | None = error
    while cause and not isinstance(cause, RunError):
        cause = cause.__cause__ or cause.__context__
    if cause:
        return StudyError(f"evaluate.lm_eval: the task {name}: {cause}")
    told = f"evaluate.lm_eval: the task {name} cannot be loaded ({type(error).__name__}: {_short(error)})"
    if isinstance(error, ImportError):
        return StudyError(f"{told}; install what its code imports, or leave the task out")
    gone = isinstance(error, ConnectionError) or "Couldn't find cache for" in str(error)  # said where another part of the data is here
    missing = NetworkError if gone else DataError
    return missing(f"{told}; if its data are not on this machine, run `ablate prefetch STUDY` where there is a network")


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
