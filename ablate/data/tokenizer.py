"""One tokenizer a study: a byte-level BPE trained on equal bytes of every source, or an existing Hugging Face one."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from ablate.data import files, hub, sources
from ablate.data.building import alone
from ablate.errors import DataError
from ablate.study import spec
from ablate.study.grid import digest
from ablate.workspace import Workspace

END_OF_TEXT = sources.SEPARATOR
SAMPLE_BYTES = 1_000_000
"""Of each source for a vocabulary of up to 1,024, and as many more for a larger one; less of all where one source has less, so that no
arm's text is better compressed for having been seen more."""
TRAINER_VERSION = 1


def vocab_size(tokenizer: spec.Tokenizer) -> int:
    """Rows that an embedding needs for it: known before it is trained."""
    if tokenizer.train_bpe is not None:
        return tokenizer.train_bpe
    return _rows(_existing(tokenizer))


def definition(data: spec.Data) -> str:
    """Digest of everything its tokens depend on: the sources it is trained on, or the files of an existing one."""
    if data.tokenizer.train_bpe is None:
        path = _existing(data.tokenizer)
        _rows(path)
        parts = [path.with_name(name) for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")]
        return digest({part.name: files.file_hash(part) for part in parts if part.exists()})
    texts: Any = {name: sources.digest(source) for name, source in data.trained_on().items()}
    if data.tokenizer.train_on:
        texts = sorted({sources.digest(source) for source in data.tokenizer.train_on})
    size = data.tokenizer.train_bpe
    return digest({"train_bpe": size, "sources": texts, "bytes": _sample_bytes(size), "trainer": TRAINER_VERSION})


def prepare(data: spec.Data, workspace: Workspace) -> Path:
    """The tokenizer's folder, made where it is missing; safe when several processes ask at once.

    DataError where an existing tokenizer cannot be used, or where the sources hold too little text for the vocabulary.
    """
    folder = workspace.tokenizers / definition(data)
    if folder.is_dir():
        return folder
    with alone(folder.with_name(f".{folder.name}.lock")):
        part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)  # left by a process that died: we hold its lock
        if not folder.is_dir():
            made = _trained(data) if data.tokenizer.train_bpe is not None else _load_existing(_existing(data.tokenizer).parent)
            made.save_pretrained(part)
            part.rename(folder)
    return folder


def load(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer that `prepare` left in `folder`."""
    if not (folder / "tokenizer.json").is_file():
        raise DataError(f"no tokenizer in {folder}; run `ablate run` on the study, which makes it")
    return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)


def end_of_text(tokenizer: PreTrainedTokenizerFast) -> int:
    """The id that follows every document."""
    return int(tokenizer.eos_token_id)


def beginning_with(prefix: tuple[int, ...], tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """A tokenizer that puts `prefix` before every text by itself."""
    made = copy.deepcopy(tokenizer)
    if tuple(tokenizer("")["input_ids"]) != prefix:
        names = tokenizer.convert_ids_to_tokens(list(prefix))
        special = list(zip(names, prefix, strict=True))
        made.backend_tokenizer.post_processor = TemplateProcessing(single=[*names, "$A"], special_tokens=special)
    return made


def _trained_on(data: spec.Data) -> list[spec.Source]:
    """The sources that a BPE learns from, each text once."""
    every = data.tokenizer.train_on or data.trained_on().values()
    return list({sources.digest(source): source for source in every}.values())


def _trained(data: spec.Data) -> PreTrainedTokenizerFast:
    size = vocab_size(data.tokenizer)
    bpe = train_bpe(_equal_samples(data), size)
    if bpe.get_vocab_size() < size:
        raise DataError(
            f"data.tokenizer.train_bpe: {size} tokens cannot be learnt from so little text ({bpe.get_vocab_size()} could); "
            "lower train_bpe or give more text"
        )
    special = dict.fromkeys(("bos_token", "eos_token", "pad_token"), END_OF_TEXT)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, clean_up_tokenization_spaces=False, **special)


def train_bpe(texts: list[list[str]], size: int) -> Tokenizer:
    """A byte-level BPE as GPT-2's (Radford et al. 2019): any text is representable, nothing is ever unknown.

    The same texts give the same bytes on every machine.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator((text for sample in texts for text in sample), trainer)
    return bpe


def _sample_bytes(size: int) -> int:
    """About a thousand bytes an entry: from one megabyte a byte-level BPE learns some 22,000 entries at most."""
    return SAMPLE_BYTES * max(size, 1024) // 1024


def _equal_samples(data: spec.Data) -> list[list[str]]:
    most = _sample_bytes(vocab_size(data.tokenizer))
    samples = [list(_head(sources.documents(source, sources.TOKENIZER), most)) for source in _trained_on(data)]
    shortest = min(sum(len(text.encode()) for text in sample) for sample in samples)
    return [list(_head(iter(sample), shortest)) for sample in samples]


def _head(texts: Iterator[str], size: int) -> Iterator[str]:
    """The first `size` UTF-8 bytes, the last document cut there (short of a character that would be split)."""
    for text in texts:
        raw = text.encode()
        yield text if len(raw) <= size else raw[:size].decode(errors="ignore")
        size -= len(raw)
        if size <= 0:
            return


def _existing(tokenizer: spec.Tokenizer) -> Path:
    """The tokenizer.json of one that is not trained here."""
    folder = Path(tokenizer.path) if tokenizer.path is not None else hub.tokenizer(tokenizer)
    if not (folder / "tokenizer.json").is_file():
        raise DataError(f"data.tokenizer.path: {folder} holds no tokenizer.json; give the folder of a (fast) Hugging Face tokenizer")
    return folder / "tokenizer.json"


def _rows(path: Path) -> int:
    """The largest id and one: a vocabulary may have gaps."""
    return _rows_of(path, files.file_hash(path))


@lru_cache(maxsize=16)
def _rows_of(path: Path, _content: str) -> int:
    try:
        return int(max(Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=True).values(), default=-1)) + 1
    except Exception as e:  # tokenizers raises bare Exception for any damage
        raise DataError(f"data.tokenizer.path: {path} cannot be read as a tokenizer: {e}") from e


def _load_existing(folder: Path) -> PreTrainedTokenizerFast:
    try:
        loaded = load(folder)
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as e:
        raise DataError(f"data.tokenizer.path: the tokenizer in {folder} cannot be loaded: {e}") from e
    if loaded.eos_token_id is None:
        raise DataError(
            f"data.tokenizer.path: the tokenizer in {folder} has no eos_token, which has to follow every document; "
            "name one in its tokenizer_config.json"
        )
    return loaded
