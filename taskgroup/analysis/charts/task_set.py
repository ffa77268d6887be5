"""Robust and clean score of every task set that was tried."""

import math
from collections import defaultdict
from dataclasses import dataclass

import plotly.graph_objects as go

from taskgroup.analysis.base import CHARTS, Chart
from taskgroup.analysis.charts.style import (
    SOFT,
    literal,
    marker,
    new_figure,
    present,
    score_axis,
    score_format,
)
from taskgroup.analysis.groups import STYLES, Group, group_of
from taskgroup.results.records import TrialResult
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.study import Study
from taskgroup.wording import task_set_text


@dataclass(frozen=True)
class TaskSetPoint:
    """One finished trial in its row.

    Attributes:
        row: Name of the task set, ``segmentation+depth``.
        trial: Number of the trial.
        group: Its part in the study.
        clean: Clean score of the main task.
        robust: Robust score of the main task.
    """

    row: str
    trial: int
    group: Group
    clean: float
    robust: float


@dataclass(frozen=True)
class TaskSetData:
    """Rows from the best to the worst by their best robust score, and the points in them."""

    clean: StudyObjective
    robust: StudyObjective
    rows: tuple[str, ...] = ()
    points: tuple[TaskSetPoint, ...] = ()


def row_name(trial: TrialResult) -> str:
    """The task set of a trial, with a word where it was not trained on attacks."""
    tasks = task_set_text(trial.task_set) + ("" if trial.auxiliary_tasks else " alone")
    return tasks if trial.is_adversarial else f"{tasks}, natural"


def collect_task_set(study: Study) -> TaskSetData:
    """The finished trials that have both scores, by task set."""
    pair = (study.clean, study.robust)
    trials = [t for t in study.complete if all(math.isfinite(o.value(t)) for o in pair)]
    points = tuple(
        TaskSetPoint(
            row_name(trial),
            trial.number,
            group_of(trial, study.best),
            study.clean.value(trial),
            study.robust.value(trial),
        )
        for trial in trials
    )
    best: dict[str, float] = defaultdict(lambda: -float("inf"))
    for point in points:
        best[point.row] = max(best[point.row], study.robust.sign * point.robust)
    rows = tuple(sorted(best, key=lambda row: (-best[row], row)))
    return TaskSetData(study.clean, study.robust, rows, points)


def draw_task_set(data: TaskSetData) -> go.Figure:
    """A row per task set: robust scores as filled markers, clean scores as hollow ones."""
    figure = new_figure(height=180 + 34 * len(data.rows))
    figure.add_scatter(
        x=[p.clean for p in data.points],
        y=[literal(p.row) for p in data.points],
        mode="markers",
        marker={"symbol": "circle-open", "size": 8, "color": SOFT, "line": {"width": 1.5}},
        name="clean score",
        text=[f"trial {p.trial}" for p in data.points],
        hovertemplate=f"%{{text}}<br>clean %{{x:{score_format(data.clean)}}}<extra></extra>",
    )
    for group in present([p.group for p in data.points]):
        points = [p for p in data.points if p.group == group]
        figure.add_scatter(
            x=[p.robust for p in points],
            y=[literal(p.row) for p in points],
            mode="markers",
            marker=marker(group),
            name=STYLES[group].title,
            text=[f"trial {p.trial}" for p in points],
            hovertemplate=f"%{{text}}<br>robust %{{x:{score_format(data.robust)}}}<extra></extra>",
        )
    name = data.robust.title.removeprefix("robust ")
    figure.update_xaxes(**score_axis(data.robust))
    figure.update_xaxes(title_text=f"{name}: robust (filled) and clean (hollow)")
    figure.update_yaxes(
        categoryorder="array", categoryarray=[literal(r) for r in reversed(data.rows)], title=None
    )
    return figure


@CHARTS.register("task_set")
def task_set_chart(study: Study) -> Chart:
    """Robust score of each task set, the clean one beside it."""
    data = collect_task_set(study)
    return Chart(
        "Robustness against task set",
        "One row per task set, best on top; filled marks are robust scores, hollow circles the "
        "clean scores of the same trials. Trials of one row differ in weights, attack budget and "
        "optimiser.",
        draw_task_set(data) if data.points else None,
    )
