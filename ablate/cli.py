"""The verbs. Each reads its arguments, calls one function and prints; heavy imports wait until a verb needs them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from ablate.errors import AblateError
from ablate.workspace import room_for

_study = click.argument("study", type=click.Path(path_type=Path))
_overrides = click.argument("overrides", nargs=-1, metavar="[PATH.TO.FIELD=VALUE]...")
_profile = click.option("--profile", help="Use the overrides that the study file keeps under this name.")
_folder = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("."),
    show_default=True,
    help="Where results.db, runs/ and plots/ lie.",
)

_format = click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ablate")
def cli() -> None:
    """Is it the data, the parameters or the tokens? One YAML file, a grid of models, a verdict with its interval."""


@cli.command()
@_study
@_overrides
@_profile
@_folder
@_format
def plan(study: Path, overrides: tuple[str, ...], profile: str | None, folder: Path, format_: str) -> None:
    """What would run, what it would cost, and whether it fits.

    Example: ablate plan studies/quality_vs_quantity.yaml grid.seeds=[0,1,2]
    """
    from ablate import plan as planning
    from ablate.plan_text import as_text

    price = planning.price(*_asked(study, overrides, profile, folder), _tell)
    _show(planning.as_json(price), as_text(price), format_)


@cli.command()
@_study
@_overrides
@_profile
@_folder
@click.option("--budget", help="Refuse to start if the plan needs more device-hours than this, e.g. 40h.")
@click.option("--dry-run", is_flag=True, help="Only say what would run and what it would cost (the same as `ablate plan`).")
@click.pass_context
def run(
    ctx: click.Context, study: Path, overrides: tuple[str, ...], profile: str | None, folder: Path, budget: str | None, dry_run: bool
) -> None:
    """Train and score everything that is missing; the same command goes on after a stop.

    Example: ablate run studies/quality_vs_quantity.yaml --profile smoke
    """
    if dry_run:
        ctx.invoke(plan, study=study, overrides=overrides, profile=profile, folder=folder, format_="table")
        return
    from ablate import verbs

    sys.exit(verbs.run(study, overrides, profile, folder, budget))


@cli.command()
@_study
@_overrides
@_profile
@_folder
def prefetch(study: Path, overrides: tuple[str, ...], profile: str | None, folder: Path) -> None:
    """Fetch what a study needs of the Hugging Face hub, once: afterwards it runs without a network (HF_HUB_OFFLINE=1).

    Example: ablate prefetch studies/tinystories_to_7b.yaml --profile small
    """
    from ablate import prefetch as prefetching

    for line in prefetching.fetch(*_asked(study, overrides, profile, folder)):
        click.echo(line)


@cli.command()
@click.argument("study", type=click.Path(path_type=Path), required=False)
@_folder
def status(study: Path | None, folder: Path) -> None:
    """Where a study stands: runs done, failed, running and waiting, and why any failed.

    Example: ablate status
    """
    from ablate import standing
    from ablate.workspace import Workspace

    click.echo(standing.text(Workspace(folder), study))


@cli.command()
@click.argument("study", required=False)
@_folder
@click.option(
    "--figure",
    "figures",
    multiple=True,
    metavar="NAME",
    help="Draw only this figure; may be repeated. `published` is the article's comparison, from published scores.",
)
@click.option("--published", is_flag=True, help="Show published scores too, hollow and labelled, where benchmark and metric are the same.")
def plot(study: str | None, folder: Path, figures: tuple[str, ...], published: bool) -> None:
    """Draw the figures into plots/, each with its table beside it, and state the verdict.

    STUDY is a study file or the name of a study in results.db; without it, the only one there is.

    Example: ablate plot
    """
    from ablate import plot_verb
    from ablate.workspace import Workspace

    click.echo(plot_verb.draw(Workspace(folder), study, figures, published))


@cli.command()
@click.argument("sql")
@_folder
@click.option("--format", "format_", type=click.Choice(["table", "csv", "json", "parquet"]), default="table", show_default=True)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file instead of the terminal (needed for parquet)."
)
def query(sql: str, folder: Path, format_: str, output: Path | None) -> None:
    """Ask results.db, opened read-only. The views are `results` and `scores`; docs/results.md has every column.

    Example: ablate query "select params, tokens, synthetic_ratio, avg(mean_score) from results group by 1, 2, 3"
    """
    from ablate import ask
    from ablate.workspace import Workspace

    text = ask.ask(Workspace(folder).database, sql, format_, output)
    if text:
        click.echo(text)


@cli.command()
@_folder
def ingest(folder: Path) -> None:
    """Rebuild the rows of results.db from the run folders, e.g. after the file was lost.

    Example: ablate ingest
    """
    from ablate import verbs
    from ablate.workspace import Workspace

    click.echo(verbs.ingest(Workspace(folder)))


@cli.command("eval")
@click.argument("model")
@click.option("--benchmarks", help="With commas: builtin:NAME, tasks of the catalogue, lm_eval:TASK; of a study, names in its results.")
@click.option("--study", type=click.Path(path_type=Path), help="Score on its evaluate block (files, shots, judge); measure its texts.")
@_profile
@click.option("--limit", type=click.IntRange(min=2), help="Only the first items of each task of the catalogue, this many.")
@click.option("--allow-code-execution", is_flag=True, help="Run what the model writes (humaneval, mbpp), in a sandbox without a network.")
@_folder
@_format
def evaluate(
    model: str, benchmarks: str | None, study: Path | None, profile: str | None, limit: int | None, allow_code_execution: bool,
    folder: Path, format_: str,
) -> None:  # fmt: skip
    """Score any model (a hub id, a folder, run:DIGEST) by the code that scores a study's runs, and keep it as a baseline.

    Example: ablate eval microsoft/phi-1_5 --benchmarks hellaswag,piqa --limit 500
    """
    from ablate import eval_verb
    from ablate.study.load import load
    from ablate.workspace import Workspace

    names = benchmarks.split(",") if benchmarks else []
    asked = eval_verb.wanted(load(study, profile, []) if study else None, names, limit, allow_code_execution)
    outcome = eval_verb.evaluate(model, asked, Workspace(folder), _tell)
    _show(outcome, eval_verb.as_text(outcome), format_)
    sys.exit(1 if any(row["error"] for row in outcome["scores"]) else 0)


@cli.group()
def data() -> None:
    """What a study's text is, before anything is trained on it: inspect, prepare, audit.

    Example: ablate data inspect studies/quality_vs_quantity.yaml
    """


@data.command()
@_study
@_overrides
@_profile
@_folder
@_format
def inspect(study: Path, overrides: tuple[str, ...], profile: str | None, folder: Path, format_: str) -> None:
    """Sizes, fertility, hygiene, duplicates, overlap and samples of every source, and how each arm's stream begins.

    Builds the tokenizers and tokens that are missing.

    Example: ablate data inspect studies/quality_vs_quantity.yaml
    """
    from ablate import data_verbs

    shown = data_verbs.inspect(*_asked(study, overrides, profile, folder), _tell)
    _show(data_verbs.as_json(shown), data_verbs.inspection_text(shown), format_)


@data.command("prepare")
@_study
@_overrides
@_profile
@_folder
@_format
def prepare_data(study: Path, overrides: tuple[str, ...], profile: str | None, folder: Path, format_: str) -> None:
    """Build the tokenizers, tokens and tokenised benchmarks of a study now, which `ablate run` would do first.

    Example: ablate data prepare studies/quality_vs_quantity.yaml
    """
    from ablate import data_verbs

    shown = data_verbs.build(*_asked(study, overrides, profile, folder), _tell)
    _show(data_verbs.as_json(shown), data_verbs.reads_text(shown), format_)


@data.command()
@_study
@_overrides
@_profile
@_folder
@_format
def audit(study: Path, overrides: tuple[str, ...], profile: str | None, folder: Path, format_: str) -> None:
    """Look for every benchmark item in every source, by four published definitions, and record what is found.

    Example: ablate data audit studies/quality_vs_quantity.yaml
    """
    from ablate import data_verbs

    shown = data_verbs.audit(*_asked(study, overrides, profile, folder), _tell)
    _show(data_verbs.as_json(shown), data_verbs.audit_text(shown), format_)


def _asked(study: Path, overrides: tuple[str, ...], profile: str | None, folder: Path) -> tuple[Any, Any]:
    from ablate.study.load import load
    from ablate.workspace import Workspace

    return load(study, profile, overrides), Workspace(folder)


def _tell(line: str) -> None:
    """What is being done, while the answer is waited for."""
    click.echo(line, err=True)


def _show(value: Any, text: str, format_: str) -> None:
    import json

    click.echo(json.dumps(value, indent=1) if format_ == "json" else text)


@cli.command()
def schema() -> None:
    """Print the JSON Schema of the study file, for editors.

    Example: ablate schema > study.schema.json
    """
    import json

    from ablate.study.load import schema as study_schema

    click.echo(json.dumps(study_schema(), indent=1))


def main() -> NoReturn:
    """Entry point: an AblateError becomes its sentence and its exit status; nothing a user typed gives a traceback."""
    try:
        with room_for("what the command makes"):
            status: Any = cli.main(standalone_mode=False)
    except AblateError as e:
        click.echo(f"ablate: {e}", err=True)
        sys.exit(e.exit_status)
    except click.ClickException as e:
        e.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("ablate: stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    sys.exit(status if isinstance(status, int) else 0)
