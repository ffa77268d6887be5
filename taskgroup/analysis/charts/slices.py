"""Robust score against each searched number: loss weights, attack budget, optimiser."""

import math
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from taskgroup.analysis.base import CHARTS, Chart
from taskgroup.analysis.charts.style import (
    add_note,
    literal,
    marker,
    new_figure,
    present,
    rank,
    score_axis,
    score_format,
)
from taskgroup.analysis.groups import STYLES, Group, group_of
from taskgroup.results.records import TrialResult
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.study import Study
from taskgroup.wording import format_value

COLUMNS = 3


@dataclass(frozen=True)
class SlicePoint:
    """One finished trial that has the key: number, part, drawn value, robust score."""

    trial: int
    group: Group
    value: float
    robust: float


@dataclass(frozen=True)
class Slice:
    """One searched key.

    Attributes:
        key: Dotted key as the space writes it.
        is_log: Whether the values span more than a factor of 20.
        points: One per finished trial that drew the key.
    """

    key: str
    is_log: bool
    points: tuple[SlicePoint, ...]


@dataclass(frozen=True)
class SlicesData:
    """Keys in the order weights, adversary, the rest."""

    robust: StudyObjective
    slices: tuple[Slice, ...] = ()


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None


def _order(key: str) -> tuple[int, str]:
    sections = ("loss_weights", "adversary")
    section = key.partition(".")[0]
    return (sections.index(section) if section in sections else len(sections), key)


def _matters(trial: TrialResult, key: str) -> bool:
    """Whether a key had an effect: a trial trained without attacks has no attack budget."""
    return trial.is_adversarial or not key.startswith("adversary.")


def collect_slices(study: Study) -> SlicesData:
    """Every numeric key that was drawn at two values or more."""
    robust = study.robust
    trials = [t for t in study.complete if math.isfinite(robust.value(t))]
    slices = []
    for key in sorted({key for t in trials for key in t.parameters}, key=_order):
        drawn = [(t, _number(t.parameters.get(key))) for t in trials if _matters(t, key)]
        points = tuple(
            SlicePoint(t.number, group_of(t, study.best), value, robust.value(t))
            for t, value in drawn
            if value is not None
        )
        values = {point.value for point in points}
        if len(values) > 1:
            is_log = min(values) > 0 and max(values) / min(values) > 20
            slices.append(Slice(key, is_log, points))
    return SlicesData(robust, tuple(slices))


def _has_few_levels(key: str, values: list[float]) -> bool:
    """Whether each value gets a tick of its own: radii, and counts."""
    is_radius = key.rpartition(".")[2] in ("epsilon", "step_size")
    return len(values) <= 6 and (is_radius or all(value.is_integer() for value in values))


def draw_slices(data: SlicesData) -> go.Figure:
    """Small multiples, one per key, with a common score axis."""
    if not data.slices:
        return add_note(new_figure(height=240), "no number was drawn at two values")
    rows = -(-len(data.slices) // COLUMNS)
    figure = make_subplots(
        rows=rows,
        cols=COLUMNS,
        shared_yaxes=True,
        subplot_titles=[literal(piece.key) for piece in data.slices],
        vertical_spacing=0.32 / rows,
        horizontal_spacing=0.04,
    )
    new_figure(figure, height=120 + 260 * rows)
    shown: set[Group] = set()
    for index, piece in enumerate(data.slices):
        place = {"row": index // COLUMNS + 1, "col": index % COLUMNS + 1}
        for group in present([p.group for p in piece.points]):
            _add_points(figure, data, piece, group, place, legend=group not in shown)
            shown.add(group)
        figure.update_xaxes(type="log" if piece.is_log else "linear", **place)
        values = sorted({p.value for p in piece.points})
        if _has_few_levels(piece.key, values):
            labels = [format_value(piece.key, v) for v in values]
            figure.update_xaxes(tickvals=values, ticktext=labels, **place)
    axis = score_axis(data.robust, title=False)
    figure.update_yaxes(**axis)
    figure.update_yaxes(title_text=score_axis(data.robust)["title"]["text"], col=1)
    figure.update_annotations(font_size=13)
    figure.update_layout(legend={"y": 1 + 46 / (120 + 260 * rows)}, margin={"t": 96})
    return figure


def _add_points(
    figure: go.Figure,
    data: SlicesData,
    piece: Slice,
    group: Group,
    place: dict[str, int],
    *,
    legend: bool,
) -> None:
    points = [p for p in piece.points if p.group == group]
    texts = [f"trial {p.trial}<br>{format_value(piece.key, p.value)}" for p in points]
    figure.add_scatter(
        x=[p.value for p in points],
        y=[p.robust for p in points],
        mode="markers",
        marker=marker(group),
        name=STYLES[group].title,
        legendgroup=group,
        showlegend=legend,
        legendrank=rank(points[0].group),
        text=texts,
        hovertemplate=f"%{{text}}<br>robust %{{y:{score_format(data.robust)}}}<extra></extra>",
        **place,
    )


@CHARTS.register("slices")
def slices_chart(study: Study) -> Chart:
    """Robust score against every searched number."""
    data = collect_slices(study)
    return Chart(
        "Loss weights, attack budget and optimiser",
        "Each panel shows one searched key; a weight appears only for trials that trained its "
        "task. Other keys differ between the points of a panel too: read them as hints.",
        draw_slices(data) if data.slices else None,
    )
