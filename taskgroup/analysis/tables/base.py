"""Tables of runs and trials, alike on the terminal, as JSON and in the report."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from taskgroup.analysis.groups import Group, group_of
from taskgroup.errors import TaskgroupError
from taskgroup.results.records import EvaluationRow, Stage, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.results.runs import list_runs
from taskgroup.study.study import Study
from taskgroup.wording import (
    MISSING,
    format_difference,
    format_score,
    format_seconds,
    listed,
    parameters_text,
    plural,
)

STAGES: tuple[Stage, ...] = ("search", "confirm", "proxy")
"""In the order of a table."""


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        cells: One text per column; an empty one repeats the row above.
        data: The same for machines, with numbers as numbers.
        group: The part of the trial in its study, or None.
        alarms: Positions of the cells that warn, set in red.
    """

    cells: tuple[str, ...]
    data: Mapping[str, Any]
    group: Group | None = None
    alarms: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Table:
    """Texts in rows and columns.

    Attributes:
        columns: Headings.
        numeric: Positions of the columns that hold numbers, set to the right.
        rows: The rows.
        notes: Lines below the table.
    """

    columns: tuple[str, ...]
    numeric: frozenset[int]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> list[dict[str, Any]]:
        """One object per row; what was never measured is null."""
        return [_without_nan(dict(row.data)) for row in self.rows]


def _without_nan(value: Any) -> Any:
    """The same plain data with None for NaN, which JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def runs_table(parent: str | Path) -> Table:
    """The run directories below a folder, newest first.

    A run that cannot be read says so in its row.
    """
    rows = [_run_row(run) for run in reversed(list_runs(parent))]
    columns = ("run", "main task", "trials", "complete", "best", "robust", "started")
    return Table(columns, frozenset({2, 3, 5}), tuple(rows))


def _run_row(run: RunDirectory) -> Row:
    try:
        study = Study.read(run)
    except TaskgroupError as error:
        cells = (run.place, MISSING, MISSING, MISSING, f"unreadable: {error}", MISSING, MISSING)
        return Row(cells, {"run": run.place, "error": str(error)})
    best = study.best
    score = None if best is None else study.score(study.robust, best)
    begun = min((trial.started for trial in study.searched if trial.started), default="")
    label = best.label if best is not None else ""
    data = {
        "run": run.place,
        "main_task": study.main_task,
        "trials": len(study.searched),
        "complete": len(study.complete),
        "best": label or None,
        "metric": study.robust.metric,
        "robust": score,
        "begun": begun or None,
    }
    cells = (
        run.place,
        study.main_task,
        str(len(study.searched)),
        str(len(study.complete)),
        label or MISSING,
        format_score(study.robust.score_name, score),
        (begun or MISSING)[:16].replace("T", " "),
    )
    return Row(cells, data)


def study_table(study: Study) -> Table:
    """The trials of a study: best robust score first, those without one last.

    Where there are other stages their trials follow, and a column says which: scores of different
    stages cannot be compared.
    """
    beyond = {trial.number for trial in study.infeasible}
    rows = tuple(
        _trial_row(study, trial, is_infeasible=trial.number in beyond)
        for stage in STAGES
        for trial in ranked(study, stage)
    )
    clean, robust = study.clean.title, study.robust.title
    columns = ("trial", "label", "status", "epochs", clean, robust, "drawn values", "time")
    trials = study.trials
    counts = Counter(trial.status for trial in trials)
    note = f"{len(trials)} {plural(len(trials), 'trial')}: " + ", ".join(
        f"{number} {status}" for status, number in counts.items()
    )
    table = Table(columns, frozenset({0, 3, 4, 5, 7}), rows, (note,) if trials else ())
    return _with_stages(table) if study.staged else table


def _with_stages(table: Table) -> Table:
    """The same with the stage of each trial behind its label."""
    rows = tuple(
        replace(
            row,
            cells=(*row.cells[:2], row.data["stage"], *row.cells[2:]),
            alarms=frozenset(index + (index >= 2) for index in row.alarms),
        )
        for row in table.rows
    )
    columns = (*table.columns[:2], "stage", *table.columns[2:])
    return replace(
        table,
        columns=columns,
        rows=rows,
        numeric=frozenset(index + (index >= 2) for index in table.numeric),
    )


def ranked(study: Study, stage: Stage = "search") -> list[TrialResult]:
    """Complete trials of one stage by falling robust score, then the rest by number."""

    def rank(trial: TrialResult) -> tuple[bool, float, int]:
        gain = study.robust.gain(trial)
        is_last = trial.status != "complete" or gain != gain
        return (is_last, 0.0 if is_last else -gain, trial.number)

    own = [trial for trial in study.trials if trial.stage == stage]
    return sorted(own, key=rank)


def _trial_row(study: Study, trial: TrialResult, *, is_infeasible: bool) -> Row:
    clean, robust = (trial.score(axis.metric) for axis in (study.clean, study.robust))
    score = study.robust.score_name
    done = trial.epochs[-1].epoch if trial.epochs else 0
    cells = (
        str(trial.number),
        trial.label,
        _status(study, trial, is_infeasible=is_infeasible),
        f"{done}/{trial.planned_epochs}",
        format_score(score, clean),
        format_score(score, robust),
        parameters_text(trial.parameters) or MISSING,
        format_seconds(trial.seconds),
    )
    data = {
        "trial": trial.number,
        "label": trial.label,
        "role": trial.role,
        "task_set": list(trial.task_set),
        "stage": trial.stage,
        "parent": trial.parent,
        "status": trial.status,
        "reason": trial.reason,
        "infeasible": is_infeasible,
        "epochs": done,
        "planned_epochs": trial.planned_epochs,
        "clean": clean,
        "robust": robust,
        "parameters": dict(trial.parameters),
        "seconds": trial.seconds,
        "checkpoint": trial.checkpoint,
    }
    return Row(cells, data, group_of(trial, study.best))


def _status(study: Study, trial: TrialResult, *, is_infeasible: bool) -> str:
    """How a trial ended, why, and by how much its configuration broke the limits of the study."""
    if is_infeasible:
        own = study.configuration(trial).trials
        drops = listed([format_difference(x.objective.metric, x.drop(*own)) for x in study.limits])
        return f"{trial.status}, infeasible: clean score {drops} worse"
    return f"{trial.status}: {trial.reason}" if trial.reason else trial.status


def mixed_versions(rows: Iterable[EvaluationRow]) -> tuple[str, ...]:
    """A note where scores under attack come from several versions of the attacks, else none."""
    found = {row.attack_version for row in rows if row.kind == "attack" and row.epsilon > 0}
    if len(found) < 2:
        return ()
    named = [str(version) if version else "0 (before versions)" for version in sorted(found)]
    return (
        f"scores come from versions {listed(named)} of the attacks, which do not compare; bring "
        "the older ones up to date with: taskgroup evaluate",
    )
