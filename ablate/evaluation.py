"""One model scored on everything that is wanted of it, benchmark by benchmark: what a job does for its runs and baselines.

A score and the answers behind it are renamed into place before the next benchmark begins, and what is there is not made again: a kill
loses no more than the benchmark at hand. A benchmark that fails does so alone: its sentence stands where its score would, and it is tried
again when the model is examined the next time.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ablate.baselines import Baseline, prefix_of
from ablate.errors import AblateError, DiskFullError, Interrupted
from ablate.evals import last_word, lm_eval, safety, scoring, stories, texts, written
from ablate.evals.generate import Writer
from ablate.evals.items import Benchmark
from ablate.evals.judge import judge_of
from ablate.evals.kept import Kept
from ablate.evals.latency import latency
from ablate.evals.likelihood import reads_trees
from ablate.evals.requests import Requests, beginning
from ablate.evals.result import Result
from ablate.scored import Text, Wanted
from ablate.study import spec
from ablate.train import device
from ablate.workspace import Workspace, disk_full, is_disk_full, read_json, score_file, write_json

if TYPE_CHECKING:  # a driver asks here what can be scored and need not wait for the modelling code to load
    from transformers import PreTrainedModel

Row = dict[str, Any]


class Examiner:
    """Scores the models of one tokenizer; what it makes of benchmarks and texts is made once and serves all of them."""

    def __init__(self, kept: Kept, device: torch.device, evaluate: spec.Evaluate, say: Callable[[str], None] = lambda line: None) -> None:
        """`say` is told every score as it is made."""
        self.kept = kept
        self.device = device
        self.evaluate = evaluate
        self.say = say
        self._prepared: dict[tuple[str, bool], Requests] = {}
        self._windows: dict[str, texts.Windows | None] = {}

    def examine(self, folder: Path, key: str, model: PreTrainedModel, benchmarks: Sequence[Benchmark], measured: Sequence[Text]) -> None:
        """Make the scores and measure the texts that `folder` lacks of `model`, which `key` identifies. Of a benchmark's failure only
        Interrupted and DiskFullError are raised; RunError where the loss on a text is no finite number."""
        model.eval()
        for benchmark in benchmarks:
            self._score(folder, key, benchmark, model)
        for text in measured:
            self._measure(folder, text, model)

    def _score(self, folder: Path, key: str, benchmark: Benchmark, model: PreTrainedModel) -> None:
        name = score_file(benchmark.name, benchmark.register, benchmark.fresh, benchmark.digest)
        path, answers = folder / "scores" / name, folder / "answers" / name
        digest, known = scoring.score_digest(key, benchmark.digest), read_json(path) or {}
        if known.get("digest") == digest and known.get("error") is None and answers.exists():
            return
        began = time.perf_counter()
        try:
            result = self._result(benchmark, model, folder / "judged" / f"{path.stem}.jsonl")
            row, error = result.row(), None
            write_json(answers, dict(result.answers))
        except Exception as e:
            row, error = _unscored(benchmark), _sentence(e, path)
            answers.unlink(missing_ok=True)
        identity = {"digest": digest, "benchmark_digest": benchmark.digest, "seconds": time.perf_counter() - began, "error": error}
        write_json(path, {**row, **identity})
        self.say(f"{benchmark.name}: {error or row['score']}")

    def _result(self, benchmark: Benchmark, model: PreTrainedModel, judged: Path) -> Result:
        """The score by the benchmark's kind."""
        match benchmark.kind:
            case "safety":
                return safety.score(model, self._requests(benchmark, model), self.device)
            case "last_word":
                return last_word.score(model, self._requests(benchmark, model), self.device)
            case "lm_eval":
                return lm_eval.score(model, self.kept.tokenizer, benchmark, self.kept.max_tokens, self.kept.prefix)
            case "story":
                return stories.score(self._writer(model), benchmark, judge_of(benchmark.name, self.evaluate.judge), judged)
            case "generate" | "code":
                return written.score(self._writer(model), benchmark, self.evaluate.allow_code_execution)
            case _:
                return scoring.score(model, self._requests(benchmark, model), self.device)

    def _writer(self, model: PreTrainedModel) -> Writer:
        return Writer(model, self.kept.tokenizer, self.device, self.kept.prefix, self.kept.max_tokens)

    def _requests(self, benchmark: Benchmark, model: PreTrainedModel) -> Requests:
        key = benchmark.digest, reads_trees(model.config.model_type)
        if key not in self._prepared:
            self._prepared[key] = self.kept.requests(benchmark, key[1])
        return self._prepared[key]

    def _measure(self, folder: Path, text: Text, model: PreTrainedModel) -> None:
        """Bits per byte of one text; null where its source holds nothing out."""
        path = folder / "texts" / f"{text.name}.json"
        if (read_json(path) or {}).get("identity") == text.identity:
            return
        began = time.perf_counter()
        windows = self._cut(text)
        loss = vars(texts.bits_per_byte(model, windows, self.device)) if windows else {"bits_per_byte": None, "tokens": 0, "bytes": 0}
        identity = {"text": text.name, "primary": text.primary, "identity": text.identity, "scorer": scoring.SCORER_VERSION}
        write_json(path, {**identity, **loss, "seconds": time.perf_counter() - began})

    def _cut(self, text: Text) -> texts.Windows | None:
        """The text, tokenised once; None where its source holds nothing out."""
        if text.name not in self._windows:
            documents, kept = text.documents(), self.kept
            first = kept.prefix[-1] if kept.prefix else beginning(kept.tokenizer)
            self._windows[text.name] = texts.windows(documents, kept.tokenizer, kept.max_tokens, first) if documents else None
        return self._windows[text.name]


def scores_in(folder: Path, key: str) -> list[Row]:
    """All scores of a model that today's scorer stands by: those wanted now, and those that were wanted before."""
    rows = [read_json(path) for path in sorted((folder / "scores").glob("*.json"))]
    return [row for row in rows if row["digest"] == scoring.score_digest(key, row["benchmark_digest"])]


def texts_in(folder: Path) -> list[Row]:
    """The loss on every text that was measured by today's rules."""
    rows = [read_json(path) for path in sorted((folder / "texts").glob("*.json"))]
    return [row for row in rows if row["scorer"] == scoring.SCORER_VERSION]


def _named(benchmark: Benchmark) -> Row:
    return {"benchmark": benchmark.name, "register": benchmark.register, "fresh": benchmark.fresh, "group": benchmark.group}


def _unscored(benchmark: Benchmark) -> Row:
    """The row of a benchmark that failed."""
    numbers = dict.fromkeys(("score", "stderr", "acc_norm", "mean_logprob"))
    return {**_named(benchmark), "metric": None, **numbers, "chance": benchmark.chance, "n": len(benchmark.items)}


def _sentence(error: Exception, path: Path) -> str:
    """Why a benchmark failed. What is not the benchmark's fault is raised: a full disk, a request to leave."""
    if isinstance(error, (Interrupted, DiskFullError)):
        raise error
    if is_disk_full(error):
        raise disk_full(path) from error
    if isinstance(error, AblateError):
        return str(error)
    traceback.print_exception(error)
    return f"{type(error).__name__}: {error}"


def cost_of_writing(model: PreTrainedModel, chosen: torch.device, space: Workspace) -> Row | None:
    """The latency columns of a model. None where they cannot be measured, which is said and fails nothing: its scores are there."""
    try:
        return latency(model, chosen, space.latency)
    except Exception as e:
        print(f"what the model costs to write with is not known: {_sentence(e, space.latency)}", file=sys.stderr)
        return None


def examine_baseline(
    space: Workspace, baseline: Baseline, wanted: Wanted, chosen: torch.device, say: Callable[[str], None] = lambda line: None
) -> Row:
    """Score `baseline` on everything that is wanted and not in its folder; its outcome, which is written there last. It has failed where
    it cannot be loaded. An outcome is of one number format; scores in another stay in a folder of their own. Fresh twins are not asked:
    they tell what a run memorised of a text, and this one's is not known."""
    started, error, cost = time.time(), None, None
    precision = baseline.precision(chosen.type)
    folder, key = space.baselines / baseline.digest / precision, baseline.scored_in(precision)
    try:
        tokenizer = baseline.tokenizer()
        kept = Kept(tokenizer, baseline.tokenizer_digest, prefix_of(tokenizer), baseline.max_tokens, space.requests)
        model = baseline.load(chosen)
        examiner = Examiner(kept, chosen, wanted.evaluate, say)
        examiner.examine(folder, key, model, wanted.benchmarks(fresh=False), wanted.texts())
        cost = cost_of_writing(model, chosen, space)
    except Exception as e:
        error = _sentence(e, folder)
    attempt = {
        "host": socket.gethostname(), "pid": os.getpid(), "device_type": chosen.type, "started": started, "ended": time.time(),
        **device.describe(chosen),
    }  # fmt: skip
    found = {"scores": scores_in(folder, key), "texts": texts_in(folder), "latency": cost, "attempt": attempt}
    outcome = baseline.outcome(error, digest=key, precision=precision, **found)
    write_json(folder.parent / "outcome.json", outcome)
    return outcome
