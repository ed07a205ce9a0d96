"""Ready token files: the documents in them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from ablate.data import ready, shards, sources, tokenizer
from ablate.errors import DataError
from ablate.study.spec import Data, Source
from ablate.study.spec import Tokenizer as Spec
from ablate.workspace import Workspace, read_json

TEXTS = ["the cat sat on the mat", "it was warm – naïve", "", "a third one"] * 5


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    text = tmp_path_factory.mktemp("text") / "a.txt"
    text.write_text("<|endoftext|>".join(f"the cat sat on a mat {i} as it was a warm day" for i in range(400)))
    data = Data(web=Source(files=str(text)), tokenizer=Spec(train_bpe=300))
    return tokenizer.load(tokenizer.prepare(data, Workspace(tmp_path_factory.mktemp("space"))))


def ids_of(bpe: PreTrainedTokenizerFast, end: int) -> list[int]:
    return [i for text in TEXTS for i in [*bpe.encode(text, add_special_tokens=False), end]]


def write(path: Path, ids: list[int], dtype: str = "uint16") -> Path:
    if path.suffix == ".npy":
        np.save(path, np.array(ids, dtype))
    else:
        np.array(ids, dtype).tofile(path)
    return path


def build(source: Source, bpe: PreTrainedTokenizerFast, root: Path) -> shards.Shards:
    return shards.prepare(source, 0, "t", bpe, 1, Workspace(root))


@pytest.mark.parametrize(("name", "dtype"), [("a.bin", "uint16"), ("a.bin", "uint32"), ("a.npy", "uint16"), ("llm.c.bin", "uint16")])
def test_documents_end_where_the_id_says(
    bpe: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, dtype: str
) -> None:
    monkeypatch.setattr(ready, "_CHUNK", 7)
    monkeypatch.setattr(shards, "BLOCK_CHARACTERS", 20)
    path = write(tmp_path / name, ids_of(bpe, bpe.eos_token_id), dtype)
    if name.startswith("llm"):
        path.write_bytes(np.array([20240520, 1, 0] + [0] * 253, "<i4").tobytes() + path.read_bytes())
    options = {"dtype": dtype} if dtype != "uint16" else {}
    built = build(Source(tokens=str(path), end_of_text=bpe.eos_token_id, **options), bpe, tmp_path / "space")
    expected = [text for text in TEXTS if text]
    found = [bpe.decode(built.tokens[a : b - 1]) for a, b in zip(built.starts[:-1], built.starts[1:], strict=True)]
    assert found == expected
    assert built.byte_counts.tolist() == [len(text.encode()) for text in expected]
    assert all(built.tokens[end - 1] == bpe.eos_token_id for end in built.starts[1:])
    manifest = read_json(built.folder / "manifest.json")
    assert manifest["hygiene"]["dropped"] == {"empty": 5}
    assert manifest["hygiene"]["kept"] == len(expected) == manifest["documents"]


def test_without_the_id_a_file_is_one_document(bpe: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        write(tmp_path / name, bpe.encode(TEXTS[0]))
    (tmp_path / "c.bin").touch()
    built = build(Source(tokens=str(tmp_path / "*.bin")), bpe, tmp_path / "space")
    assert built.byte_counts.tolist() == [len(TEXTS[0])] * 2


def test_nothing_is_held_out_and_nothing_measured(bpe: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    source = Source(tokens=str(write(tmp_path / "a.bin", ids_of(bpe, 0))), end_of_text=0)
    assert list(sources.measured(source, trained_on=True)) == []


def test_the_digest_follows_content_and_form(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.bin", [1, 2, 3, 4]), write(tmp_path / "b.bin", [1, 2, 3, 5])
    asked = [Source(tokens=str(first)), Source(tokens=str(second)), Source(tokens=str(first), end_of_text=2)]
    assert len({sources.digest(source) for source in [*asked, Source(tokens=str(first), dtype="uint32")]}) == 4


BAD = {
    "odd.bin": (b"\x01\x00\x02", "no whole number of uint16"),
    "large.bin": (np.array([5, 60_000], "uint16").tobytes(), "the files hold the id 60000, and the study's tokenizer has 300 ids"),
    "cut.npy": (b"\x93NUMPY\x01\x00", "damaged, cut off or holds no array"),
    "no.npy": (b"PK", "damaged, cut off or holds no array"),
    "a.txt": (b"text", "not of a kind that is read: .bin or .npy"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_get_a_sentence_and_leave_no_shards(bpe: PreTrainedTokenizerFast, tmp_path: Path, name: str) -> None:
    content, sentence = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as raised:
        build(Source(tokens=str(tmp_path / name)), bpe, tmp_path / "space")
    assert sentence in str(raised.value)
    assert not list((tmp_path / "space").rglob("manifest.json"))


def test_arrays_of_another_form(bpe: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    for array in (np.zeros((2, 3), np.uint16), np.zeros(4, np.float32), np.array([{}], object)):
        np.save(tmp_path / "a.npy", array, allow_pickle=True)
        with pytest.raises(DataError, match="array"):
            build(Source(tokens=str(tmp_path / "a.npy")), bpe, tmp_path / "space")


def test_they_need_the_tokenizer_that_made_them() -> None:
    with pytest.raises(ValueError, match="made of an existing tokenizer's ids"):
        Data(web=Source(tokens="x/*.bin"), tokenizer=Spec(train_bpe=300))
    with pytest.raises(ValueError, match="a text that is measured needs its documents"):
        Data(web=Source(builtin="web"), neutral=Source(tokens="x/*.bin"))
