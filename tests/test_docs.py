"""Documentation that can fail: the README names every file and verb, and every verb has help with an example."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ablate.cli import cli
from ablate.study.load import load

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_verb_is_documented(name: str) -> None:
    assert f"`ablate {name}" in README
    text = cli.commands[name].help or ""
    assert "Example: ablate" in text
    assert CliRunner().invoke(cli, [name, "--help"]).exit_code == 0


def test_every_file_is_in_the_tree() -> None:
    tree = README[README.index("## The repository") :]
    for path in (ROOT / "ablate").rglob("*.py"):
        if not path.name.startswith("__"):
            assert re.search(rf"\b{path.stem}\b", tree), f"{path.relative_to(ROOT)} is not in the README's tree"


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert link.startswith("http") or (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_readmes_study_can_be_read(tmp_path: Path) -> None:
    text = README[README.index("```yaml") + 8 :]
    path = tmp_path / "mine.yaml"
    path.write_text(text[: text.index("```")])
    assert load(path).name == "mine"


def test_shipped_studies_can_be_read() -> None:
    for path in (ROOT / "studies").rglob("*.yaml"):
        study = load(path)
        assert study.name == path.stem
        for profile in study.profiles:
            load(path, profile)


def test_nothing_of_this_machine_is_in_the_repository() -> None:
    folders = [ROOT / name for name in ("ablate", "docs", "studies", "benchmarks")]
    for path in [*ROOT.glob("*.*"), *(path for folder in folders for path in folder.rglob("*"))]:
        if path.suffix in (".py", ".md", ".yaml", ".toml", ".txt"):
            assert not re.search(r"/home/\w|/root/|/tmp/\w", path.read_text()), path


def test_options_have_help() -> None:
    for name, command in cli.commands.items():
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help or parameter.name == "format_", f"{name} {parameter.name}"
