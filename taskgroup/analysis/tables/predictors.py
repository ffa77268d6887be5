"""Which cheap numbers rank configurations like their robust score does."""

from collections.abc import Mapping, Sequence

from taskgroup.analysis.tables.base import Row
from taskgroup.analysis.tables.grid_tables import GridTable, lay_out, source_note
from taskgroup.analysis.tables.grids import (
    VALIDATION,
    Grid,
    unevaluated,
    validation_measure,
)
from taskgroup.errors import DataError
from taskgroup.study.agreement import LEAST_PAIRS, RankCorrelation
from taskgroup.study.predictors import (
    Predictor,
    early_predictors,
    measured,
    other_settings,
    rank_agreement,
    size_predictors,
)
from taskgroup.study.seed_groups import SeedGroup
from taskgroup.wording import MISSING, argument, decimal_interval, setting_text

EVERYTHING = "all of these"
NOTE = (
    "Spearman's rank correlation over configurations, each the mean over its seeds, with its 95 % "
    f"interval from {LEAST_PAIRS} configurations on; 1 is the same order"
)


def predictors_table(grid: Grid) -> GridTable:
    """Rank correlations of cheap numbers with the robust score, training by training.

    Raises:
        DataError: There are fewer than three configurations to rank.
    """
    rows, records = [], []
    names = list(dict.fromkeys(line.main_task for line in grid.lines))
    found = {main: _predictors(grid, main) for main in names}
    columns = list(dict.fromkeys(p.name for own in found.values() for p in own))
    for main in names:
        robust = _robust(grid, main)
        by_name = {predictor.name: predictor for predictor in found[main]}
        for title, groups in _scopes(grid, main):
            values = {
                name: rank_agreement(by_name[name], groups, robust)
                for name in columns
                if name in by_name
            }
            cells = [_text(values.get(name)) for name in columns]
            own = [
                {"main_task": main, "trained": title, "split": grid.split, "predictor": name}
                | value._asdict()
                for name, value in values.items()
            ]
            rows.append(Row((main, title, str(len(groups)), *cells), {"cells": own}))
            records += own
    _check(rows, grid)
    heads = ("main task", "trained", "configurations", *columns)
    notes = (source_note(grid), NOTE, *unevaluated(grid))
    return GridTable(lay_out(heads, rows, notes, words=2), tuple(records))


def _predictors(grid: Grid, main: str) -> list[Predictor]:
    """Everything cheap that is known about the configurations of a main task."""
    groups = [group for line in grid.lines if line.main_task == main for group in line.all_groups]
    groups = list(dict.fromkeys(groups))
    objective, robust = grid.robust(main), _robust(grid, main)
    sign = objective.sign
    clean = Predictor("clean score", measured(groups, grid.measure(main, "clean"), sign=sign))
    own = validation_measure(objective, "robust")
    search = [Predictor("search's robust score", measured(groups, own, sign=sign))]
    return [
        *size_predictors(groups),
        clean,
        *early_predictors(groups, objective),
        *(search if grid.split != VALIDATION else []),
        *_others(grid, main, robust),
    ]


def _others(grid: Grid, main: str, robust: Mapping[SeedGroup, float]) -> list[Predictor]:
    """The same task sets under other settings, such as a smaller network."""
    found: dict[str, dict[SeedGroup, float]] = {}
    own = [line for line in grid.lines if line.main_task == main]
    for line in own:
        for settings, scores in other_settings(line, own, robust):
            name = ", ".join(setting_text(key, value) for key, value in settings.items())
            found.setdefault(name, {}).update(scores)
    return [Predictor(name, values) for name, values in found.items()]


def _robust(grid: Grid, main: str) -> dict[SeedGroup, float]:
    sign = grid.robust(main).sign
    groups = [group for line in grid.lines if line.main_task == main for group in line.all_groups]
    return measured(groups, grid.measure(main, "robust"), sign=sign)


def _scopes(grid: Grid, main: str) -> list[tuple[str, Sequence[SeedGroup]]]:
    """Each line, then everything together."""
    own = [line for line in grid.lines if line.main_task == main]
    found: list[tuple[str, Sequence[SeedGroup]]] = [(grid.title(x), x.all_groups) for x in own]
    everything = list(dict.fromkeys(group for line in own for group in line.all_groups))
    return found if len(own) < 2 else [*found, (EVERYTHING, everything)]


def _check(rows: Sequence[Row], grid: Grid) -> None:
    most = max((value["pairs"] for row in rows for value in row.data["cells"]), default=0)
    if most < 3:
        raise DataError(
            f"{', '.join(study.place for study in grid.studies)} must hold at least 3 scored "
            f"configurations to rank, found {most}; search more task sets, or evaluate more trials "
            f"with: taskgroup evaluate all --run {argument(grid.place)}"
        )


def _text(value: RankCorrelation | None) -> str:
    return MISSING if value is None else decimal_interval(*value[:3])
