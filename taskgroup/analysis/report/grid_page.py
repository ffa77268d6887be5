"""The tables of a grid study as sections of its report."""

from collections.abc import Callable
from contextlib import suppress

from taskgroup.analysis.report import page
from taskgroup.analysis.tables.base import Table
from taskgroup.analysis.tables.grid_tables import (
    GridTable,
    attacks_table,
    relative_table,
    vulnerability_table,
)
from taskgroup.analysis.tables.grids import Grid, open_grid
from taskgroup.analysis.tables.predictors import predictors_table
from taskgroup.errors import DataError
from taskgroup.study.study import Study

SECTIONS: tuple[tuple[Callable[[Grid], GridTable], str, str], ...] = (
    (
        relative_table,
        "Task sets against the main task alone",
        "By how many percent the main task's score is better with auxiliary tasks than without, "
        "under the same recipe, paired by seed. An interval that contains 0 is no evidence.",
    ),
    (
        attacks_table,
        "Task sets under each attack",
        "The main task's score, the mean over seeds.",
    ),
    (
        vulnerability_table,
        "Relative vulnerability",
        "The main task's (attacked - clean) / clean error under each attack.",
    ),
    (
        predictors_table,
        "What ranks configurations like robustness",
        "Whether cheap numbers put the configurations in the same order.",
    ),
)


def grid_tables(study: Study) -> list[tuple[str, str, Table]]:
    """Titles, captions and tables that a study with several seeds has numbers for.

    Empty for any other study.
    """
    if len({trial.seed for trial in study.complete}) < 2:
        return []
    grid = open_grid([study])
    found = []
    for build, title, caption in SECTIONS:
        with suppress(DataError):  # nothing evaluated, or too little to compare
            found.append((title, caption, build(grid).table))
    return found


def grid_sections(study: Study) -> str:
    """The same as sections of a report."""
    return "\n".join(
        page.section(title, caption, page.table(table, mark_column=-1))
        for title, caption, table in grid_tables(study)
    )
