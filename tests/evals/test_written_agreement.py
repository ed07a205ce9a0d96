"""What is written is what lm-eval has the same model write: its own stop strings, lengths and loop, text by text."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from ablate.evals import code, gsm8k, lm_eval
from ablate.evals.generate import Decoding, Writer
from tests.evals.small_model import TEXT, build

pytest.importorskip("lm_eval", reason="the extra `lm-eval` is not installed")

PROMPTS = [TEXT, "Question: How many owls?\nAnswer:", "def f(x):\n", "Ada", TEXT[:90] * 14]
SHORT = 40
"""Tokens, where it is stop strings that end a text."""
DECODINGS = {"gsm8k": gsm8k.DECODING, **{name: rule.decoding for name, rule in code.RULES.items()}}


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted(DECODINGS))
def test_texts_are_lm_evals(task: str, tokenizer: PreTrainedTokenizerFast) -> None:
    decoding = DECODINGS[task]
    model = build("sdpa", seed=2, context=decoding.max_new_tokens + 300)
    model.generation_config.eos_token_id = tokenizer.eos_token_id  # a Llama's own default is another token of this tokenizer
    harness = lm_eval.harness()
    with lm_eval.contained():
        own = harness.tasks._yaml_loader.load_yaml(Path(harness.tasks.__file__).parent / task / f"{task}.yaml", resolve_func=False)
        asked = own["generation_kwargs"]
        judged = harness.models.huggingface.HFLM(
            pretrained=model, tokenizer=tokenizer, batch_size=3, max_length=model.config.max_position_embeddings
        )
        instances = [harness.api.instance.Instance("generate_until", {}, (prompt, dict(asked)), 0) for prompt in PROMPTS]
        theirs = judged.generate_until(instances, disable_tqdm=True)
    assert tuple(asked["until"]) == decoding.stop and asked["do_sample"] is False
    written = Writer(model, tokenizer, torch.device("cpu"), (), model.config.max_position_embeddings).write(PROMPTS, decoding)
    assert written.firsts == theirs and written.truncated == 1
    assert len(set(theirs)) == len(PROMPTS)
    cut = [text[3:5] for text in theirs[:2]]
    short = {**asked, "until": cut, "max_gen_toks": SHORT}
    stopped = Writer(model, tokenizer, torch.device("cpu"), (), model.config.max_position_embeddings).write(
        PROMPTS, Decoding(SHORT, tuple(cut))
    )
    with lm_eval.contained():
        instances = [harness.api.instance.Instance("generate_until", {}, (prompt, short), 0) for prompt in PROMPTS]
        assert judged.generate_until(instances, disable_tqdm=True) == stopped.firsts
