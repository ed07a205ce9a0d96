"""What a model is asked to write after: each prompt is lm-eval's own template filled in."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, StrictUndefined

from tests.evals.published_files import made, prompt

HARNESS = find_spec("lm_eval")
pytestmark = pytest.mark.skipif(HARNESS is None, reason="the extra `lm-eval` is not installed")
SUMS = [{"question": f"What is {i} {{x}}?", "answer": f"It is.\n#### {i}"} for i in range(8)]
PROGRAMS = [
    {"task_id": n, "text": f"Do {n}.", "code": f"x = {n}\r\n", "test_list": [f"assert {n}", "b", "c"], "test_setup_code": ""}
    for n in range(1, 14)
]
FUNCTIONS = [
    {"task_id": str(i), "prompt": f"def f{i}():\n", "canonical_solution": "    pass\n", "test": "", "entry_point": f"f{i}"}
    for i in range(2)
]


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_multi_constructor("!function", lambda loader, suffix, node: suffix)


def filled_in(file: str, key: str, row: dict[str, Any]) -> str:
    """A template of lm-eval's definition of a task, filled in as lm-eval does it."""
    assert HARNESS is not None and HARNESS.submodule_search_locations is not None
    path = Path(HARNESS.submodule_search_locations[0]) / "tasks" / file
    template = yaml.load(path.read_text(), _Loader)[key]
    return Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(template).render(**row)


@pytest.mark.parametrize(
    ("task", "rows", "examples", "file", "between"),
    [
        ("gsm8k", SUMS[5:], SUMS[:5], "gsm8k/gsm8k.yaml", " "),
        ("mbpp", PROGRAMS[10:], PROGRAMS[1:4], "mbpp/mbpp.yaml", ""),
        ("humaneval", FUNCTIONS, [], "humaneval/humaneval.yaml", ""),
    ],
)
def test_prompts_are_lm_evals_templates(
    tmp_path: Path, task: str, rows: list[dict[str, Any]], examples: list[dict[str, Any]], file: str, between: str
) -> None:
    for name, some in {"items.jsonl": rows, "examples.jsonl": examples}.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in some))
    found = made(task, str(tmp_path / "items.jsonl"), **({"shots_from": str(tmp_path / "examples.jsonl")} if examples else {}))
    solved = [{**row, "is_fewshot": True} for row in examples]
    before = "".join(filled_in(file, "doc_to_text", row) + between + filled_in(file, "doc_to_target", row) + "\n\n" for row in solved)
    assert [prompt(found, i).context for i in range(len(rows))] == [before + filled_in(file, "doc_to_text", row) for row in rows]
