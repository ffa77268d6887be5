"""``runs``: list and inspect run directories."""

from typing import Annotated

import typer

from taskgroup.cli.app import app, group
from taskgroup.cli.options import DEFAULT_RUNS, Json, Runs, open_run, print_table

runs_app = group("List and inspect run directories.")
app.add_typer(runs_app, name="runs")


@runs_app.command("list")
def runs_list(runs: Runs = DEFAULT_RUNS, as_json: Json = False) -> None:
    """List run directories, newest first."""
    from taskgroup.analysis.tables.base import runs_table

    table = runs_table(runs)
    print_table(table, as_json)
    if not table.rows:
        typer.echo(
            f"No runs in {runs} yet; start one: taskgroup search --space quickstart", err=True
        )


@runs_app.command("show")
def runs_show(
    run: Annotated[str | None, typer.Argument(help="Run directory; default: the newest.")] = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Show the trials of a run."""
    from taskgroup.analysis.tables.base import study_table
    from taskgroup.study.study import Study

    print_table(study_table(Study.read(open_run(run, runs))), as_json)
