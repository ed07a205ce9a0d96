"""The tokenizer: lossless, the same bytes every time, fair to both sources."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from ablate.data import sources, tokenizer
from ablate.data.building import alone
from ablate.errors import DataError, DiskFullError
from ablate.study.spec import Data, Source
from ablate.study.spec import Tokenizer as Spec
from ablate.workspace import Workspace


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Two small sources, one eight times the other."""
    folder = tmp_path_factory.mktemp("text")
    wordings = {"clean": ("the cat sat on a mat because it was warm", 3000), "pages": ("CLICK here! subscribe, cookies & more", 400)}
    for name, (words, count) in wordings.items():
        chosen = words.split()
        texts = [" ".join(chosen[(i * 7 + j * j) % len(chosen)] for j in range(20)) + f" {i}" for i in range(count)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return Data(synthetic=Source(files=f"{folder}/clean.jsonl"), web=Source(files=f"{folder}/pages.jsonl"), tokenizer=Spec(train_bpe=400))


@pytest.fixture(scope="module")
def folder(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tokenizer.prepare(data, Workspace(tmp_path_factory.mktemp("space")))


def test_the_trained_tokenizer_is_a_hugging_face_folder(data: Data, folder: Path) -> None:
    loaded = tokenizer.load(folder)
    assert loaded.bos_token == loaded.eos_token == loaded.pad_token == "<|endoftext|>"
    assert len(loaded) == tokenizer.vocab_size(data.tokenizer) == 400
    assert folder.name == tokenizer.definition(data)
    assert loaded.encode("the cat") == loaded.encode("the cat", add_special_tokens=False)


@settings(max_examples=50, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back(folder: Path, text: str) -> None:
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert backend.decode(backend.encode(text).ids, skip_special_tokens=False) == text


def test_training_twice_gives_the_same_bytes(data: Data, folder: Path, tmp_path: Path) -> None:
    """In another process, whose hash seeds differ."""
    code = (
        "import sys; from pathlib import Path; from ablate.data import tokenizer; from ablate.study.spec import Data; "
        "from ablate.workspace import Workspace; "
        "tokenizer.prepare(Data.model_validate_json(sys.argv[1]), Workspace(Path(sys.argv[2])))"
    )
    asked = json.dumps({"synthetic": {"files": data.synthetic.files}, "web": {"files": data.web.files}, "tokenizer": {"train_bpe": 400}})
    subprocess.run([sys.executable, "-c", code, asked, str(tmp_path)], check=True)
    again = Workspace(tmp_path).tokenizers / folder.name
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert hashlib.sha256((again / name).read_bytes()).digest() == hashlib.sha256((folder / name).read_bytes()).digest()


def test_equal_bytes_of_each_source(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    smaller = sum(len(text.encode()) for text in sources.documents(data.web, sources.TOKENIZER))
    for asked, each in ((5000, 5000), (10**9, smaller)):
        monkeypatch.setattr(tokenizer, "SAMPLE_BYTES", asked)
        assert [sum(len(t.encode()) for t in sample) for sample in tokenizer._equal_samples(data)] == [each, each]


def test_a_second_call_does_nothing_and_remains_of_a_killed_one_do_no_harm(data: Data, tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    left = space.tokenizers / f".{tokenizer.definition(data)}.part"
    left.mkdir(parents=True)
    (left / "tokenizer.json").write_text("half a fi")
    made = tokenizer.prepare(data, space)
    stamp = (made / "tokenizer.json").stat().st_mtime_ns
    assert tokenizer.prepare(data, space) == made
    assert (made / "tokenizer.json").stat().st_mtime_ns == stamp
    assert not left.exists()


def test_the_definition_follows_what_the_tokens_depend_on(data: Data) -> None:
    same = data.model_copy(update={"seq_len": 64})
    other = [data.model_copy(update={"tokenizer": Spec(train_bpe=500)}), data.model_copy(update={"web": None})]
    assert tokenizer.definition(same) == tokenizer.definition(data)
    assert len({tokenizer.definition(d) for d in [data, *other]}) == 3


def test_a_larger_vocabulary_learns_from_more_text() -> None:
    """With the digests that the small ones have always had."""
    both = {"synthetic": Source(builtin="textbook"), "web": Source(builtin="web")}
    known = {512: "59795a6844c1a8b9", 1024: "140492f91554873a"}
    assert {size: tokenizer.definition(Data(**both, tokenizer=Spec(train_bpe=size))) for size in known} == known
    for size, wanted in ((512, 1_000_000), (2048, 2_000_000)):
        samples = tokenizer._equal_samples(Data(**both, tokenizer=Spec(train_bpe=size)))
        assert [sum(len(text.encode()) for text in sample) for sample in samples] == [pytest.approx(wanted, abs=4)] * 2


def test_too_little_text_for_the_vocabulary(data: Data, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train_bpe: 60000 tokens cannot be learnt"):
        tokenizer.prepare(data.model_copy(update={"tokenizer": Spec(train_bpe=60000)}), Workspace(tmp_path))
    assert not [p for p in Workspace(tmp_path).tokenizers.iterdir() if p.is_dir()]


def test_an_existing_tokenizer(data: Data, folder: Path, tmp_path: Path) -> None:
    existing = data.model_copy(update={"tokenizer": Spec(path=str(folder))})
    made = tokenizer.prepare(existing, Workspace(tmp_path))
    assert made != folder
    assert tokenizer.vocab_size(existing.tokenizer) == 400
    assert tokenizer.load(made).encode("a warm mat") == tokenizer.load(folder).encode("a warm mat")


def test_existing_tokenizers_that_cannot_be_used(data: Data, folder: Path, tmp_path: Path) -> None:
    def asked(path: Path) -> Data:
        return data.model_copy(update={"tokenizer": Spec(path=str(path))})

    with pytest.raises(DataError, match=r"holds no tokenizer\.json"):
        tokenizer.definition(asked(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be read as a tokenizer"):
        tokenizer.definition(asked(tmp_path))
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    with pytest.raises(DataError, match="has no eos_token"):
        tokenizer.prepare(asked(tmp_path), Workspace(tmp_path / "space"))
    (tmp_path / "tokenizer_config.json").write_text("[not json")
    with pytest.raises(DataError, match="cannot be loaded"):
        tokenizer.prepare(asked(tmp_path), Workspace(tmp_path / "space"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which only Linux has")
def test_a_full_disk_gets_a_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").symlink_to("/dev/full")
    with pytest.raises(DiskFullError, match="no room left on the disk"), alone(tmp_path / "lock"):
        tokenizer.load(folder).save_pretrained(tmp_path)  # in Rust, with an exception of its own


def test_not_prepared(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no tokenizer in"):
        tokenizer.load(tmp_path)
