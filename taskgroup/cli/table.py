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
TABLES = {
    "relative": "Main task by task set: change in clean and robust score relative to the main task "
    "alone.",
    "attacks": "Attack by task set: the main task's score under each attack of the evaluations.",
    "vulnerability": "Relative vulnerability of the main task: (attacked - clean) / clean error, "
    "by attack.",
    "predictors": "Rank correlation of cheap numbers, such as clean or early scores, with the "
    "robust score.",
}
"""Help of each table."""
SCORED_BY_SEARCH = ("relative", "predictors")


def _add_command(name: str) -> None:
    """Add the command of one table; they differ in the splits that have what it shows."""
    is_scored = name in SCORED_BY_SEARCH
    default = None if is_scored else EvaluatedName.test

    def command(
        grid_runs: GridRuns = None,
        split: SplitName | EvaluatedName | None = default,
        out: Out = None,
        runs: Runs = DEFAULT_RUNS,
        as_json: Json = False,
    ) -> None:
        from taskgroup.analysis.tables.grids import open_grid
        from taskgroup.results.storage.flat_files import check_flat_file, write_flat_file
        from taskgroup.search.loading import read_studies

        for place in out or ():
            check_flat_file(place)
        studies = read_studies([open_run(run, runs) for run in grid_runs or (None,)])
        found = _build(name)(open_grid(studies, None if split is None else split.value))
        if as_json:
            typer.echo(json.dumps(found.to_json()))
        else:
            print_table(found.table, as_json)
        for place in out or ():
            write_flat_file(place, found.records)
            typer.echo(f"Written to {place}", err=as_json)

    command.__annotations__["split"] = ScoredSplit if is_scored else EvaluatedSplit
    table_app.command(name, help=TABLES[name])(command)


def _build(name: str) -> "Callable[[Grid], GridTable]":
    """What makes a table of a grid."""
    from taskgroup.analysis.tables import grid_tables, predictors

    return {
        "relative": grid_tables.relative_table,
        "attacks": grid_tables.attacks_table,
        "vulnerability": grid_tables.vulnerability_table,
        "predictors": predictors.predictors_table,
    }[name]


for _name in TABLES:
    _add_command(_name)
