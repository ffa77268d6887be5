"""Options that several commands share, and what those commands do with them."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from taskgroup.results.run_directory import RunDirectory

DEFAULT_RUNS = "runs"

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Runs = Annotated[
    str,
    typer.Option(
        help="Parent of the run directories: a folder, or a URL such as s3://bucket/runs."
    ),
]
Run = Annotated[str | None, typer.Option(help="Run directory; default: the newest.")]
Fix = Annotated[
    list[str] | None,
    typer.Option(help="Pin a key of the space, e.g. adversary.epsilon=4/255 (repeatable)."),
]


def open_run(run: str | None, runs: str) -> "RunDirectory":
    """The run directory given, or the newest below ``runs``."""
    from taskgroup.results.run_directory import RunDirectory
    from taskgroup.results.runs import newest

    return RunDirectory.open(run) if run is not None else newest(runs)


def print_table(table: Any, as_json: bool) -> None:
    """Print a table to stdout, as text or as JSON."""
    if as_json:
        typer.echo(json.dumps(table.to_json()))
        return
    from rich.console import Console

    from taskgroup.analysis.tables.terminal import drawn

    console = Console()
    console.print(drawn(table, console.width))
