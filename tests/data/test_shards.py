"""Token files: what is in them, that they only grow, and that nothing that dies beside them harms them."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from ablate.data import shards, sources, tokenizer
from ablate.data.building import alone
from ablate.errors import DataError, DiskFullError
from ablate.study.spec import Data, Source
from ablate.study.spec import Tokenizer as Spec
from ablate.workspace import Workspace, read_json

DOCUMENTS = 2000
PAGE = Source(builtin="web")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Source:
    path = tmp_path_factory.mktemp("text") / "a.jsonl"
    draw = random.Random(0)
    words = ["the", "cat", "sät", "on", "a", "mat", "because", "<|endoftext|>", "7", "+", "5", "=", "12."]
    path.write_text("".join(json.dumps({"text": " ".join(draw.choices(words, k=30)) + f" {i}"}) + "\n" for i in range(DOCUMENTS)))
    return Source(files=str(path))


@pytest.fixture(scope="module")
def folder(text: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tokenizer.prepare(Data(web=text, tokenizer=Spec(train_bpe=320)), Workspace(tmp_path_factory.mktemp("space")))


@pytest.fixture(scope="module")
def bpe(folder: Path) -> PreTrainedTokenizerFast:
    return tokenizer.load(folder)


def build(source: Source, bpe: PreTrainedTokenizerFast, root: Path, tokens: int = 1, stream: int = 0) -> shards.Shards:
    return shards.prepare(source, stream, "t", bpe, tokens, Workspace(root))


def content(root: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(Workspace(root).data.glob("*/*")) if p.suffix in (".bin", ".json")}


def test_every_document_is_there_once_and_ends_in_a_separator(text: Source, bpe: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    built = build(text, bpe, tmp_path)
    texts = list(sources.documents(text, 0))
    assert built.finite
    assert built.tokens.dtype == np.uint16
    assert built.byte_counts.tolist() == [len(t.encode()) for t in texts]
    assert built.starts[-1] == built.tokens.size
    for k in (0, 255, 256, len(texts) - 1):
        ids = built.tokens[built.starts[k] : built.starts[k + 1]].tolist()
        assert ids[-1] == bpe.eos_token_id
        assert bpe.eos_token_id not in ids[:-1], "the separator written in a text is text"
        assert bpe.decode(ids[:-1]) == texts[k]


def test_the_manifest_says_what_there_is(text: Source, bpe: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    built = build(text, bpe, tmp_path)
    manifest = read_json(next(Workspace(tmp_path).data.glob("*/manifest.json")))
    assert (manifest["tokens"], manifest["documents"], manifest["complete"]) == (built.tokens.size, built.byte_counts.size, True)
    assert manifest["bytes"] == built.byte_counts.sum()
    assert manifest["documents"] + manifest["hygiene"]["held_out"] == DOCUMENTS
    assert manifest["definition"]["source"] == sources.digest(text)


def test_all_seeds_share_the_shards_of_files_but_not_of_endless_sources(text: Source, bpe: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    build(text, bpe, tmp_path, stream=0)
    assert shards.is_built(text, 5, "t", 10**12, Workspace(tmp_path))
    assert not shards.is_built(text, sources.HELD_OUT, "t", 1, Workspace(tmp_path))
    first = build(PAGE, bpe, tmp_path, 1000, stream=0)
    assert not shards.is_built(PAGE, 1, "t", 1000, Workspace(tmp_path))
    assert not np.array_equal(build(PAGE, bpe, tmp_path, 1000, stream=1).tokens[:500], first.tokens[:500])


def test_more_tokens_only_add(bpe: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    few = build(PAGE, bpe, tmp_path / "grown", 20_000)
    before = np.array(few.tokens)
    assert few.tokens.size >= 20_000
    assert not few.finite
    more = build(PAGE, bpe, tmp_path / "grown", 3 * few.tokens.size)
    at_once = build(PAGE, bpe, tmp_path / "at once", 3 * few.tokens.size)
    assert np.array_equal(more.tokens[: before.size], before)
    assert np.array_equal(few.tokens, before)
    assert np.array_equal(more.tokens, at_once.tokens)
    assert content(tmp_path / "grown") == content(tmp_path / "at once")


def test_a_large_vocabulary_takes_four_bytes(tmp_path: Path) -> None:
    manifest = shards._fresh(tmp_path, {}, 65_537)
    assert (manifest.dtype, shards._fresh(tmp_path, {}, 65_536).dtype) == ("uint32", "uint16")


def test_what_a_killed_builder_left_is_written_again(bpe: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    build(PAGE, bpe, tmp_path, 20_000)
    whole = content(tmp_path)
    for name in ("tokens.bin", "documents.bin"):
        with next(Workspace(tmp_path).data.glob(f"*/{name}")).open("ab") as f:
            f.write(b"half a block")
    assert build(PAGE, bpe, tmp_path, 20_000).tokens.size * 2 == len(whole["tokens.bin"])
    more = len(whole["tokens.bin"])  # bytes: twice the tokens
    build(PAGE, bpe, tmp_path, more)
    build(PAGE, bpe, tmp_path / "undisturbed", more)
    assert content(tmp_path)["tokens.bin"] == content(tmp_path / "undisturbed")["tokens.bin"]


@pytest.mark.parametrize("damage", ["tokens.bin", "documents.bin", "manifest.json"])
def test_damaged_files_are_refused_by_readers_and_built_anew(
    text: Source, bpe: PreTrainedTokenizerFast, tmp_path: Path, damage: str
) -> None:
    build(text, bpe, tmp_path)
    whole = content(tmp_path)
    path = next(Workspace(tmp_path).data.glob(f"*/{damage}"))
    os.truncate(path, path.stat().st_size - 5)
    assert not shards.is_built(text, 0, "t", 1, Workspace(tmp_path))
    with pytest.raises(DataError, match="run `ablate run` on the study"):
        shards.open_shards(text, 0, "t", Workspace(tmp_path))
    build(text, bpe, tmp_path)
    assert content(tmp_path) == whole


def test_not_prepared(text: Source, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not prepared"):
        shards.open_shards(text, 0, "t", Workspace(tmp_path))


def test_a_full_disk_gets_a_sentence(bpe: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build(PAGE, bpe, tmp_path, 20_000).tokens.size

    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(DiskFullError, match="no room left on the disk"):
            build(PAGE, bpe, tmp_path, 10 * before)
    assert shards.open_shards(PAGE, 0, "t", Workspace(tmp_path)).tokens.size == before
    assert build(PAGE, bpe, tmp_path, 2 * before).tokens.size >= 2 * before


def test_what_another_one_builds_is_waited_for_and_taken_as_it_is(text: Source, bpe: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    built = build(text, bpe, tmp_path / "other")
    assert json.loads(content(tmp_path / "other")["manifest.json"])["hygiene"]["read"] == DOCUMENTS
    folder, said = Workspace(tmp_path).data / built.folder.name, Queue[str]()
    with ThreadPoolExecutor(1) as pool:
        with alone(folder / "lock"):  # the system keeps a lock from a second opening of the file, of whatever process
            waiting = pool.submit(shards.prepare, text, 0, "t", bpe, 1, Workspace(tmp_path), say=said.put)
            assert said.get(timeout=60) == f"waiting for another process that is tokenising {text.name}"
            shutil.copytree(built.folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("lock"))
        assert waiting.result(timeout=60).content == built.content
    assert content(tmp_path) == content(tmp_path / "other")
    assert said.empty()


BUILDER = """
import sys
from pathlib import Path
from ablate.data import shards, tokenizer
from ablate.study.spec import Source
from ablate.workspace import Workspace
shards.BLOCK_DOCUMENTS, shards.COMMIT_BYTES = 16, 4000
files, folder, root = sys.argv[1:]
shards.prepare(Source(files=files), 0, "t", tokenizer.load(Path(folder)), 1, Workspace(Path(root)))
"""


def test_killed_in_the_middle_and_two_at_once(
    text: Source, bpe: PreTrainedTokenizerFast, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "BLOCK_DOCUMENTS", 16)
    build(text, bpe, tmp_path / "undisturbed")
    undisturbed = content(tmp_path / "undisturbed")

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", BUILDER, text.files or "", folder, tmp_path / "killed"])

    def kill(victim: subprocess.Popen[bytes], share: float) -> None:
        while len(content(tmp_path / "killed").get("tokens.bin", b"")) < share * len(undisturbed["tokens.bin"]):
            assert victim.poll() is None, "it has to be killed before it is done"
        victim.kill()
        assert victim.wait() == -signal.SIGKILL

    with start() as alone:
        kill(alone, 0.2)
    with start() as one, start() as other:
        kill(one, 0.5)  # it holds the lock, or waits for it: the other one goes on either way
        assert other.wait() == 0
    assert content(tmp_path / "killed") == undisturbed
