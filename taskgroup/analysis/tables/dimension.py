"""Curves against the number of attacked outputs or tasks, and their tables."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from taskgroup.analysis.groups import Model, ModelStyle, model_styles
from taskgroup.analysis.tables.base import Row, Table
from taskgroup.results.records import Counted, DimensionRow, Measure, TaskGradientRow, TrialResult
from taskgroup.study.law import Law, fit_law
from taskgroup.wording import (
    MINUS,
    MISSING,
    format_number,
    format_radius,
    plural,
    score_interval,
    score_name,
    with_interval,
)

LAW_TEXT = f"a√((1+(M{MINUS}1)c)/M)"
SHOWN_COUNTS = 3
"""Numbers of outputs that a table has room for."""
COMBINED = {"sum": "sum", "unit_gradient": "unit"}


@dataclass(frozen=True)
class Curve:
    """One measure of one model against a number of outputs or tasks.

    Attributes:
        style: Its model, as charts show it.
        rows: Its records by rising number.
    """

    style: ModelStyle
    rows: tuple[DimensionRow, ...]

    @property
    def first(self) -> DimensionRow:
        """What all its records have in common."""
        return self.rows[0]

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of outputs, or of tasks."""
        return tuple(row.count for row in self.rows)

    @cached_property
    def law(self) -> Law | None:
        """The law fitted to gradient norms.

        None for scores, for fewer than two numbers, and where not all are of the same images.
        """
        if self.first.measure != "gradient_norm" or len(self.rows) < 2:
            return None
        if len({len(row.values) for row in self.rows}) > 1:
            return None
        squares = list(zip(*(row.values for row in self.rows), strict=True))
        law = fit_law(self.counts, squares, seed=self.first.seed)
        return None if math.isnan(law.correlation) else law


def collect_curves(
    rows: Sequence[DimensionRow], trials: Sequence[TrialResult], *, main_task: str
) -> list[Curve]:
    """The curves of one task: of the main task where it was measured, else of the last one.

    Of gradient norms the root mean square is taken, which is what the law speaks of, and the
    published script's mean where that was asked for.
    """
    if not rows:
        return []
    task = main_task if any(row.task == main_task for row in rows) else rows[-1].task
    used = [row for row in rows if row.task == task and row.score_name != "mean"]
    styles = model_styles([(row, row.label) for row in used], trials)
    grouped: dict[tuple[Model, Measure, Counted, str], list[DimensionRow]] = {}
    for row in used:
        key = ((row.trial, row.label), row.measure, row.counted, row.combine)
        grouped.setdefault(key, []).append(row)
    curves = [
        Curve(styles[key[0]], tuple(sorted(own, key=lambda row: row.count)))
        for key, own in grouped.items()
    ]
    order = list(styles.values())
    return sorted(curves, key=lambda curve: order.index(curve.style))


def dimension_table(curves: Sequence[Curve], counted: Counted, measure: Measure) -> Table:
    """One measure of each model at the first and the last number, and one between."""
    own = [c for c in curves if (c.first.counted, c.first.measure) == (counted, measure)]
    if measure == "gradient_norm":
        own = [curve for curve in own if len(curve.rows) > 1]
    own = [c for c in own if len(c.rows) > 1 or c.first.combine == "sum"][::-1]
    unit = "M" if counted == "outputs" else "tasks"
    counts = _spread(own, SHOWN_COUNTS if counted == "outputs" else 2)
    heads = [f"{unit}={count}" for count in counts]
    tasks = ("joined",) if counted == "tasks" else ()
    fitted = ("c",) if measure == "gradient_norm" else ()
    columns = ("model", *tasks, *heads, *fitted)
    rows = tuple(_row(curve, counts) for curve in own)
    return Table(columns, frozenset(range(1 + len(tasks), len(columns))), rows, _notes(own))


def _spread(curves: Sequence[Curve], most: int) -> list[int]:
    """Some of the numbers that curves were measured at, the first and the last among them."""
    counts = sorted({count for curve in curves for count in curve.counts})
    if len(counts) <= most:
        return counts
    last = len(counts) - 1
    return [counts[round(last * step / (most - 1))] for step in range(most)]


def _row(curve: Curve, counts: Sequence[int]) -> Row:
    found = {row.count: row for row in curve.rows}
    first, law = curve.first, curve.law
    cells = [curve.style.name, *(_cell(found.get(count)) for count in counts)]
    if first.counted == "tasks":
        cells.insert(1, COMBINED[first.combine])
    if first.measure == "gradient_norm":
        cells.append(MISSING if law is None else law_text(law))
    return Row(tuple(cells), _data(curve, law), curve.style.group)


def _cell(row: DimensionRow | None) -> str:
    if row is None:
        return MISSING
    return score_interval(row.score_name, row.value, row.low, row.high)


def law_text(law: Law) -> str:
    """The correlation with its interval.

    Example:
        >>> from taskgroup.study.intervals import Interval
        >>> law_text(Law(1.0, 0.0135, Interval(0.0121, 0.0151))).split()[0]
        '0.0135'
    """
    return with_interval(*(format_number(c) for c in (law.correlation, *law.interval)))


def _data(curve: Curve, law: Law | None) -> dict[str, Any]:
    first = curve.first
    names = ("trial", "label", "role", "measure", "counted", "combine", "task", "score_name")
    fitted = None
    if law is not None:
        fitted = {
            "scale": law.scale,
            "c": law.correlation,
            "low": law.interval.low,
            "high": law.interval.high,
        }
    points = ("count", "value", "low", "high", "clean", "images", "samples")
    return {
        **{name: getattr(first, name) for name in names},
        "law": fitted,
        "points": [{name: getattr(row, name) for name in points} for row in curve.rows],
    }


def _notes(curves: Sequence[Curve]) -> tuple[str, ...]:
    if not curves:
        return ()
    first = curves[0].first
    what = f"M {first.task} outputs" if first.counted == "outputs" else "tasks"
    if first.measure == "gradient_norm":
        head = (
            f"norm of the gradient of the mean loss over {what} by pixels in [0, 1], root mean "
            f"square over images; c: fitted in {LAW_TEXT}"
        )
    else:
        attacked = f"of {what}" if first.counted == "outputs" else "of the task"
        head = (
            f"{score_name(first.score_name)} {attacked} under {attack_text(first)} on "
            f"{'these outputs' if first.counted == 'outputs' else 'so many tasks'}"
        )
    if first.counted == "tasks":
        head += "; joined as the sum of losses, or as gradients of unit length"
    images = f"{first.images} {plural(first.images, 'image')}"
    notes = [f"{head}; {images}, bootstrap 95 % intervals over them in parentheses"]
    fewest = min((row for curve in curves for row in curve.rows), key=lambda row: row.images)
    if fewest.images < first.images:
        notes.append(
            "images with fewer valid outputs than M are left out, which leaves "
            f"{fewest.images} at M = {fewest.count}"
        )
    if first.seed_compatible:
        notes.append("measured as the published script did: two images are one vector")
    return tuple(notes)


def attack_text(row: DimensionRow) -> str:
    """The attack behind a score in a few words."""
    restarts = f" from {row.restarts} starts" if row.restarts > 1 else ""
    radius = format_radius(row.norm, row.epsilon)
    return f"{row.attack.upper()}-{row.steps}{restarts} at ε = {radius}"


def task_gradient_table(rows: Sequence[TaskGradientRow]) -> Table:
    """How the gradient of each task agrees with that of the first task, and with all together.

    The cosines between all pairs are in the data of the rows. A network of one task has no rows.
    """
    lines = []
    for trial, label in dict.fromkeys((row.trial, row.label) for row in rows):
        own = [row for row in rows if (row.trial, row.label) == (trial, label)]
        tasks = [row.task for row in own if row.quantity == "norm"]
        if len(tasks) > 1:
            lines += [_task_row(task, tasks, own) for task in tasks]
    note = (
        "norm: of the gradient of the task's mean loss by the image; the rest are cosines with "
        "the gradient of the main task, of the sum of all losses, and of all tasks at unit length, "
        "per image and then averaged"
    )
    columns = ("model", "task", "norm", "main task", "all summed", "all balanced")
    return Table(columns, frozenset(range(2, 6)), tuple(lines), (note,) if lines else ())


def _task_row(task: str, tasks: Sequence[str], rows: Sequence[TaskGradientRow]) -> Row:
    found = {(row.quantity, row.other): row.value for row in rows if row.task == task}
    cosines = {other: found["cosine", other] for other in tasks}
    joint, balanced = found["joint_cosine", ""], found["balanced_cosine", ""]
    numbers = (found["norm", ""], cosines[tasks[0]], joint, balanced)
    data = {
        "trial": rows[0].trial,
        "label": rows[0].label,
        "task": task,
        "norm": found["norm", ""],
        "cosines": cosines,
        "joint": joint,
        "balanced": balanced,
        "images": max(row.images for row in rows if row.task == task),
    }
    return Row((rows[0].label, task, *map(format_number, numbers)), data)
