"""The tables of results.db. Every column says what it holds; docs/results.md repeats it and a test compares the two.

Optuna keeps its own tables in the same file (`studies`, `trials`, `trial_*`, `study_user_attributes` and the like, `version_info`,
`alembic_version`): none of ours may take such a name. Times are UTC, ISO 8601. A table that changes here needs a
migration (migrate.py) for the files that exist.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, ForeignKey, Integer, MetaData, String, Table, Text, UniqueConstraint

metadata = MetaData()

_REGISTER = "style its items are written in: textbook or page; published: by others; lm_eval: a task that lm-eval runs"


def _run_key(**options: Any) -> Column[str]:
    return Column("run", String(16), ForeignKey("runs.run"), nullable=False, comment="digest of the run", **options)


def _latency() -> list[Column[Any]]:
    """What generating with a shape costs; ablate/evals/latency.py says how it is measured."""
    return [
        Column("ms_per_token", Float, comment="milliseconds from one token to the next, batch 1 without a prompt, with a key-value cache"),
        Column("ms_to_first_token", Float, comment="milliseconds from a prompt, 512 tokens or what leaves room for 34, to a token"),
        Column("generate_tokens_per_s", Float, comment="tokens a second of generate_batch texts written side by side"),
        Column("generate_batch", Integer, comment="texts written side by side for generate_tokens_per_s"),
        Column("inference_memory_bytes", BigInteger, comment="bytes of the weights and the most that generating took beside them"),
        Column("inference_precision", String(16), comment="number format of the weights while that was measured"),
        Column("inference_device", String(120), comment="model of the device that it was measured on"),
        Column("ms_per_token_after_prompt", Float, comment="as ms_per_token, after the prompt of ms_to_first_token"),
    ]


def _scores() -> list[Column[Any]]:
    """What is known of a model's answers to one benchmark, whoever the model is."""
    return [
        Column("benchmark", String(60), nullable=False, comment="name of the benchmark"),
        Column("register", String(16), nullable=False, comment=_REGISTER),
        Column("fresh", Boolean, nullable=False, comment="whether this is the fresh twin: the same templates with new items"),
        Column("group", String(60), nullable=False, comment="what it tests; a word of SQL, so write it in double quotes"),
        Column("metric", String(60), comment="what score is: acc, exact_match, pass@1, safety, grade, or what lm-eval calls it"),
        Column("score", Float, comment="the figure; NULL where error says why there is none"),
        Column("stderr", Float, comment="its standard error over items: the larger of plain and clustered by template"),
        Column("acc_norm", Float, comment="accuracy by log-likelihood a character of the choice; never in one figure with acc"),
        Column("chance", Float, comment="score of blind guessing; NULL where that means nothing"),
        Column("n", Integer, comment="items"),
        Column("mean_logprob", Float, comment="mean log-probability of the right choice, nats"),
        Column("bits_per_byte", Float, comment="bits a UTF-8 byte of the right choices, over all items"),
        Column("truncated", Integer, comment="items whose context lost tokens at the left, being longer than the model reads"),
        Column("shots", Integer, comment="solved examples before each item"),
        Column("details", JSON(none_as_null=True), comment="further figures by name: mc2, f1, perplexity, unscaled_u ..."),
        Column("error", Text, comment="why there is no score; NULL where there is one"),
        Column("digest", String(64), nullable=False, comment="hash of the model, the items and the scorer"),
        Column("benchmark_digest", String(16), comment="hash of the items: benchmarks of one name may differ in them"),
    ]


def _answers(scores: str) -> list[Column[Any]]:
    """One item's answer, behind a score of the table `scores`."""
    return [
        Column("score_id", Integer, ForeignKey(f"{scores}.id"), primary_key=True, autoincrement=False, comment=f"{scores}.id"),
        Column("item", Integer, primary_key=True, autoincrement=False, comment="place in the benchmark, from 0: one item for all models"),
        Column("template", Text, nullable=False, comment="items of one template are alike; errors cluster by it"),
        Column("correct", Float, comment="1 if the answer is right, else 0; of code, the share of samples that pass; NULL: none is right"),
        Column("correct_norm", Integer, comment="the same of the choice of largest log-probability a character; NULL without choices"),
        Column("choice", Integer, comment="the choice of largest log-probability, from 0; NULL without choices"),
        Column("logprob", Float, comment="log-probability of the right choice, nats; NULL where the model wrote its answer"),
        Column("output", Text, comment="what the model wrote (JSON where that is several texts); NULL where it chose"),
    ]


def _texts() -> list[Column[Any]]:
    """How well a model predicts a held-out text, whoever the model is."""
    return [
        Column("text", String(60), primary_key=True, comment="name of the held-out text: neutral, synthetic, web, or one of held_out"),
        Column("bits_per_byte", Float, nullable=False, comment="loss in bits a UTF-8 byte"),
        Column("tokens", BigInteger, nullable=False, comment="tokens scored"),
        Column("bytes", BigInteger, nullable=False, comment="their UTF-8 bytes"),
        Column("is_primary", Boolean, nullable=False, comment="whether this is the primary text, which no arm of a study trains on"),
    ]


migrations = Table(
    "ablate_migrations",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False, comment="number of the migration; the largest is the file's version"),
    Column("name", String(80), nullable=False, comment="its function in ablate/store/migrate.py"),
    Column("applied", String(32), nullable=False, comment="when it was applied"),
)

study_specs = Table(
    "study_specs",
    metadata,
    Column("study", String(60), primary_key=True, comment="name of the study"),
    Column("question", Text, nullable=False, comment="what the study asks, in its author's words"),
    Column("file", Text, nullable=False, comment="study file, as it was named on the command line"),
    Column("profile", String(60), comment="profile it was run with; NULL for none"),
    Column("spec", JSON, nullable=False, comment="the whole study as it was run, profile and overrides applied"),
    Column("saved", String(32), nullable=False, comment="when this version of the study was first run"),
)

study_benchmarks = Table(
    "study_benchmarks",
    metadata,
    Column("study", String(60), ForeignKey("study_specs.study"), primary_key=True, comment="name of the study"),
    Column("benchmark_digest", String(16), primary_key=True, comment="hash of the items"),
    Column("benchmark", String(60), nullable=False, comment="name of the benchmark"),
    Column("fresh", Boolean, nullable=False, comment="whether this is the fresh twin"),
)

study_baselines = Table(
    "study_baselines",
    metadata,
    Column("study", String(60), ForeignKey("study_specs.study"), primary_key=True, comment="name of the study"),
    Column("baseline", String(16), primary_key=True, comment="digest of the baseline; it is in baselines once it is scored"),
    Column("position", Integer, nullable=False, comment="place in the list of the study, from 0"),
)

runs = Table(
    "runs",
    metadata,
    Column("run", String(16), primary_key=True, comment="digest of the recipe; also the folder runs/<digest>"),
    Column("family", String(16), nullable=False, index=True, comment="digest of the recipe without tokens: a family shares a trunk"),
    Column("seed", Integer, nullable=False, comment="seed of the weights and of the order of the documents"),
    Column("params", BigInteger, nullable=False, comment="non-embedding parameters asked for; the built shape is within 3%"),
    Column("tokens", BigInteger, nullable=False, comment="token budget asked for"),
    Column("synthetic_ratio", Float, nullable=False, comment="share of the sequences from the synthetic source; exact in recipe"),
    Column("recipe", JSON, nullable=False, comment="everything that changes the weights, resolved"),
    Column("status", String(16), nullable=False, comment="pending, running, done or failed"),
    Column("error", Text, comment="why it failed; NULL unless status is failed"),
    Column("outcome", String(64), comment="hash of what was last recorded, so that recording it again changes nothing"),
    Column("params_non_embedding", BigInteger, comment="non-embedding parameters of the built model, exact"),
    Column("params_total", BigInteger, comment="all parameters of the built model, embeddings included"),
    Column("steps", BigInteger, comment="optimiser steps"),
    Column("tokens_trained", BigInteger, comment="tokens of those steps: the budget rounded down to whole batches"),
    Column("train_flops", Float, comment="training FLOPs by the convention of docs/results.md, counted and not measured"),
    Column("train_seconds", Float, comment="device-seconds the run would take alone: the trunk up to its fork plus its own decay"),
    Column("spent_seconds", Float, comment="device-seconds charged to the run: its share of the trunk plus its decay; sums to the bill"),
    Column("lost_seconds", Float, comment="device-seconds trained again after interruptions"),
    Column("score_seconds", Float, comment="device-seconds of scoring"),
    Column("setup_seconds", Float, comment="seconds before the first step (loading, compiling); NULL where not measured"),
    Column("hours_basis", String(16), comment="how train_seconds came about: measured (trained alone), shared (a trunk) or packed"),
    Column("mfu", Float, comment="train_flops / seconds / dense bf16 peak of the device; NULL where the peak is not known"),
    Column("peak_memory_bytes", BigInteger, comment="most memory held: on the GPU, or by the process on a CPU"),
    Column("final_loss", Float, comment="training loss, nats a token, mean over the last 5% of the steps"),
    Column("bits_per_byte", Float, comment="of the primary held-out text, which no arm trains on"),
    Column("device", String(120), comment="model of the device, as its driver names it"),
    Column("device_type", String(16), comment="cuda or cpu; NULL where not recorded"),
    Column("started", String(32), comment="start of the last attempt"),
    Column("ended", String(32), comment="end of the last attempt"),
    Column("optimizer", String(16), comment="name of the optimiser in the recipe"),
    Column("predicted_seconds", Float, comment="train_seconds as predicted before the run started; NULL where nothing was known"),
    Column("predicted_memory_bytes", BigInteger, comment="peak_memory_bytes as predicted before the run started"),
    *_latency(),
)

study_runs = Table(
    "study_runs",
    metadata,
    Column("study", String(60), ForeignKey("study_specs.study"), primary_key=True, comment="name of the study"),
    _run_key(primary_key=True),
    Column("cell", String(16), primary_key=True, comment="digest of factors: cells with one recipe share a run, each with a row here"),
    Column("position", Integer, nullable=False, comment="place in the order of the study's grid, from 0"),
    Column("factors", JSON, nullable=False, comment="factor → level, in the study's order"),
    Column("active", Boolean, nullable=False, comment="whether the study, as last run, has this cell; the views show only these"),
    Column("mean_score", Float, comment="mean of (score - chance) / (1 - chance) over the study's benchmarks; NULL until all are scored"),
    Column("mean_score_version", Integer, comment="version of the rule behind mean_score"),
    Column("told_score", Float, comment="mean_score that Optuna was told; NULL if none"),
    Column("data_costs", JSON, comment="source → GPU-hours that a billion of its tokens cost to generate, as the study states them"),
    Column("data_gpu_hours", Float, comment="GPU-hours that the run's different tokens cost to generate; NULL where a source states none"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Integer, primary_key=True, comment="number of the attempt"),
    _run_key(index=True),
    Column("job", String(80), comment="job that made it: its folder in runs/jobs"),
    Column("status", String(16), nullable=False, comment="running, done, failed, or lost (its worker died without a word)"),
    Column("error", Text, comment="why it failed"),
    Column("launcher", String(40), comment="how its process was started"),
    Column("host", String(255), comment="machine"),
    Column("pid", Integer, comment="process on that machine"),
    Column("device", String(120), comment="model of the device, as its driver names it"),
    Column("device_type", String(16), comment="cuda or cpu"),
    Column("threads", Integer, comment="CPU threads of torch"),
    Column("compile", Boolean, comment="whether torch.compile was on"),
    Column("versions", JSON, comment="versions of Python and the libraries"),
    Column("started", String(32), comment="when it began"),
    Column("ended", String(32), comment="when it ended; NULL while it runs"),
    Column("optimizer_backend", String(40), comment="whose update kernel ran: apex, or one of torch's"),
    Column("optimizer_version", String(80), comment="version of that library"),
    Column("micro_batch", Integer, comment="sequences a pass, as it was at the end"),
    Column("oom_halvings", Integer, comment="times the micro-batch was halved because memory ran out"),
    Column("pack", Integer, comment="models trained at once in one step; 1: this one alone"),
    Column("devices", Integer, comment="devices that this one run was spread over"),
    Column("activation_checkpointing", Boolean, comment="whether activations were computed again in the backward pass instead of kept"),
)

curves = Table(
    "curves",
    metadata,
    _run_key(primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False, comment="optimiser step; at most 200 a run (all: metrics.jsonl)"),
    Column("tokens", BigInteger, comment="tokens seen by then"),
    Column("loss", Float, comment="training loss of that step, nats a token"),
    Column("lr", Float, comment="learning rate"),
    Column("grad_norm", Float, comment="norm of the gradient before clipping"),
    Column("tokens_per_s", Float, comment="tokens a second"),
    Column("seconds", Float, comment="training seconds by then, stand-alone"),
    sqlite_with_rowid=False,
)

benchmark_scores = Table(
    "benchmark_scores",
    metadata,
    Column("id", Integer, primary_key=True, comment="number of the score; item_answers refer to it"),
    _run_key(),
    *_scores(),
    Column(
        "score_clean",
        Float,
        comment="score on the items that gpt3's rule finds in no source the run read; NULL until measured, or with no such item",
    ),
    Column("n_clean", Integer, comment="items behind score_clean; NULL until measured"),
    UniqueConstraint("run", "digest"),
)

item_answers = Table("item_answers", metadata, *_answers("benchmark_scores"), sqlite_with_rowid=False)

baselines = Table(
    "baselines",
    metadata,
    Column("baseline", String(16), primary_key=True, comment="digest of the model; also the folder baselines/<digest>"),
    Column("name", Text, nullable=False, comment="as it was asked for: an id of the Hugging Face hub, or a folder"),
    Column("revision", String(80), comment="commit of the hub; NULL for a folder"),
    Column("folder", Text, comment="where its files were read"),
    Column("params_total", BigInteger, comment="all parameters, embeddings included"),
    Column("params_non_embedding", BigInteger, comment="non-embedding parameters"),
    Column("status", String(16), nullable=False, comment="done or failed"),
    Column("error", Text, comment="why it failed; NULL unless status is failed"),
    Column("outcome", String(64), comment="hash of what was last recorded, so that recording it again changes nothing"),
    Column("device", String(120), comment="model of the device that scored it"),
    Column("device_type", String(16), comment="cuda or cpu; NULL where not recorded"),
    Column("ended", String(32), comment="when it was scored"),
    *_latency(),
    Column("precision", String(16), comment="number format of its weights while it was scored; NULL where not recorded"),
)

baseline_scores = Table(
    "baseline_scores",
    metadata,
    Column("id", Integer, primary_key=True, comment="number of the score; baseline_answers refer to it"),
    Column("baseline", String(16), ForeignKey("baselines.baseline"), nullable=False, comment="digest of the baseline"),
    *_scores(),
    UniqueConstraint("baseline", "digest"),
)

baseline_answers = Table("baseline_answers", metadata, *_answers("baseline_scores"), sqlite_with_rowid=False)

reference_scores = Table(
    "reference_scores",
    metadata,
    Column("id", Integer, primary_key=True, comment="number of the row in the file that ships with ablate, from 1"),
    Column("system", Text, nullable=False, comment="name of the published system"),
    Column("params", Float, comment="its parameters, as published"),
    Column("tokens", Float, comment="tokens it was trained on, as published"),
    Column("tokens_note", Text, comment="what is to be said of tokens"),
    Column("benchmark", String(60), nullable=False, comment="name of the benchmark"),
    Column("metric", String(60), nullable=False, comment="what value is: acc, acc_norm, pass@1 ...; never one for the other in a figure"),
    Column("value", Float, nullable=False, comment="the figure, as published"),
    Column("bound", String(1), comment="< or > where the figure is a bound; else empty"),
    Column("unit", Text, comment="unit of value"),
    Column("setting", Text, comment="how it was measured: shots, harness, prompt"),
    Column("source", Text, comment="where it was published"),
    Column("status", String(16), nullable=False, comment="found (read at the source) or recalled (not checked; hidden unless asked for)"),
)

text_losses = Table("text_losses", metadata, _run_key(primary_key=True), *_texts())

baseline_texts = Table(
    "baseline_texts",
    metadata,
    Column("baseline", String(16), ForeignKey("baselines.baseline"), primary_key=True, comment="digest of the baseline"),
    *_texts(),
)

source_usage = Table(
    "source_usage",
    metadata,
    _run_key(primary_key=True),
    Column("source", String(60), primary_key=True, comment="role of the source in the study"),
    Column("sequences", BigInteger, nullable=False, comment="sequences taken from it"),
    Column("tokens", BigInteger, nullable=False, comment="tokens taken from it, repetitions counted"),
    Column("bytes", BigInteger, nullable=False, comment="UTF-8 bytes of those tokens"),
    Column("unique_tokens", BigInteger, nullable=False, comment="different tokens of the source among them"),
    Column("epochs", Float, nullable=False, comment="passes over the source; 1 where it never ends"),
    Column("shards", String(16), comment="folder in runs/data that holds its tokens; overlaps refer to it"),
)

overlaps = Table(
    "overlaps",
    metadata,
    Column("shards", String(16), primary_key=True, comment="folder in runs/data: one stream of one source"),
    Column("benchmark_digest", String(16), primary_key=True, comment="hash of the benchmark's items"),
    Column("method", String(16), primary_key=True, comment="gpt3, palm, gpt4, or llama2_L for spans longer than L tokens"),
    Column("benchmark", String(60), nullable=False, comment="name of the benchmark"),
    Column("register", String(16), nullable=False, comment=_REGISTER),
    Column("fresh", Boolean, nullable=False, comment="whether this is the fresh twin"),
    Column("items", Integer, nullable=False, comment="items of the benchmark"),
    Column("contaminated", Integer, nullable=False, comment="items that the method calls contaminated"),
    Column("untold", Integer, nullable=False, comment="items too short for the method; they count as clean"),
    Column("content", String(64), nullable=False, comment="hash of the tokens that were looked through and of the rules of the search"),
)

item_overlaps = Table(
    "item_overlaps",
    metadata,
    Column("shards", String(16), primary_key=True, comment="folder in runs/data: one stream of one source"),
    Column("benchmark_digest", String(16), primary_key=True, comment="hash of the benchmark's items"),
    Column("method", String(16), primary_key=True, comment="as in overlaps"),
    Column(
        "item", Integer, primary_key=True, autoincrement=False, comment="place in the benchmark, from 0; items without overlap have no row"
    ),
    Column("value", Float, nullable=False, comment="share of the item's n-grams, substrings or tokens that stand in the source"),
    Column("contaminated", Boolean, nullable=False, comment="whether value reaches the method's threshold"),
    sqlite_with_rowid=False,
)
