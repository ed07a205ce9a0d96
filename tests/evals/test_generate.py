"""What a model writes: the same as token by token without a cache, whatever is in the batch; and where it ends."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ablate.errors import DataError
from ablate.evals import generate as generate_module
from ablate.evals.generate import Decoding, Writer
from ablate.evals.requests import encode
from tests.evals.small_model import TEXT

CPU = torch.device("cpu")
PROMPTS = ["The owl", TEXT[:60], "Ada has three red lamps", "?", "Café 猫", "The owl"]
NEW = 24


@pytest.fixture
def writer(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> Writer:
    return Writer(model, tokenizer, CPU, (tokenizer.eos_token_id,), 64)


def token_by_token(writer: Writer, prompt: str, new: int = NEW) -> list[int]:
    """Greedy, one prompt, without a cache."""
    ids = [*writer.prefix, *encode(writer.tokenizer, [prompt])[0]][-(writer.max_tokens - new) :]
    length = len(ids)
    while len(ids) < length + new:
        with torch.no_grad():
            following = int(writer.model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
        if following == writer.tokenizer.eos_token_id:
            break
        ids.append(following)
    return ids[length:]


def text(writer: Writer, prompt: str) -> str:
    return str(writer.tokenizer.decode(token_by_token(writer, prompt)))


@pytest.mark.parametrize("batch_rows", [1, 4, 128])
def test_greedy_equals_token_by_token(writer: Writer, batch_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal tokens: in float32 the model's likeliest token leads by more than padding and cache can change."""
    monkeypatch.setattr(generate_module, "BATCH_ROWS", batch_rows)
    written = writer.write(PROMPTS, Decoding(NEW))
    assert written.firsts == [text(writer, prompt) for prompt in PROMPTS]
    assert written.truncated == 0 and len(set(written.firsts)) > 3 and all(written.firsts)


def test_batches_fit_into_the_cache_and_keep_the_order(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = writer.write(PROMPTS, Decoding(NEW)).firsts
    token_bytes = 2 * 2 * 32 * 4  # keys and values, layers, width, float32
    monkeypatch.setattr(generate_module, "CACHE_BYTES", {"cpu": 100 * token_bytes})
    rows = [(number, [1] * length) for number, length in enumerate((3, 40, 10, 20, 9))]
    assert [[len(ids) for _, ids in batch] for batch in writer._batches(rows, 10)] == [[40, 20], [10, 9, 3]]
    assert writer.write(PROMPTS, Decoding(NEW)).firsts == whole


def test_it_ends_before_the_first_stop_string(writer: Writer) -> None:
    whole = writer.write(PROMPTS, Decoding(NEW)).firsts
    for one in whole[:2]:
        for stop in (one[5:8], one[3:10], one[:1], one[-1:]):
            cut = writer.write(PROMPTS, Decoding(NEW, stop=(stop, "never written"))).firsts
            assert cut == [other.split(stop)[0] for other in whole]
    several = (whole[0][9:11], whole[0][4:6])
    assert writer.write(PROMPTS[:1], Decoding(NEW, stop=several)).firsts == [min((whole[0].split(s)[0] for s in several), key=len)]


def test_it_does_not_go_on_after_a_stop_string(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = writer.write(PROMPTS[:1], Decoding(NEW)).firsts
    lengths: list[int] = []
    generate = type(writer.model).generate

    def counted(model: LlamaForCausalLM, tokens: torch.Tensor, **options: object) -> torch.Tensor:
        out: torch.Tensor = generate(model, tokens, **options)
        lengths.append(out.shape[1] - tokens.shape[1])
        return out

    monkeypatch.setattr(type(writer.model), "generate", counted)
    writer.write(PROMPTS[:1], Decoding(NEW, stop=(whole[4:7],)))
    assert lengths[0] < NEW


def test_a_stop_string_that_the_prompt_begins_does_not_count(writer: Writer) -> None:
    (whole,) = writer.write(["The owl sees"], Decoding(NEW)).firsts
    stops = ("s" + whole[:3], "owl sees")
    assert not any(stop in whole for stop in stops)
    assert writer.write(["The owl sees"], Decoding(NEW, stop=stops)).firsts == [whole]


def test_an_end_of_text_token_ends_it(writer: Writer) -> None:
    ids = token_by_token(writer, PROMPTS[0])
    model = copy.deepcopy(writer.model)
    model.generation_config.eos_token_id = [ids[6], writer.tokenizer.eos_token_id]
    ended = Writer(model, writer.tokenizer, CPU, writer.prefix, 64).write([PROMPTS[0], PROMPTS[2]], Decoding(NEW)).firsts
    assert ended[0] == writer.tokenizer.decode(ids[: ids.index(ids[6])]) and ids.index(ids[6]) > 1


def test_a_long_prompt_keeps_its_end_and_is_counted(writer: Writer) -> None:
    written = writer.write([TEXT, "The owl"], Decoding(NEW))
    assert written.truncated == 1
    assert written.firsts == [text(writer, TEXT), text(writer, "The owl")]
    with pytest.raises(DataError, match="up to 64 tokens are to be written, and the model sees 64 at once"):
        writer.write(["The owl"], Decoding(64))


def test_samples_come_again_and_differ(writer: Writer) -> None:
    sampled = Decoding(NEW, temperature=1.0, samples=5)
    first = writer.write(PROMPTS[:2], sampled)
    assert [len(texts) for texts in first.texts] == [5, 5] and all(len(set(texts)) > 1 for texts in first.texts)
    state = torch.get_rng_state()
    assert writer.write(PROMPTS[:2], sampled) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert writer.write(PROMPTS[:2], Decoding(NEW, temperature=1.0, samples=5, seed=1)) != first
    greedy = writer.write(PROMPTS, Decoding(NEW)).firsts
    assert writer.write(PROMPTS, Decoding(NEW, temperature=1.0, top_p=1e-6)).firsts == greedy
    assert writer.write(PROMPTS, Decoding(NEW, temperature=1e-4)).firsts == greedy


def test_sampling_follows_the_model(writer: Writer) -> None:
    """Of 4,000 first tokens, each one's share against its probability: within 4 standard errors, top_k unlimited."""
    ids = torch.tensor([[*writer.prefix, *encode(writer.tokenizer, ["The owl"])[0]]])
    with torch.no_grad():
        p = writer.model(ids).logits[0, -1].softmax(-1)
    n = 4000
    texts = writer.write(["The owl"], Decoding(1, temperature=1.0, samples=n)).texts[0]
    for token in p.topk(5).indices.tolist():
        word = writer.tokenizer.decode([token])
        expected = sum(float(p[i]) for i in range(len(p)) if writer.tokenizer.decode([i]) == word)
        assert texts.count(word) / n == pytest.approx(expected, abs=4 * (expected * (1 - expected) / n) ** 0.5)


def test_rules_that_a_model_brings_do_not_count_and_stay(writer: Writer) -> None:
    plain = writer.write(PROMPTS, Decoding(NEW)).firsts
    model = copy.deepcopy(writer.model)
    model.generation_config = GenerationConfig(repetition_penalty=5.0, do_sample=True, temperature=3.0, no_repeat_ngram_size=1)
    own = model.generation_config
    assert Writer(model, writer.tokenizer, CPU, writer.prefix, 64).write(PROMPTS, Decoding(NEW)).firsts == plain
    assert model.generation_config is own
