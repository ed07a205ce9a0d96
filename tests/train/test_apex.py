"""`backend: apex` where Apex cannot work: `ablate plan` and `run` refuse, each with its reason. The packages are little, but real."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from ablate.errors import StudyError
from ablate.train.optim import backend_of
from tests.studies import write

NVIDIAS = {"apex/__init__.py": "", "apex/optimizers/__init__.py": ""}
CASES = {
    "not installed": ({}, "NVIDIA Apex is not installed"),
    "unrelated": (
        {
            "apex/__init__.py": "raise ImportError('no module named pyramid')",
            "apex-0.9.10.dev0.dist-info/METADATA": "Metadata-Version: 2.1\nName: apex\nVersion: 0.9.10.dev0\n",
        },
        "the package apex that is installed (0.9.10.dev0) is an unrelated one of that name from PyPI; uninstall it",
    ),
    "no extensions": (NVIDIAS, "without working CUDA extensions (No module named 'amp_C')"),
    "broken extensions": (
        {**NVIDIAS, "amp_C.py": "raise ImportError('undefined symbol: _ZN3c104cuda')"},
        "without working CUDA extensions (undefined symbol: _ZN3c104cuda)",
    ),
    "no gpu": ({**NVIDIAS, "amp_C.py": ""}, "NVIDIA Apex runs on a GPU and there is no GPU here"),
}

has_apex = find_spec("amp_C") is not None
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU, and what is tested is a machine without")
without_apex = pytest.mark.skipif(has_apex, reason="this environment has NVIDIA Apex, and what is tested is one without")


def _packages(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def _run(code: str, packages: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(packages), os.environ.get("PYTHONPATH", str(Path(__file__).parents[2]))])
    env = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}
    return subprocess.run([sys.executable, *code.split()], cwd=cwd, env=env, capture_output=True, text=True, check=False)


@without_gpu
@without_apex
def test_every_reason_is_said(tmp_path: Path) -> None:
    """All in one process, which asks for the reason once a folder of packages."""
    folders = [_packages(tmp_path / str(i), {"here.txt": "", **files}) for i, (files, _) in enumerate(CASES.values())]
    script = tmp_path / "ask.py"
    script.write_text(
        "import sys, torch\n"
        "from ablate.train import apex\n"
        "for folder in sys.argv[1:]:\n"
        "    sys.path.insert(0, folder)\n"
        "    apex.obstacle.cache_clear()\n"
        "    print(apex.obstacle(torch.device('cpu')))\n"
        "    sys.path.remove(folder)\n"
        "    for name in ('apex', 'amp_C'):\n"
        "        sys.modules.pop(name, None)\n"
    )
    done = _run(" ".join([str(script), *map(str, folders)]), tmp_path / "none", tmp_path)
    assert done.returncode == 0, done.stderr
    for said, (name, (_, reason)) in zip(done.stdout.splitlines(), CASES.items(), strict=True):
        assert reason in said, name


@without_gpu
@without_apex
def test_a_study_is_refused_before_anything_starts(tmp_path: Path) -> None:
    write(tmp_path)
    script = tmp_path / "ask.py"
    script.write_text(
        "from pathlib import Path\n"
        "from tests.studies import typed\n"
        "for verb in ('plan', 'run'):\n"
        "    print(typed(verb, 'tiny.yaml', 'train.optimizer.backend=apex', cwd=Path(), status=2), end='')\n"
    )
    done = _run(str(script), _packages(tmp_path / "packages", NVIDIAS), tmp_path)
    assert done.returncode == 0, done.stderr
    refusal = "train.optimizer.backend: apex is asked for, but NVIDIA Apex is installed without working CUDA extensions"
    assert [refusal in line for line in done.stdout.splitlines()] == [True, True], done.stdout
    assert not list(tmp_path.glob("runs/jobs/*"))


@without_gpu
@pytest.mark.skipif(not has_apex, reason="needs NVIDIA Apex, built as the README says")
def test_apex_itself_is_refused_where_there_is_no_gpu() -> None:
    with pytest.raises(StudyError, match="apex is asked for, but NVIDIA Apex runs on a GPU and there is no GPU here"):
        backend_of("apex", torch.device("cpu"))


def test_auto_is_torch_where_there_is_no_gpu() -> None:
    assert backend_of("auto", torch.device("cpu")) == backend_of("torch", torch.device("cpu")) == "torch"
