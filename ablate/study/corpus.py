"""What a study may say about its text: sources, how they are mixed, the tokenizer, what is only measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from ablate.study.benchmark import Benchmark
from ablate.study.block import Block, Name, Share, or_text
from ablate.study.split import shortest_form


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


_KINDS = ("builtin", "files", "hf", "tokens", "sources")
_BELONGS = {
    "hygiene": ("builtin", "files", "hf"),
    "seed": ("builtin",),
    "text_field": ("files", "hf"),
    "messages_field": ("files", "hf"),
    "chat_template": ("files", "hf"),
    "where": ("files", "hf"),
    "config": ("hf",),
    "split": ("hf",),
    "revision": ("hf",),
    "dtype": ("tokens",),
    "end_of_text": ("tokens",),
}
"""Of each option the kinds of source that have it."""


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


class Cost(Block):
    """What a source's text cost to generate. Text that people wrote costs 0; what is not known is left out."""

    gpu_hours_per_btoken: float = Field(ge=0, description="GPU-hours that a billion tokens took to generate, in the study's tokens")


class Source(Block):
    """A corpus. Write `builtin:web`, or a mapping with `builtin:`, `files:`, `hf:` or `tokens:`; or, as a role, a mix of named sources."""

    model_config = ConfigDict(json_schema_extra=or_text(r"^(builtin:\s*(textbook|web|neutral)|(files|hf|tokens):.*\S.*)$"))

    builtin: Literal["textbook", "web", "neutral"] | None = Field(None, description="an embedded corpus, generated, unlimited")
    seed: int = Field(0, ge=0, description="seed of the embedded generator")
    noise: Noise = Field(Noise(), description="kinds of noise; only builtin:web has them")
    files: str | None = Field(
        None, description="glob, ** goes into folders: .jsonl, .json, .txt, .csv (plain, .gz, .zst), .parquet, .arrow; $VARIABLES"
    )
    text_field: str = Field("text", min_length=1, description="the column of a row that holds the text")
    messages_field: str | None = Field(None, description="instead of text_field: the column that holds a conversation's messages")
    chat_template: str | None = Field(
        None,
        description="with messages_field: folder of the tokenizer whose chat template writes them out; "
        "default: the study's tokenizer's, if it has one, else a plain format",
    )
    where: str | None = Field(None, description="keep only the rows for which this holds, e.g. \"score > 3 and language == 'en'\"")
    hygiene: Hygiene | None = Field(None, description="normalising, length filter, deduplication; default: see the block")
    cost: Cost | None = Field(None, description="what the text cost to generate; results and verdict are given with and without it")
    hf: str | None = Field(None, description="id of a data set on the Hugging Face hub (needs the extra `hf`)")
    config: str | None = Field(None, description="configuration of the hub's data set")
    split: Annotated[str, AfterValidator(shortest_form)] = Field(
        "train", description="split of the hub's data set, or some of its rows in the order of its files: train[:1000000], train[1000:2000]"
    )
    revision: str = Field("main", min_length=1, description="branch, tag or commit; its commit is in the digest")
    tokens: str | None = Field(None, description="glob of ready token files, .bin or .npy, made with the study's tokenizer")
    dtype: Literal["uint16", "uint32"] = Field("uint16", description="of the numbers in .bin files; .npy files say it themselves")
    end_of_text: int | None = Field(None, ge=0, description="id that ends a document in token files; without it a file is one document")
    sources: dict[Name, Share] = Field({}, description="a mix: name in data.sources → its share of this role; together exactly 1")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            kind, _, rest = value.partition(":")
            if kind not in _KINDS[:-1] or not rest:
                raise ValueError(f"{value!r} is not a source; write builtin:textbook, builtin:web, files:PATTERN, hf:ID or tokens:PATTERN")
            return {kind: rest.strip()}
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Source:
        kinds = [kind for kind in _KINDS if getattr(self, kind)]
        if len(kinds) != 1:
            raise ValueError("a source needs exactly one of builtin:, files:, hf:, tokens: and (as a mix) sources:")
        if self.seed != 0 and kinds != ["builtin"]:
            raise ValueError("seed: belongs to builtin sources; the order of documents follows the run's seed")
        if self.noise != Noise() and self.builtin != "web":
            raise ValueError("noise: belongs to builtin:web")
        for option, having in _BELONGS.items():
            if getattr(self, option) != type(self).model_fields[option].default and kinds[0] not in having:
                raise ValueError(f"{option}: belongs to {' and '.join(f'{kind}:' for kind in having)} sources")
        if self.messages_field is not None and self.text_field != "text":
            raise ValueError("messages_field: and text_field: both say where the text is; keep one")
        if self.chat_template is not None and self.messages_field is None:
            raise ValueError("chat_template: goes with messages_field:")
        if self.sources and sum(self.sources.values()) != 1:
            raise ValueError(f"sources: the shares add up to {float(sum(self.sources.values())):g}, not to 1")
        return self

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # pydantic's own stumbles over the mapping

    @property
    def name(self) -> str:
        """For sentences: `files: crawl/*.jsonl`."""
        kind = next(kind for kind in _KINDS if getattr(self, kind))
        return f"{kind}: {getattr(self, kind)}"

    @property
    def gpu_hours_per_btoken(self) -> float | None:
        """None where the source does not say; 0 for an embedded corpus, which a CPU generates."""
        if self.cost is not None:
            return self.cost.gpu_hours_per_btoken
        return 0.0 if self.builtin is not None else None

    def short_form(self) -> str | None:
        """`builtin:web`; None where that would not say all."""
        written = self.model_dump(mode="json", exclude_defaults=True)
        return ":".join(next(iter(written.items()))) if len(written) == 1 and not self.sources else None


class Tokenizer(Block):
    """One tokenizer a study: trained on equal bytes of every source, or an existing one. Written `hf:ID` or as a mapping."""

    model_config = ConfigDict(json_schema_extra=or_text(r"^hf:.*\S.*$"))

    train_bpe: Annotated[int, Field(ge=300, le=65536)] | None = Field(
        None, description="vocabulary of a byte-level BPE trained on the study's sources"
    )
    train_on: tuple[Source, ...] = Field(
        (), description="what the BPE is trained on; without it, every source of the study, also those that are levels of a factor"
    )
    path: str | None = Field(None, description="folder of an existing Hugging Face tokenizer")
    hf: str | None = Field(None, description="id of a tokenizer on the Hugging Face hub")
    revision: str = Field("main", min_length=1, description="branch, tag or commit of the hub's tokenizer")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            kind, _, rest = value.partition(":")
            if kind != "hf" or not rest.strip():
                raise ValueError(f"{value!r} is not a tokenizer; write hf:ID, {{path: FOLDER}} or {{train_bpe: 1024}}")
            return {"hf": rest.strip()}
        if isinstance(value, dict) and isinstance(value.get("train_on"), list):
            return value | {"train_on": tuple(value["train_on"])}
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Tokenizer:
        if sum(kind is not None for kind in (self.train_bpe, self.path, self.hf)) > 1:
            raise ValueError("a tokenizer needs one of train_bpe:, path: and hf:, and not several")
        if self.train_on and self.train_bpe is None:
            raise ValueError("train_on: goes with train_bpe:")
        if self.revision != "main" and self.hf is None:
            raise ValueError("revision: goes with hf:")
        return self


class Decontaminate(Block):
    """Which benchmark items are cut out of the text before it is tokenised, as GPT-3's were (ablate/data/decontaminate.py). In the digest
    of the runs, so the benchmarks are named here: scoring on one more changes no run."""

    against: list[Benchmark] = Field(min_length=1, description="benchmarks whose items are kept out, as in evaluate.benchmarks")
    action: Literal["drop_document", "remove_span"] = Field(
        "remove_span", description="drop a document that holds n words of an item, or cut them out with 200 characters on both sides"
    )
    n: int = Field(13, ge=8, le=13, description="words of an item in a row that count as a hit")


class Data(Block):
    """The text: the two roles that synthetic_ratio mixes, further sources with shares of their own, and texts that are only measured."""

    synthetic: Source | None = Field(None, description="the source in the role `synthetic`")
    web: Source | None = Field(None, description="the source in the role `web`: it takes what the others leave")
    sources: dict[Name, Source] = Field({}, description="named sources, for mixes and for shares")
    shares: dict[Name, Share] = Field({}, description="share of all sequences of a named source; data.shares.NAME can be a factor")
    neutral: Source = Field(Source(builtin="neutral"), description="held-out text no arm trains on; gives the primary bits per byte")
    held_out: dict[Name, Source] = Field({}, description="further texts that are only measured, by name")
    tokenizer: Tokenizer = Field(
        Tokenizer(), description="the study's tokenizer; default: train_bpe: 1024, or the one of the checkpoint in model.from"
    )
    decontaminate: Decontaminate | None = Field(None, description="keep benchmark items out of what is trained on")
    seq_len: int = Field(128, ge=16, le=1_048_576, description="tokens a sequence")
    max_epochs: float = Field(4, gt=0, description="refuse a run that would repeat a source more often")

    @model_validator(mode="after")
    def _some_source(self) -> Data:
        if self.synthetic is None and self.web is None and not self.shares:
            raise ValueError("name at least one of synthetic: and web:, or named sources with shares:")
        if taken := {"synthetic", "web", "neutral", *self.sources} & self.held_out.keys():
            raise ValueError(f"held_out: {min(taken)} is the name of a text that is measured anyway; choose another name")
        if taken := {"synthetic", "web", "neutral"} & self.sources.keys():
            raise ValueError(f"sources: {min(taken)} is the name of a role; choose another name")
        if sum(self.shares.values()) > 1:
            raise ValueError(f"shares: they add up to {float(sum(self.shares.values())):g}, more than 1")
        return self

    @model_validator(mode="after")
    def _known_names(self) -> Data:
        mixes = {f"{role}.sources": source.sources for role, source in self._roles().items()}
        for place, names in {**mixes, "shares": self.shares}.items():
            if unknown := names.keys() - self.sources.keys():
                raise ValueError(f"{place}: {min(unknown)} is not in data.sources, which has: {', '.join(self.sources) or 'nothing'}")
        if nested := [name for name, source in self.sources.items() if source.sources]:
            raise ValueError(f"sources: {nested[0]} is a mix itself; only the roles synthetic: and web: can be mixes")
        for place, source in {"neutral": self.neutral, **self.held_out}.items():
            if source.sources or source.tokens:
                raise ValueError(f"{place}: a text that is measured needs its documents: write builtin:, files: or hf:")
        if self.decontaminate and any(source.tokens for source in self.trained_on().values()):
            raise ValueError("decontaminate: a tokens: source has no text to look through; clean it before it is tokenised")
        if self.tokenizer.train_bpe and any(source.tokens for source in (*self.trained_on().values(), *self.tokenizer.train_on)):
            raise ValueError("tokenizer: a tokens: source is made of an existing tokenizer's ids; name that one with path: or hf:")
        return self

    def _roles(self) -> dict[str, Source]:
        both = {"synthetic": self.synthetic, "web": self.web}
        return {role: source for role, source in both.items() if source is not None}

    def with_sources(self, change: Callable[[Source], Source]) -> Data:
        """The same with every source, also the measured ones and those that the tokenizer is trained on, as `change` makes it."""
        one = {name: change(source) for name in ("synthetic", "web", "neutral") if (source := getattr(self, name)) is not None}
        many = {name: {key: change(source) for key, source in getattr(self, name).items()} for name in ("sources", "held_out")}
        trained = self.tokenizer.model_copy(update={"train_on": tuple(map(change, self.tokenizer.train_on))})
        return self.model_copy(update={**one, **many, "tokenizer": trained})

    def costs(self) -> dict[str, float | None]:
        """Source → GPU-hours that a billion of its tokens cost to generate, None where it does not say."""
        return {name: source.gpu_hours_per_btoken for name, source in self.trained_on().items()}

    def trained_on(self) -> dict[str, Source]:
        """Every source that a run may read, by the name it has in recipes and results, in alphabetical order: `web` for a
        role, `web.c4` for a source in a role that is a mix, `code` for a named source with a share."""
        found = {name: self.sources[name] for name in self.shares}
        for role, source in self._roles().items():
            found |= {f"{role}.{name}": self.sources[name] for name in source.sources} or {role: source}
        return dict(sorted(found.items()))
