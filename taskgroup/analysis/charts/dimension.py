"""Gradient norms and robust scores against the number of attacked outputs, and of tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from taskgroup.analysis.base import CHARTS, Chart
from taskgroup.analysis.charts.style import literal, new_figure, score_axis, score_format
from taskgroup.analysis.tables.dimension import (
    LAW_TEXT,
    Curve,
    attack_text,
    collect_curves,
    law_text,
)
from taskgroup.results.records import Counted, Measure
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.study import Study

TITLE = "Output dimension"
PANELS: tuple[tuple[Measure, str], ...] = (
    ("gradient_norm", "Gradient of the mean loss"),
    ("robust_score", "Score of what is attacked"),
)
AXES = {"outputs": "M, outputs that are attacked", "tasks": "tasks that are attacked"}
DASHES = {"sum": "dash", "unit_gradient": "solid"}
FINE = 200
"""Points of a fitted curve."""


@dataclass(frozen=True)
class DimensionData:
    """What the chart shows.

    Attributes:
        curves: Every curve of one task; tasks only where some model has several.
    """

    curves: tuple[Curve, ...] = ()

    @property
    def counted(self) -> list[Counted]:
        """Rows of panels: outputs, then tasks."""
        found = {curve.first.counted for curve in self.curves}
        both: tuple[Counted, ...] = ("outputs", "tasks")
        return [counted for counted in both if counted in found]

    def of(self, counted: Counted, measure: Measure) -> list[Curve]:
        """The curves of one panel."""
        return [
            curve
            for curve in self.curves
            if (curve.first.counted, curve.first.measure) == (counted, measure)
        ]


def collect_dimension(study: Study) -> DimensionData:
    """Each model's latest curves."""
    curves = collect_curves(study.dimensions, study.searched, main_task=study.main_task)
    has_tasks = any(c.first.counted == "tasks" and len(c.rows) > 1 for c in curves)
    return DimensionData(
        tuple(curve for curve in curves if curve.first.counted == "outputs" or has_tasks)
    )


def draw_dimension(data: DimensionData) -> go.Figure:
    """Up to two by two panels: gradients and scores, against outputs and against tasks."""
    counted = data.counted
    rows = max(len(counted), 1)
    titles = [name for _ in counted for _, name in PANELS]
    figure = make_subplots(
        rows=rows,
        cols=len(PANELS),
        subplot_titles=titles or None,
        horizontal_spacing=0.1,
        vertical_spacing=0.17,
    )
    new_figure(figure, height=120 + 370 * rows)
    shown: set[str] = set()
    for row, kind in enumerate(counted, 1):
        for column, (measure, _) in enumerate(PANELS, 1):
            own = data.of(kind, measure)
            if kind == "tasks" and measure == "gradient_norm":
                own = [curve for curve in own if len(curve.rows) > 1]
            for curve in own:
                _add_curve(figure, curve, row, column, is_named=curve.style.name not in shown)
                shown.add(curve.style.name)
            _set_axes(figure, own, kind, measure, row, column)
    figure.update_annotations(font_size=14)
    figure.update_layout(legend={"y": 1.0 + 40 / figure.layout.height, "yanchor": "bottom"})
    return _with_correlations(figure, data)


def _add_curve(figure: go.Figure, curve: Curve, row: int, column: int, *, is_named: bool) -> None:
    """Points with intervals, and the fitted law or the score without attack."""
    style, law = curve.style, curve.law
    scale = _scale(curve)
    dash = DASHES[curve.first.combine] if curve.first.counted == "tasks" else "solid"
    name = literal(style.name)
    common = {"legendgroup": name, "showlegend": False, "hoverinfo": "skip", "mode": "lines"}
    if law is not None:
        counts = np.geomspace(curve.counts[0], curve.counts[-1], FINE)
        line = {"color": style.color, "width": 2, "dash": dash}
        figure.add_scatter(
            x=counts, y=law.at(counts) / scale, line=line, row=row, col=column, **common
        )
    elif curve.first.clean is not None and curve.first.counted == "outputs":
        line = {"color": style.shade(0.7), "width": 1.5, "dash": "dot"}
        clean = [point.clean for point in curve.rows]
        figure.add_scatter(x=curve.counts, y=clean, line=line, row=row, col=column, **common)
    _add_points(figure, curve, row, column, dash=dash, is_named=is_named)


def _add_points(
    figure: go.Figure, curve: Curve, row: int, column: int, *, dash: str, is_named: bool
) -> None:
    style, scale = curve.style, _scale(curve)
    objective = StudyObjective(f"{curve.first.task}/robust/{curve.first.score_name}")
    form = score_format(objective) if curve.law is None else ".3g"
    values, lows, highs = (
        np.array([getattr(point, name) for point in curve.rows]) / scale
        for name in ("value", "low", "high")
    )
    name = literal(style.name)
    is_open = dash == "dash"
    figure.add_scatter(
        x=curve.counts,
        y=values,
        error_y={
            "type": "data",
            "symmetric": False,
            "array": highs - values,
            "arrayminus": values - lows,
            "width": 2,
            "thickness": 1,
            "color": style.shade(0.55),
        },
        mode="markers" if curve.law is not None else "lines+markers",
        line={"color": style.color, "width": 2, "dash": dash},
        marker={
            "symbol": f"{style.symbol}-open" if is_open else style.symbol,
            "size": 8,
            "color": style.color,
        },
        name=name,
        legendgroup=name,
        showlegend=is_named and not is_open,
        hovertemplate=f"%{{x}}: %{{y:{form}}}<extra>{name}</extra>",
        row=row,
        col=column,
    )


def _scale(curve: Curve) -> float:
    """Gradient norms against tasks are drawn relative to one task: raw losses differ in size."""
    if curve.law is None or curve.first.counted == "outputs":
        return 1.0
    return curve.rows[0].value


def _set_axes(
    figure: go.Figure,
    curves: Sequence[Curve],
    counted: Counted,
    measure: Measure,
    row: int,
    column: int,
) -> None:
    logarithmic = {"type": "log", "dtick": 1} if counted == "outputs" else {"dtick": 1}
    figure.update_xaxes(title_text=AXES[counted], row=row, col=column, **logarithmic)
    if measure == "gradient_norm":
        name = "norm" if counted == "outputs" else "norm, relative to one task"
        axis = {"type": "log", "dtick": "D2"} if counted == "outputs" else {"rangemode": "tozero"}
        figure.update_yaxes(title_text=name, row=row, col=column, **axis)
    elif curves:
        first = curves[0].first
        objective = StudyObjective(f"{first.task}/robust/{first.score_name}", first.direction)
        figure.update_yaxes(row=row, col=column, **score_axis(objective))


def _with_correlations(figure: go.Figure, data: DimensionData) -> go.Figure:
    """The fitted c of each model in the corner that the falling curve leaves free."""
    for row, counted in enumerate(data.counted):
        axis = "" if row == 0 else str(len(PANELS) * row + 1)
        fitted = [curve for curve in data.of(counted, "gradient_norm") if curve.law is not None]
        for place, curve in enumerate(reversed(fitted)):
            assert curve.law is not None
            is_dashed = counted == "tasks" and DASHES[curve.first.combine] == "dash"
            figure.add_annotation(
                text=f"c = {law_text(curve.law)}{' dashed' if is_dashed else ''}",
                font={"color": curve.style.color, "size": 12},
                xref=f"x{axis} domain",
                yref=f"y{axis} domain",
                x=0.98,
                y=0.98 - 0.07 * place,
                xanchor="right",
                yanchor="top",
                showarrow=False,
            )
    return figure


@CHARTS.register("dimension")
def dimension_chart(study: Study) -> Chart:
    """Gradient norms with the fitted law, and robust scores, against outputs and tasks."""
    data = collect_dimension(study)
    if not data.curves:
        return Chart(
            TITLE, "Run taskgroup dimension to see gradients and attacks on few and many outputs.",
            None,
        )  # fmt: skip
    return Chart(TITLE, _caption(data), draw_dimension(data))


def _caption(data: DimensionData) -> str:
    words = []
    if data.of("outputs", "gradient_norm"):
        words.append(
            "The mean loss over M random outputs has a smaller gradient the more outputs there are "
            f"and the less their gradients agree: lines are {LAW_TEXT}, which falls like 1/√M at "
            "c = 0 and not at all at c = 1."
        )
    scores = data.of("outputs", "robust_score")
    if scores:
        words.append(
            f"Under {attack_text(scores[0].first)} on M outputs those outputs keep the score on "
            "the right (dotted: without attack); an attack that must hurt all outputs at once "
            "hurts each less, which says nothing about an attack on one."
        )
    if "tasks" in data.counted:
        words.append(
            "Below, tasks in place of outputs: solid with gradients of unit length, dashed with "
            "the plain sum of losses, in which one task may drown the others."
        )
    return " ".join([*words, "Bars are bootstrap 95 % intervals over images."])
