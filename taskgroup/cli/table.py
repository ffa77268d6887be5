"""``table``: results of grid studies, task set by task set, over seeds."""

import json
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from taskgroup.cli.app import app, group
from taskgroup.cli.options import DEFAULT_RUNS, Json, Runs, open_run, print_table

if TYPE_CHECKING:
    from taskgroup.analysis.tables.grid_tables import GridTable
    from taskgroup.analysis.tables.grids import Grid

table_app = group("Tables of grid studies: task sets side by side, means over seeds.")
app.add_typer(table_app, name="table")


class SplitName(StrEnum):
    """Names of ``--split`` for tables of scores, which the search has too."""

    test = "test"
    confirm = "confirm"
    validation = "validation"


class EvaluatedName(StrEnum):
    """Names of ``--split`` for tables that only evaluations can fill."""

    test = "test"
    confirm = "confirm"


GridRuns = Annotated[
    list[str] | None,
    typer.Argument(help="Run directories, e.g. one per main task; default: the newest."),
]
ScoredSplit = Annotated[
    SplitName | None,
    typer.Option(
        help="test or confirm: scores from `evaluate`; validation: scores measured by the search; "
        "default: test if anything was evaluated there."
    ),
]
EvaluatedSplit = Annotated[EvaluatedName, typer.Option(help="Split scored by `evaluate`.")]
Out = Annotated[
    list[str] | None,
    typer.Option(help="File to write the numbers to: .csv or .parquet (repeatable)."),
]


@table_app.command("relative")
def relative(
    grid_runs: GridRuns = None,
    split: ScoredSplit = None,
    out: Out = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Main task by task set: change in clean and robust score relative to the main task alone."""
    from taskgroup.analysis.tables.grid_tables import relative_table

    _show(relative_table, grid_runs, runs, split, out, as_json)


@table_app.command("attacks")
def attacks(
    grid_runs: GridRuns = None,
    split: EvaluatedSplit = EvaluatedName.test,
    out: Out = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Attack by task set: the main task's score under each attack of the evaluations."""
    from taskgroup.analysis.tables.grid_tables import attacks_table

    _show(attacks_table, grid_runs, runs, split, out, as_json)


@table_app.command("vulnerability")
def vulnerability(
    grid_runs: GridRuns = None,
    split: EvaluatedSplit = EvaluatedName.test,
    out: Out = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Relative vulnerability of the main task: (attacked - clean) / clean error, by attack."""
    from taskgroup.analysis.tables.grid_tables import vulnerability_table

    _show(vulnerability_table, grid_runs, runs, split, out, as_json)


@table_app.command("predictors")
def predictors(
    grid_runs: GridRuns = None,
    split: ScoredSplit = None,
    out: Out = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Rank correlation of cheap numbers, such as clean or early scores, with the robust score."""
    from taskgroup.analysis.tables.predictors import predictors_table

    _show(predictors_table, grid_runs, runs, split, out, as_json)


def _show(
    build: "Callable[[Grid], GridTable]",
    grid_runs: list[str] | None,
    runs: str,
    split: SplitName | EvaluatedName | None,
    out: list[str] | None,
    as_json: bool,
) -> None:
    """Print a table, and write its numbers to the files asked for."""
    from taskgroup.analysis.tables.grids import open_grid
    from taskgroup.results.storage.flat_files import check_flat_file, write_flat_file
    from taskgroup.search.loading import read_studies

    for place in out or ():
        check_flat_file(place)
    studies = read_studies([open_run(run, runs) for run in grid_runs or (None,)])
    found = build(open_grid(studies, None if split is None else split.value))
    if as_json:
        typer.echo(json.dumps(found.to_json()))
    else:
        print_table(found.table, as_json)
    for place in out or ():
        write_flat_file(place, found.records)
        typer.echo(f"Written to {place}", err=as_json)
