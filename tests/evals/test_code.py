"""HumanEval and MBPP end to end with a model that has learnt some answers by heart; pass@k; the published solutions in the sandbox."""

from __future__ import annotations

import gzip
import json
import math
from itertools import combinations
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ablate.errors import StudyError
from ablate.evals import code, gsm8k, sandbox, squad
from ablate.evals.benchmarks import catalogue
from ablate.evals.generate import Writer
from ablate.evals.items import Benchmark, Kind, Prompt
from ablate.evals.requests import encode
from ablate.evals.sandbox import run
from ablate.study import spec

CPU = torch.device("cpu")

HUMANEVAL = (
    Prompt("def two(a):\n", "", "h", {"test": "def check(f):\n    assert f(3) == 6", "entry_point": "two"}),
    Prompt("def one(a):\n", "", "h", {"test": "def check(f):\n    assert f(3) == 4", "entry_point": "one"}),
    Prompt("def end():\n", "", "h", {"test": "def check(f):\n    assert f() is None", "entry_point": "end"}),
)
MBPP = (
    Prompt("Double it.\n[BEGIN]\n", "", "m", {"setup": "import math", "tests": ["assert d(2) == 4", "assert d(3) == 6"]}),
    Prompt("Halve it.\n[BEGIN]\n", "", "m", {"setup": "", "tests": ["assert h(2) == 1", "assert h(4) == 2"]}),
)
GSM8K = (
    Prompt("Question: 2 lamps and 3?\nAnswer:", " 2+3=5\n#### 5", "g"),
    Prompt("Question: 4 owls and 4?\nAnswer:", " 4+4=8\n#### 8", "g"),
    Prompt("Question: 1,000 lamps and 1?\nAnswer:", " so\n#### 1,001", "g"),
)
SQUAD = (
    Prompt("Who sees?\n\nAnswer:", " the owl", "s", {"answers": ["the owl", "an old owl"]}),
    Prompt("Who has lamps?\n\nAnswer:", " Ada", "s", {"answers": ["Ada and Ben"]}),
)
LEARNT = [
    (HUMANEVAL[0], "    return 2 * a\n#"),
    (HUMANEVAL[1], "    return a\n#"),
    (HUMANEVAL[2], "    import os; os._exit(0)\n#"),
    (MBPP[0], "def d(x):\n    return 2*x\n[DONE]"),
    (MBPP[1], "def h(x):\n    return x/3\n[DONE]"),
    (GSM8K[0], " 2+3=5\n#### 5\n\nQuestion:"),
    (GSM8K[1], " It is 8\n\nQuestion:"),
    (GSM8K[2], " #### 7\n\nQuestion:"),
    (SQUAD[0], " Old owl.\n"),
    (SQUAD[1], " Ada\n"),
]


@pytest.fixture(scope="module")
def writer(tokenizer: PreTrainedTokenizerFast) -> Writer:
    """A small model that has read the prompts and these answers until it knows them."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=320, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=1200,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    end = tokenizer.eos_token_id
    prompts = [[end, *encode(tokenizer, [prompt.context])[0]] for prompt, _ in LEARNT]
    answers = [[*encode(tokenizer, [answer])[0], end] for _, answer in LEARNT]
    length = max(len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True))
    tokens, labels = torch.full((len(LEARNT), length), end), torch.full((len(LEARNT), length), -100)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        tokens[row, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
        labels[row, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    loss = torch.tensor(math.inf)
    while loss > 0.005:
        loss = model(tokens, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return Writer(model.eval(), tokenizer, CPU, (end,), 1200)


def benchmark(rule: str, prompts: tuple[Prompt, ...], kind: Kind = "code", samples: int = 1) -> Benchmark:
    return Benchmark(rule, "g", "published", False, 0.0, "d", prompts, kind, rule=rule, samples=samples)


@pytest.mark.usefixtures("sandbox")
def test_humaneval_and_mbpp(writer: Writer) -> None:
    result = code.score(writer, benchmark("humaneval", HUMANEVAL), allowed=True)
    assert (result.metric, result.answers["correct"]) == ("pass@1", [1, 0, 0])
    assert result.score == pytest.approx(1 / 3) and result.details == {"stopped": pytest.approx(1 / 3)}
    assert result.answers["output"] == ["    return 2 * a", "    return a", "    import os; os._exit(0)"]
    assert result.stderr == pytest.approx(1 / 3) and result.truncated == 0 and result.chance == 0
    result = code.score(writer, benchmark("mbpp", MBPP), allowed=True)
    assert result.answers["correct"] == [1, 0] and result.score == 0.5 and result.details == {"stopped": 0}
    json.dumps([result.row(), result.answers], allow_nan=False)


@pytest.mark.usefixtures("sandbox")
def test_several_samples(writer: Writer) -> None:
    result = code.score(writer, benchmark("mbpp", MBPP, samples=10), allowed=True)
    passed, failed = result.answers["correct"]
    assert 0.5 <= passed <= 1 and failed == 0
    assert result.details["pass@10"] == 0.5 and result.score == pytest.approx(passed / 2)
    assert len(json.loads(result.answers["output"][0])) == 10


@pytest.mark.usefixtures("sandbox")
def test_nothing_is_executed_unless_it_is_allowed(writer: Writer) -> None:
    with pytest.raises(StudyError, match="allow_code_execution: true"):
        code.score(writer, benchmark("mbpp", MBPP), allowed=False)
    with pytest.raises(StudyError, match="allow_code_execution: true"):
        sandbox.check(False, "mbpp")
    sandbox.check(True, "mbpp")


def test_gsm8k(writer: Writer) -> None:
    result = gsm8k.score(writer, benchmark("gsm8k", GSM8K, "generate"))
    assert (result.metric, result.answers["correct"]) == ("exact_match", [1, 0, 0])
    assert result.score == pytest.approx(1 / 3) and result.details == {"flexible": pytest.approx(2 / 3)}
    assert result.answers["output"][0] == " 2+3=5\n#### 5\n\n"


def test_squad(writer: Writer) -> None:
    result = squad.score(writer, benchmark("squad", SQUAD, "generate"))
    assert (result.metric, result.answers["correct"]) == ("exact_match", [1, 0])
    assert result.answers["output"] == [" Old owl.", " Ada"]
    assert result.details == {"f1": pytest.approx((1 + 2 * 1 / 4) / 2)}


@pytest.mark.parametrize("n", [1, 4, 7])
def test_pass_at_k_is_the_share_of_subsets_with_a_pass(n: int) -> None:
    for c in range(n + 1):
        for k in range(1, n + 1):
            subsets = list(combinations([i < c for i in range(n)], k))
            assert code.pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-12)


def test_pass_at_k_equals_the_papers_product() -> None:
    """Chen et al. 2021, figure 3: 1 − Π (1 − k / i) over i from n − c + 1 to n, 1 where n − c < k."""
    for n, c, k in ((200, 0, 1), (200, 7, 10), (200, 150, 100), (200, 195, 10), (100, 100, 100), (20, 3, 10)):
        product = 1.0 if n - c < k else 1 - math.prod(1 - k / i for i in range(n - c + 1, n + 1))
        assert code.pass_at_k(n, c, k) == pytest.approx(product, abs=1e-12)
    assert code.pass_at_k(10, 3, 1) == pytest.approx(0.3)


def rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.usefixtures("sandbox")
@pytest.mark.slow
@pytest.mark.shared_data
def test_the_published_solutions_of_humaneval_pass(shared_data: Path) -> None:
    found = rows(shared_data / "benchmarks" / "HumanEval.jsonl.gz")
    prompts = [Prompt(row["prompt"], "", "h", {"test": row["test"], "entry_point": row["entry_point"]}) for row in found]
    rule = code.RULES["humaneval"]
    programs = [rule.program(prompt, row["canonical_solution"]) for prompt, row in zip(prompts, found, strict=True)]
    broken = [rule.program(prompt, "    return None\n") for prompt in prompts[:20]]
    verdicts = run([*programs, *broken])
    assert [row["task_id"] for row, verdict in zip(found, verdicts, strict=False) if not verdict.passed] == []
    assert len(programs) == 164 and not any(verdict.passed for verdict in verdicts[164:])


@pytest.mark.usefixtures("sandbox")
@pytest.mark.slow
@pytest.mark.shared_data
def test_published_solutions_of_mbpp_pass(shared_data: Path) -> None:
    """Every fifth of the 500; one whose tests need the release's set-up code is among them."""
    (mbpp,) = catalogue([spec.Benchmark(task="mbpp", files=str(shared_data / "benchmarks" / "mbpp_0-599.jsonl.gz"))], fresh=False)
    prompts = [prompt for number, prompt in enumerate(mbpp.prompts) if number % 5 == 0 or prompt.details["setup"]]
    verdicts = run([code.RULES["mbpp"].program(prompt, prompt.reference) for prompt in prompts])
    assert len(prompts) >= 100
    assert [prompt.details["task_id"] for prompt, verdict in zip(prompts, verdicts, strict=True) if not verdict.passed] == []
