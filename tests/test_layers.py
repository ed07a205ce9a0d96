"""Imports go one way: a file imports lower layers and files of its own package, and heavy libraries have one home each."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ablate"
LAYERS = ["errors", "leave", "workspace", "study", "data", "model", "train", "evals", "store", "launch", "report", "top"]
TOP = [
    "scored",
    "baselines",
    "evaluation",
    "jobs",
    "search",
    "measure",
    "speed",
    "resolve",
    "prefetch",
    "prepare",
    "audit",
    "reading",
    "machines",
    "predict",
    "fit",
    "ranks",
    "job",
    "forkserver",
    "progress",
    "drive",
    "detect",
    "plan",
    "plan_text",
    "display",
    "standing",
    "ask",
    "eval_verb",
    "data_verbs",
    "plot_verb",
    "verbs",
    "cli",
    "__main__",
]
HOMES = {
    "optuna": {"search.py"},
    "seaborn": {"report/ink.py"},
    "click": {"cli.py"},
    "yaml": {"study/document.py"},
    "rensa": {"data/hygiene.py"},
    "apex": {"train/apex.py"},
    "datasets": {"data/hub.py"},
    "lm_eval": {"evals/lm_eval.py"},
    "evaluate": {"evals/lm_eval.py"},
}
LAZY = {"cli.py", "data/hub.py", "evals/lm_eval.py", "train/apex.py"}
FILES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, whether the import stands inside a function) of every import in a file."""
    tree = ast.parse(path.read_text())
    inside = {id(n) for f in ast.walk(tree) if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef)) for n in ast.walk(f)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in inside) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "ablate" else [node.module]
            found += [(name, id(node) in inside) for name in names]
    return found


def layer(module: str) -> tuple[int, int]:
    """Height of a module of ours: its layer, and its place among the files at the top."""
    part = module.split(".")[1] if "." in module else module
    return (LAYERS.index(part), 0) if part in LAYERS else (LAYERS.index("top"), TOP.index(part))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    if relative.name == "__init__.py":
        assert not [m for m, _ in imports(path) if m.startswith("ablate")], "an __init__ imports nothing of ours"
        return
    own = layer("ablate." + ".".join(relative.with_suffix("").parts))
    for module, lazy in imports(path):
        if module.startswith("ablate."):
            theirs = layer(module)
            same_package = own[0] == theirs[0] and own[0] != LAYERS.index("top")
            assert theirs < own or same_package, f"{relative} imports {module}, which stands above it"
        home = HOMES.get(module.split(".")[0])
        assert home is None or str(relative) in home, f"{module} is imported in {relative}; its home is {home}"
        assert not lazy or str(relative) in LAZY, f"{relative} imports {module} inside a function"


def test_no_file_is_long() -> None:
    assert {str(p): n for p in FILES if (n := len(p.read_text().splitlines())) > 350} == {}


def test_functions_are_short_and_typed() -> None:
    functions = [n for p in FILES for n in ast.walk(ast.parse(p.read_text())) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    lengths = sorted((f.end_lineno or f.lineno) - f.lineno + 1 for f in functions)
    assert lengths[-1] <= 60
    assert lengths[int(len(lengths) * 0.9)] < 40
    assert [f.name for f in functions if f.returns is None] == []
