"""What a study may say: one frozen class a block of the YAML file, each field described where it is declared.

The JSON Schema that editors use is generated from these classes and those of corpus.py; nothing else lists the keys.
Nothing here repairs a value: what cannot be run as written is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, model_validator

from ablate.study.benchmark import Benchmark as Benchmark
from ablate.study.block import Block as Block
from ablate.study.block import Count, Name, Seconds, or_text
from ablate.study.corpus import Data as Data
from ablate.study.corpus import Decontaminate as Decontaminate
from ablate.study.corpus import Hygiene as Hygiene
from ablate.study.corpus import Noise as Noise
from ablate.study.corpus import Source as Source
from ablate.study.corpus import Tokenizer as Tokenizer

_Beta = Annotated[float, Field(strict=True, ge=0, lt=1)]


class Model(Block):
    """The architecture: a shape that follows from `params` (ablate/model/ladder.py), a published model's, or a checkpoint's."""

    family: Literal["llama"] = Field("llama", description="transformers architecture of shapes that follow from params")
    tie_word_embeddings: Literal["auto"] | bool = Field(
        "auto", description="share the input and output embedding; auto: yes, or as the preset or the checkpoint has it"
    )
    preset: str | None = Field(None, description="a published model's shape, with fresh weights: phi-1.5, tinystories-33m, llama-2-7b ...")
    start_from: str | None = Field(
        None,
        alias="from",
        description="weights, shape and tokenizer of a checkpoint: its folder, run:DIGEST of a run here, or a hub id (ID@REVISION)",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Model:
        if self.preset is not None and self.start_from is not None:
            raise ValueError("preset: and from: both say what the model is; keep one")
        if self.brings_shape and self.tie_word_embeddings != "auto":
            raise ValueError("tie_word_embeddings: belongs to shapes that follow from params; leave it out beside preset: or from:")
        return self

    @property
    def brings_shape(self) -> bool:
        """Whether its parameters are counted, not asked for."""
        return self.preset is not None or self.start_from is not None


class Optimizer(Block):
    """The optimiser. Written `adamw`, `lamb` or as a mapping."""

    model_config = ConfigDict(json_schema_extra=or_text("^(adamw|lamb)$"))

    name: Literal["adamw", "lamb"] = "adamw"
    backend: Literal["auto", "apex", "torch"] = Field(
        "auto", description="auto: NVIDIA Apex on a GPU where it works, else torch; recorded with the attempt, in no digest"
    )
    betas: tuple[_Beta, _Beta] = Field((0.9, 0.95), description="decay of the first and second moment")
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.1, ge=0, description="on matrices only; norms and biases have none")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("betas"), list):
            return value | {"betas": tuple(value["betas"])}
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _lamb_needs_decay(self) -> Optimizer:
        if self.name == "lamb" and self.weight_decay == 0:
            raise ValueError("lamb scales the updates of decayed tensors only: with weight_decay: 0 it would be Adam; write adamw")
        return self


class Train(Block):
    """The recipe. Everything here changes the weights, so all of it is in a run's digest."""

    optimizer: Optimizer = Optimizer()
    lr: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] = Field(
        "auto", description="peak learning rate; auto: a published rule of params alone"
    )
    batch_tokens: Literal["auto"] | Count = Field("auto", description="tokens a step; auto: a published rule of params alone")
    schedule: Literal["wsd", "constant", "cosine", "linear"] = Field(
        "wsd",
        description="after the warm-up. wsd: constant, then decay (1 - sqrt); constant; cosine and linear: down to min_lr over all steps, "
        "which needs launch.share: none",
    )
    warmup_steps: Literal["auto"] | Annotated[int, Field(ge=0)] = Field("auto", description="linear warm-up; auto: a rule of params alone")
    decay: float = Field(0.2, gt=0, le=1, description="share of the steps in which the learning rate decays to 0")
    min_lr: float = Field(0, ge=0, lt=1, description="share of lr that cosine and linear end at")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="of the matrix products; auto: bfloat16 where it pays")

    @model_validator(mode="after")
    def _options_of_the_schedule(self) -> Train:
        if self.min_lr and self.schedule not in ("cosine", "linear"):
            raise ValueError("min_lr: belongs to schedule: cosine and linear")
        if self.decay != type(self).model_fields["decay"].default and self.schedule != "wsd":
            raise ValueError("decay: belongs to schedule: wsd")
        return self


def _is_sent_as_it_is(url: str) -> bool:
    return url.isascii() and url.isprintable() and " " not in url


class Judge(Block):
    """The model that grades stories, behind any endpoint that speaks OpenAI's chat completions."""

    url: str = Field(description="where the API begins, e.g. http://localhost:8000/v1")
    model: str = Field(min_length=1, description="the model that is asked to grade")
    api_key_env: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="environment variable that holds the key, where one is needed"
    )

    @model_validator(mode="after")
    def _a_url(self) -> Judge:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or not _is_sent_as_it_is(self.url):
            raise ValueError(f"url: {self.url!r} is not a URL; write http://HOST:PORT/v1")
        if parts.username is not None:
            raise ValueError("url: holds a name or a password and would be stored; put the key into a variable and name it in api_key_env:")
        return self


class Evaluate(Block):
    """What every model is scored on; mean_score is over exactly this set."""

    benchmarks: list[Benchmark] = Field([Benchmark(builtin="all")], description="embedded benchmarks and tasks of the catalogue")
    fresh_twins: bool = Field(True, description="score embedded benchmarks once more on new items at the largest budget")
    lm_eval: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="any other task of lm-eval by its name, run by lm-eval itself (needs the extra `lm-eval`)"
    )
    allow_code_execution: bool = Field(False, description="run what a model writes (humaneval, mbpp), in a sandbox without a network")
    judge: Judge | None = Field(None, description="the model that grades stories (needed by tinystories_judge)")

    @model_validator(mode="after")
    def _something_once(self) -> Evaluate:
        if not self.benchmarks and not self.lm_eval:
            raise ValueError("name at least one benchmark in benchmarks: or lm_eval:")
        if twice := {task for task in self.lm_eval if self.lm_eval.count(task) > 1}:
            raise ValueError(f"lm_eval: {min(twice)} is named twice")
        return self


Gpu = Literal["A100-40GB", "A100-80GB", "H100", "H100-PCIe", "H200", "L4", "L40S", "A10G", "RTX-4090"]


class Launch(Block):
    """How jobs are started. Nothing here is in a digest; it is recorded with each attempt."""

    launcher: Literal["local", "inline"] = Field("local", alias="with", description="local: one process a slot; inline: in this process")
    slots: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = Field(
        "auto", description="jobs at once; auto: one a GPU, or one a core"
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    compile: Literal["auto"] | bool = Field("auto", description="torch.compile; auto: where a compiler is at hand and it pays")
    share: Literal["trunk", "none"] = Field("trunk", description="trunk: runs that differ only in tokens share one trunk")
    pack: Literal["auto", "none"] | Annotated[int, Field(ge=1, le=1024)] = Field(
        "auto", description="families of one shape trained at once; auto: on a GPU as many as fit, if that is faster; none on a CPU"
    )
    devices: int = Field(1, ge=1, description="GPUs (or, on a CPU, processes) that train one model together, each holding a shard of it")
    activation_checkpointing: Literal["auto"] | bool = Field(
        "auto", description="keep a layer's input only and compute it twice; auto: on a GPU where one sequence does not fit without"
    )
    checkpoint_every: Seconds = Field(60.0, description="seconds between checkpoints; more where writing one takes more than 5% of them")
    gpu: Gpu | None = Field(None, description="the GPU that `ablate plan` prices for where it is not the one here")
    mfu: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="share of the peak that is expected of it (6 N and attention and head a token, dense bfloat16): plan prices by it, and "
        "says so; of the GPU that is here, what no known speed tells",
    )

    @model_validator(mode="after")
    def _devices_have_processes(self) -> Launch:
        if self.devices > 1 and self.launcher == "inline":
            raise ValueError(f"devices: {self.devices} needs a process for each of them, and with: inline starts none; write with: local")
        return self

    @model_validator(mode="after")
    def _packs_are_of_small_models(self) -> Launch:
        if not isinstance(self.pack, int) or self.pack == 1:
            return self
        if self.devices > 1:
            raise ValueError(
                f"pack: {self.pack} trains several models on one device, and devices: {self.devices} one model on several; keep one of them"
            )
        if self.activation_checkpointing is True:
            raise ValueError(
                f"activation_checkpointing: true is not to be had for several models at once (pack: {self.pack}); "
                "write pack: none, or leave it out"
            )
        return self


class Study(Block):
    """One study: the question, what is varied, the data, the recipe, the benchmarks."""

    name: Name
    question: str = ""
    grid: dict[str, list[Any]] = Field(
        {},
        description="factor → levels: params, tokens, synthetic_ratio, or the path of any other field, e.g. train.lr",
    )
    cells: list[dict[str, Any]] = Field([], description="explicit cells, added to the grid: each a mapping factor → level")
    where: str | None = Field(None, description='keep only the runs for which this holds, e.g. "params < 1B or seed == 0"')
    seeds: list[Annotated[int, Field(ge=0)]] = Field([0], min_length=1, description="each cell is run once a seed")
    data: Data
    model: Model = Model()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    baselines: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="other models scored beside the runs: hub ids (ID@REVISION pins one) or folders"
    )
    launch: Launch = Launch()
    keep_models: Literal["all", "best", "none"] = Field(
        "all",
        description="which finished models stay on the disk: without its model a run is trained again when a benchmark is added",
    )
    profiles: dict[str, dict[str, Any]] = Field({}, description="named overrides, chosen by --profile")

    @model_validator(mode="after")
    def _baselines_once(self) -> Study:
        if twice := {name for name in self.baselines if self.baselines.count(name) > 1}:
            raise ValueError(f"baselines: {min(twice)} is named twice")
        return self

    @model_validator(mode="after")
    def _shards_have_torch_optimizers(self) -> Study:
        if self.train.optimizer.backend == "apex" and self.launch.devices > 1:
            raise ValueError(
                f"train.optimizer.backend: apex works on whole tensors, and launch.devices: {self.launch.devices} shards them; "
                "write auto or torch"
            )
        return self
