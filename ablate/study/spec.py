"""What a study may say: one frozen class a block of the YAML file, each field described where it is declared.

The JSON Schema that editors use is generated from these classes; nothing else lists the keys.
Nothing here repairs a value: what cannot be run as written is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from ablate.study.quantities import parse_count, parse_seconds

_TEXT_OR_NUMBER = {"anyOf": [{"type": "string"}, {"type": "number"}]}
Count = Annotated[int, BeforeValidator(parse_count), WithJsonSchema(_TEXT_OR_NUMBER)]
Seconds = Annotated[float, BeforeValidator(parse_seconds), WithJsonSchema(_TEXT_OR_NUMBER)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=60)]
_Beta = Annotated[float, Field(strict=True, ge=0, lt=1)]


def _or_text(pattern: str) -> Callable[[dict[str, Any]], None]:
    """For the JSON Schema of a block that may also be written as one word."""

    def widen(schema: dict[str, Any]) -> None:
        block = dict(schema)
        schema.clear()
        schema.update(description=block["description"], anyOf=[{"type": "string", "pattern": pattern}, block])

    return widen


class Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Noise(Block):
    """How much of each kind of noise `builtin:web` carries, measured on real pages or, where that cannot be done, chosen
    (docs/corpora.md says which); 0 switches a kind off, so that "quality" can be taken apart."""

    off_topic: float = Field(0.48, ge=0, le=1, description="share of pages about something outside the world")
    boilerplate: float = Field(0.47, ge=0, le=1, description="share of a page's characters that are menus, cookie banners, footers")
    adverts: float = Field(0.08, ge=0, le=1, description="chance that a paragraph is followed by an advert")
    comments: float = Field(0.14, ge=0, le=1, description="share of pages that end in a comment thread")
    duplicates: float = Field(0.04, ge=0, le=1, description="share of pages that are near copies of an earlier page")
    typos: float = Field(0.001, ge=0, le=1, description="chance that a word of four letters or more is misspelt")
    cut_off: float = Field(0.03, ge=0, le=1, description="chance that a paragraph breaks off in mid sentence")
    mistakes: float = Field(0.05, ge=0, le=1, description="chance that a statement about the world is wrong")
    long_tail: float = Field(0.93, ge=0, le=3, description="exponent of the Zipf law by which pages choose their subject; 0 is even")


class Hygiene(Block):
    """Which documents of a source are kept, and as what text. Files are cleaned by the defaults; an embedded corpus is taken as it is
    generated unless the study says otherwise, as its duplicates are a measured kind of noise."""

    normalize: Literal["NFC", "NFKC", "none"] = Field(
        "NFC", description="Unicode normal form, newlines as \\n, no white space around a document; none: as it is"
    )
    min_chars: int = Field(1, ge=1, description="drop shorter documents (after normalising)")
    max_chars: int | None = Field(None, ge=1, description="drop longer documents")
    dedup: Literal["exact", "near", "none"] = Field(
        "exact", description="drop copies of an earlier document; near: also what MinHash takes for nearly the same"
    )


class Source(Block):
    """A corpus. Write `builtin:web`, or a mapping with `builtin:` or `files:`."""

    model_config = ConfigDict(json_schema_extra=_or_text(r"^(builtin:\s*(textbook|web|neutral)|files:.*\S.*)$"))

    builtin: Literal["textbook", "web", "neutral"] | None = Field(None, description="an embedded corpus, generated, unlimited")
    seed: int = Field(0, ge=0, description="seed of the embedded generator")
    noise: Noise = Field(Noise(), description="kinds of noise; only builtin:web has them")
    files: str | None = Field(None, description="glob of .jsonl, .json or .txt files, plain or .gz; $VARIABLES are replaced")
    text_field: str = Field("text", description="the field of a JSON row that holds the text")
    hygiene: Hygiene | None = Field(None, description="normalising, length filter, deduplication; default: see the block")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            kind, _, rest = value.partition(":")
            if kind not in ("builtin", "files") or not rest:
                raise ValueError(f"{value!r} is not a source; write builtin:textbook, builtin:web or files:PATTERN")
            return {kind: rest.strip()}
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Source:
        if (self.builtin is None) == (self.files is None):
            raise ValueError("a source needs exactly one of builtin: and files:")
        if self.builtin is None and self.seed != 0:
            raise ValueError("seed: belongs to builtin sources; the order of files follows the run's seed")
        if self.builtin != "web" and self.noise != Noise():
            raise ValueError("noise: belongs to builtin:web")
        if self.files is None and self.text_field != "text":
            raise ValueError("text_field: belongs to files: sources")
        return self

    def short_form(self) -> str | None:
        """`builtin:web`; None where that would not say all."""
        written = self.model_dump(exclude_defaults=True)
        return ":".join(next(iter(written.items()))) if len(written) == 1 else None


class Tokenizer(Block):
    """One tokenizer a study: trained on equal bytes of every source, or an existing one."""

    train_bpe: Annotated[int, Field(ge=300, le=65536)] | None = Field(
        None, description="vocabulary of a byte-level BPE trained on the study's sources"
    )
    path: str | None = Field(None, description="folder of an existing Hugging Face tokenizer")

    @model_validator(mode="after")
    def _one_kind(self) -> Tokenizer:
        if (self.train_bpe is None) == (self.path is None):
            raise ValueError("a tokenizer needs exactly one of train_bpe: and path:")
        return self


class Data(Block):
    """The text: the two roles that synthetic_ratio mixes, and the texts that are only measured."""

    synthetic: Source | None = Field(None, description="the source in the role `synthetic`")
    web: Source | None = Field(None, description="the source in the role `web`")
    neutral: Source = Field(Source(builtin="neutral"), description="held-out text no arm trains on; gives the primary bits per byte")
    held_out: dict[Name, Source] = Field({}, description="further texts that are only measured, by name")
    tokenizer: Tokenizer = Field(Tokenizer(train_bpe=1024), description="the study's tokenizer")
    seq_len: int = Field(128, ge=16, le=1_048_576, description="tokens a sequence")
    max_epochs: float = Field(4, gt=0, description="refuse a run that would repeat a source more often")

    @model_validator(mode="after")
    def _some_source(self) -> Data:
        if self.synthetic is None and self.web is None:
            raise ValueError("name at least one of synthetic: and web:")
        if taken := {"synthetic", "web", "neutral"} & self.held_out.keys():
            raise ValueError(f"held_out: {min(taken)} is the name of a text that is measured anyway; choose another name")
        return self


class Model(Block):
    """The architecture; its shape follows from `params` (ablate/model/ladder.py)."""

    family: Literal["llama"] = Field("llama", description="transformers architecture")
    tie_word_embeddings: bool = Field(True, description="share the input and output embedding")


class Optimizer(Block):
    """The optimiser. Written `adamw` or as a mapping."""

    model_config = ConfigDict(json_schema_extra=_or_text("^adamw$"))

    name: Literal["adamw"] = "adamw"
    betas: tuple[_Beta, _Beta] = Field((0.9, 0.95), description="decay of the first and second moment")
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.1, ge=0, description="on matrices only; norms and biases have none")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("betas"), list):
            return value | {"betas": tuple(value["betas"])}
        return {"name": value} if isinstance(value, str) else value


class Train(Block):
    """The recipe. Everything here changes the weights, so all of it is in a run's digest."""

    optimizer: Optimizer = Optimizer()
    lr: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] = Field(
        "auto", description="peak learning rate; auto: a published rule of params alone"
    )
    batch_tokens: Literal["auto"] | Count = Field("auto", description="tokens a step; auto: a published rule of params alone")
    schedule: Literal["wsd"] = Field("wsd", description="warm-up, constant, decay (1 - sqrt)")
    warmup_steps: Literal["auto"] | Annotated[int, Field(ge=0)] = Field("auto", description="linear warm-up; auto: a rule of params alone")
    decay: float = Field(0.2, gt=0, le=1, description="share of the steps in which the learning rate decays to 0")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="of the matrix products; auto: bfloat16 where it pays")


class Benchmark(Block):
    """A benchmark: `builtin:all`, `builtin:NAME`, or minimal pairs in BLiMP's format from a file."""

    model_config = ConfigDict(json_schema_extra=_or_text(r"^builtin:.*\S.*$"))

    builtin: str | None = Field(None, description="all, or the name of an embedded benchmark")
    blimp: str | None = Field(None, description="glob of .jsonl files with sentence_good and sentence_bad, plain or .gz")
    name: Name | None = Field(None, description="its name in the results (needed with blimp:)")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            kind, _, rest = value.partition(":")
            if kind != "builtin" or not rest:
                raise ValueError(f"{value!r} is not a benchmark; write builtin:all, builtin:NAME or {{blimp: PATTERN, name: NAME}}")
            return {kind: rest.strip()}
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Benchmark:
        if (self.builtin is None) == (self.blimp is None):
            raise ValueError("a benchmark needs exactly one of builtin: and blimp:")
        if (self.blimp is None) != (self.name is None):
            raise ValueError("name: goes with blimp: (embedded benchmarks have names)")
        return self


class Evaluate(Block):
    """What every model is scored on; mean_score is over exactly this set."""

    benchmarks: list[Benchmark] = Field([Benchmark(builtin="all")], min_length=1)
    fresh_twins: bool = Field(True, description="score embedded benchmarks once more on new items at the largest budget")


Gpu = Literal["A100-40GB", "A100-80GB", "H100", "H100-PCIe", "H200", "L4", "L40S", "A10G", "RTX-4090"]


class Launch(Block):
    """How jobs are started. Nothing here is in a digest; it is recorded with each attempt."""

    launcher: Literal["local", "inline"] = Field("local", alias="with", description="local: one process a slot; inline: in this process")
    slots: Literal["auto"] | Annotated[int, Field(ge=1)] = Field("auto", description="jobs at once; auto: one a GPU, or one a core")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    compile: Literal["auto"] | bool = Field("auto", description="torch.compile; auto: where a compiler is at hand and it pays")
    share: Literal["trunk", "none"] = Field("trunk", description="trunk: runs that differ only in tokens share one trunk")
    checkpoint_every: Seconds = Field(60.0, description="seconds between checkpoints")
    gpu: Gpu | None = Field(None, description="the GPU that `ablate plan` prices for where it is not the one here")
    mfu: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="share of the peak that is expected of it (6 N and attention and head a token, dense bfloat16); plan says so"
    )


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
    launch: Launch = Launch()
    keep_models: Literal["all", "best", "none"] = Field(
        "all",
        description="which finished models stay on the disk: without its model a run is trained again when a benchmark is added",
    )
    profiles: dict[str, dict[str, Any]] = Field({}, description="named overrides, chosen by --profile")
