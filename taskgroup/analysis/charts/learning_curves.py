"""Clean and robust validation score of each trial over its epochs."""

from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from taskgroup.analysis.base import CHARTS, Chart
from taskgroup.analysis.charts.style import (
    literal,
    new_figure,
    present,
    rank,
    score_axis,
    score_format,
)
from taskgroup.analysis.groups import STYLES, Group, group_of
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.study import Study


@dataclass(frozen=True)
class Curve:
    """One score of one trial.

    Attributes:
        trial: Number of the trial.
        label: What a reader calls it.
        group: Its part in the study.
        epochs: Epochs at which the score was measured, from 1.
        scores: The score after each of them.
    """

    trial: int
    label: str
    group: Group
    epochs: tuple[int, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class CurvesData:
    """The curves of both scores, by trial number."""

    clean: StudyObjective
    robust: StudyObjective
    clean_curves: tuple[Curve, ...] = ()
    robust_curves: tuple[Curve, ...] = ()


def collect_curves(study: Study) -> CurvesData:
    """Every trial with at least one measured epoch, stopped and failed ones included."""
    return CurvesData(
        study.clean,
        study.robust,
        _curves(study, study.clean.metric),
        _curves(study, study.robust.metric),
    )


def _curves(study: Study, metric: str) -> tuple[Curve, ...]:
    found = []
    for trial in study.searched:
        rows = [row for row in trial.epochs if metric in row.metrics]
        if rows:
            epochs = tuple(row.epoch for row in rows)
            scores = tuple(row.metrics[metric] for row in rows)
            group = group_of(trial, study.best)
            found.append(Curve(trial.number, trial.label, group, epochs, scores))
    return tuple(found)


def draw_curves(data: CurvesData) -> go.Figure:
    """Two panels with a line per trial."""
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=["without attack", "under the validation attack"]
    )
    new_figure(figure, height=420)
    sides = ((data.clean, data.clean_curves), (data.robust, data.robust_curves))
    for column, (objective, curves) in enumerate(sides, start=1):
        for group in present([curve.group for curve in curves]):
            members = [curve for curve in curves if curve.group == group]
            for index, curve in enumerate(members):
                legend = column == 2 and index == 0
                _add_curve(figure, curve, objective, column=column, legend=legend)
        figure.update_yaxes(**score_axis(objective), col=column)
    figure.update_xaxes(title_text="epoch", dtick=_step(data))
    figure.update_annotations(font_size=13)
    figure.update_layout(legend={"y": 1.14}, margin={"t": 96})
    return figure


def _step(data: CurvesData) -> int:
    """Epochs between two ticks: whole ones, at most about ten."""
    curves = (*data.clean_curves, *data.robust_curves)
    longest = max((curve.epochs[-1] for curve in curves), default=1)
    return -(-longest // 10)


def _add_curve(
    figure: go.Figure, curve: Curve, objective: StudyObjective, *, column: int, legend: bool
) -> None:
    style = STYLES[curve.group]
    strong = curve.group not in ("searched", "unfinished")
    figure.add_scatter(
        x=curve.epochs,
        y=curve.scores,
        mode="lines+markers",
        line={"color": style.color, "width": 2.5 if strong else 1.2},
        marker={"symbol": style.symbol, "size": 7 if strong else 4},
        opacity=1.0 if strong else 0.6,
        name=style.title,
        legendgroup=curve.group,
        showlegend=legend,
        legendrank=rank(curve.group),
        text=[f"trial {curve.trial}: {literal(curve.label)}"] * len(curve.epochs),
        hovertemplate=f"%{{text}}<br>epoch %{{x}}: %{{y:{score_format(objective)}}}<extra></extra>",
        row=1,
        col=column,
    )


@CHARTS.register("learning_curves")
def learning_curves_chart(study: Study) -> Chart:
    """Validation scores over epochs, one line per trial."""
    data = collect_curves(study)
    has_curves = bool(data.clean_curves or data.robust_curves)
    return Chart(
        "Learning curves",
        "The main task's scores on the validation split after each epoch. A robust score that "
        "falls while the clean one rises is robust overfitting.",
        draw_curves(data) if has_curves else None,
    )
