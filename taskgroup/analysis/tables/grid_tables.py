"""Tables of a grid study: task sets side by side, means over seeds, one table per question."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from taskgroup.analysis.tables.base import Row, Table, mixed_versions
from taskgroup.analysis.tables.grids import (
    CLEAN,
    NAN,
    Grid,
    check_alone,
    check_evaluated,
    unevaluated,
)
from taskgroup.results.records import EvaluationRow
from taskgroup.study.seed_groups import Line, Measure, Scored, SeedGroup
from taskgroup.study.seed_means import MeanInterval, score_range
from taskgroup.wording import (
    MISSING,
    argument,
    breakable,
    condition_name,
    counted,
    decimal_interval,
    first_images,
    format_change,
    format_radius,
    plural,
    score_interval,
    score_name,
    task_set_text,
    with_interval,
)

OK = "ok"
ALONE = "alone"
SEEDS_NOTE = (
    "mean over seeds, 95 % t intervals over seeds in parentheses; taken one by "
    "one, about one in twenty misses the true value"
)


@dataclass(frozen=True)
class GridTable:
    """A table to look at, and the same numbers one by one for a file.

    Attributes:
        table: One row per line of the grid and one column per task set.
        records: One mapping of plain values per number; all have the same keys.
    """

    table: Table
    records: tuple[Mapping[str, Any], ...]

    def to_json(self) -> list[dict[str, Any]]:
        """The records; what was never measured is null."""
        return Table((), frozenset(), tuple(Row((), record) for record in self.records)).to_json()


def relative_table(grid: Grid) -> GridTable:
    """By how many percent each task set is better than the main task alone, clean and robust.

    Layout T3 of Mao et al. (ECCV 2020): main task by auxiliary tasks. Changes are paired by seed.

    Raises:
        DataError: Nothing can be compared.
    """
    check_alone(grid)
    rows, records = [], []
    for line in grid.lines:
        for kind in ("clean", "robust") if line.groups else ():
            measure = grid.measure(line.main_task, kind)
            direction = grid.robust(line.main_task).direction
            found = [_change(line, tasks, measure, direction) for tasks in grid.task_sets]
            score = grid.score_name(line.main_task)
            head = [line.main_task, grid.title(line), f"{kind} {score_name(score)}"]
            alone = _mean(line.alone, measure, score_range(score))
            cells = (*head, _score_text(score, alone), *(_change_text(value) for value in found))
            own = [
                _record(line, grid, tasks, value, alone=alone, kind=kind, score=score)
                for tasks, value in zip(grid.task_sets, found, strict=True)
                if tasks in line.groups
            ]
            rows.append(Row(cells, {"main_task": line.main_task, "cells": own}))
            records += own
    columns = ("main task", "trained", "score", ALONE, *_heads(grid))
    note = (
        "percent by which a task set is better than the main task alone with the same seed, more "
        f"is better; {SEEDS_NOTE}"
    )
    notes = (source_note(grid), note, *unevaluated(grid))
    return GridTable(lay_out(columns, rows, notes, words=3), tuple(records))


def attacks_table(grid: Grid) -> GridTable:
    """The main task's score under every attack of the evaluations, task set by task set.

    Layouts T1 and T2 of Mao et al. (ECCV 2020): attacks by task sets.

    Raises:
        DataError: Nothing was evaluated.
    """
    better = {
        "lower" if grid.robust(line.main_task).direction == "minimize" else "higher"
        for line in grid.lines
    }
    note = f"{' or '.join(sorted(better))} is better; {SEEDS_NOTE}"
    return _by_condition(
        grid, lambda row: row.score, _score_text, note, limits=score_range, with_clean=True
    )


def vulnerability_table(grid: Grid) -> GridTable:
    """Relative vulnerability of the main task, attack by attack and task set by task set.

    Raises:
        DataError: Nothing was evaluated.
    """
    note = (
        "relative vulnerability: mean over images of (error under attack - clean error) / clean "
        "error (Ghamizi et al., AAAI 2022), lower is better; it falls where the clean error "
        f"grows, so read it beside the scores; {SEEDS_NOTE}"
    )
    return _by_condition(
        grid,
        lambda row: row.vulnerability,
        _plain_text,
        note,
        limits=lambda score: (-np.inf, np.inf),
        with_clean=False,
    )


def _by_condition(
    grid: Grid,
    value: Any,
    text: Any,
    note: str,
    *,
    limits: Callable[[str], tuple[float, float]],
    with_clean: bool,
) -> GridTable:
    """One row per line and condition, one column per task set."""
    check_evaluated(grid)
    rows, records = [], []
    for line in grid.lines:
        score = grid.score_name(line.main_task)
        conditions = _conditions(line, score, with_clean=with_clean)
        most = max((sample.images for sample in conditions.values()), default=0)
        for key, sample in conditions.items():
            measure = _condition_measure(key, line.main_task, score, value)
            groups = [(), *grid.task_sets]
            found = [_mean(_group(line, tasks), measure, limits(score)) for tasks in groups]
            marks = [_is_suspect(_group(line, tasks), key, score) for tasks in groups]
            texts = [
                text(score, mean) + (" !" if marked else "")
                for mean, marked in zip(found, marks, strict=True)
            ]
            own = [
                _record(line, grid, tasks, mean, kind=key, score=score, sample=sample)
                for tasks, mean in zip(groups, found, strict=True)
                if mean.seeds
            ]
            head = (line.main_task, grid.title(line), _attack_text(sample, most))
            data = {"main_task": line.main_task, "condition": sample.condition, "cells": own}
            alarms = frozenset(3 + place for place, marked in enumerate(marks) if marked)
            rows.append(Row((*head, *texts), data, None, alarms))
            records += own
    columns = ("main task", "trained", "attack", ALONE, *_heads(grid))
    notes = (source_note(grid), note, *_mark_note(rows), *unevaluated(grid))
    return GridTable(lay_out(columns, rows, notes, words=3), tuple(records))


Key = tuple[str, str, float, int, int]


def _conditions(line: Line, score: str, *, with_clean: bool) -> dict[Key, EvaluationRow]:
    """What the models of a line were evaluated under, with one row each; sweeps are left out."""
    found: dict[Key, EvaluationRow] = {}
    for group in line.all_groups:
        for row in (row for member in group.members for row in member.rows):
            is_own = (row.task, row.score_name) == (line.main_task, score)
            is_wanted = row.condition != "sweep" and (with_clean or row.condition != CLEAN)
            if is_own and is_wanted:
                found.setdefault(_key(row), row)
    last = {"worst_case": 1}
    return dict(sorted(found.items(), key=lambda pair: last.get(pair[0][0], 0)))


def _key(row: EvaluationRow) -> Key:
    return row.condition, row.norm, row.epsilon, row.steps, row.restarts


def _condition_measure(key: Key, task: str, score: str, value: Any) -> Measure:
    def read(member: Scored) -> float:
        for row in member.rows:
            if _key(row) == key and (row.task, row.score_name) == (task, score):
                found = None if row.is_bound else value(row)
                return NAN if found is None else float(found)
        return NAN

    return read


def _is_suspect(group: SeedGroup | None, key: Key, score: str) -> bool:
    """Whether a sanity check found something in any of the models."""
    members = () if group is None else group.members
    return any(
        row.verdict != OK
        for member in members
        for row in member.rows
        if _key(row) == key and row.score_name == score
    )


def _group(line: Line, tasks: tuple[str, ...]) -> SeedGroup | None:
    return line.groups.get(tasks) if tasks else line.alone


def _mean(group: SeedGroup | None, measure: Measure, limits: tuple[float, float]) -> MeanInterval:
    return MeanInterval(NAN, NAN, NAN, 0) if group is None else group.mean(measure, limits)


def _change(line: Line, tasks: tuple[str, ...], measure: Measure, direction: str) -> MeanInterval:
    group = line.groups.get(tasks)
    if group is None:
        return MeanInterval(NAN, NAN, NAN, 0)
    return group.change(measure, line.alone, direction)


def _record(
    line: Line,
    grid: Grid,
    tasks: tuple[str, ...],
    value: MeanInterval,
    *,
    kind: str | Key,
    score: str,
    alone: MeanInterval | None = None,
    sample: EvaluationRow | None = None,
) -> dict[str, Any]:
    """One number of a table as plain values."""
    found: dict[str, Any] = {
        "main_task": line.main_task,
        "auxiliary_tasks": task_set_text(tasks),
        "trained": grid.title(line),
        "split": grid.split,
        "score_name": score,
        "condition": kind if sample is None else sample.condition,
    }
    if sample is not None:
        names = ("norm", "epsilon", "steps", "restarts")
        found |= {name: getattr(sample, name) for name in names}
    if alone is not None:
        found["alone"] = alone.mean
    return found | dict(zip(("mean", "low", "high", "seeds"), value, strict=False))


def _heads(grid: Grid) -> tuple[str, ...]:
    return tuple(breakable(f"+{task_set_text(tasks)}") for tasks in grid.task_sets)


def lay_out(
    columns: tuple[str, ...], rows: Sequence[Row], notes: Iterable[str], *, words: int
) -> Table:
    """A table whose first columns are words; what repeats the row above is left empty.

    Rows without any number are left out, and a note says how many.
    """
    shown = []
    before: tuple[str, ...] = ()
    known = [row for row in rows if any(cell != MISSING for cell in row.cells[words:])]
    missing = len(rows) - len(known)
    notes = [*notes, *([f"left out without a number: {counted(missing, 'row')}"] * (missing > 0))]
    for row in known:
        head = row.cells[: words - 1]
        same = next((i for i in range(len(head)) if head[: i + 1] != before[: i + 1]), len(head))
        shown.append(replace(row, cells=("",) * same + row.cells[same:]))
        before = head
    return Table(columns, frozenset(range(words, len(columns))), tuple(shown), tuple(notes))


def source_note(grid: Grid) -> str:
    """Where the scores of a table come from."""
    if grid.split == "validation":
        return (
            "scores of the search's own attack on the validation split; for strong attacks on the "
            f"test split run: taskgroup evaluate all --run {argument(grid.place)}"
        )
    rows = [row for group in grid.groups for member in group.members for row in member.rows]
    counts = sorted({row.images for row in rows if row.condition == CLEAN})
    images = " or ".join(map(str, counts)) + " " + plural(max(counts, default=0), "image")
    suites = " or ".join(sorted({row.suite for row in rows if row.suite}))
    note = (
        f"suite {suites or 'unknown'} on {images} of the {grid.split} split; robust is the "
        "worst of all attacks inside the ball, image by image"
    )
    return "; ".join((note, *mixed_versions(rows)))


def _mark_note(rows: Sequence[Row]) -> tuple[str, ...]:
    if not any(row.alarms for row in rows):
        return ()
    return ("! suspect in at least one of the seeds: taskgroup report says why",)


def _attack_text(row: EvaluationRow, most: int) -> str:
    """A condition with its effort and radius, and its images where others have more."""
    effort = f" {row.steps}" if row.steps > 1 else ""
    if row.restarts > 1:
        effort += f"\N{MULTIPLICATION SIGN}{row.restarts}"
    if row.condition in (CLEAN, "worst_case"):
        effort = ""
    radius = f", {format_radius(row.norm, row.epsilon)}" if row.epsilon else ""
    images = f", {first_images(row.images)}" if row.images < most else ""
    return f"{condition_name(row.condition)}{effort}{radius}{images}"


def _score_text(score: str, value: MeanInterval) -> str:
    """A score with its interval where there are several seeds, in the score's unit."""
    return score_interval(score, *value[:3])


def _plain_text(score: str, value: MeanInterval) -> str:
    """A number without a unit, with its interval where there are several seeds."""
    return decimal_interval(*value[:3])


def _change_text(value: MeanInterval) -> str:
    """A change in percent, with its interval where there are several seeds."""
    return with_interval(*map(format_change, value[:3]))
