"""Robust against clean score of every finished configuration: what robustness costs."""

import math
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
from taskgroup.study.configurations import mean_gains, standing_trial
from taskgroup.study.fronts import pareto_front
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.study import Study


@dataclass(frozen=True)
class ParetoPoint:
    """One configuration that was trained to the end.

    Attributes:
        trial: Number of its trial; where it has several seeds, of that which stands for them.
        label: What a reader calls it.
        group: Its part in the study.
        clean: Clean score of the main task, the mean over seeds.
        robust: Robust score of the main task, the mean over seeds.
        on_front: Whether no other one is at least as good in both and better in one.
    """

    trial: int
    label: str
    group: Group
    clean: float
    robust: float
    on_front: bool


@dataclass(frozen=True)
class ParetoData:
    """Points by trial number, and what the two scores are."""

    clean: StudyObjective
    robust: StudyObjective
    points: tuple[ParetoPoint, ...] = ()


def collect_pareto(study: Study) -> ParetoData:
    """The configurations that have both scores; infeasible ones are never on the front."""
    pair = (study.clean, study.robust)
    standing = [standing_trial(group, study.objectives[0]) for group in study.configurations]
    trials = [t for t in standing if all(math.isfinite(study.value(o, t)) for o in pair)]
    trials.sort(key=lambda trial: trial.number)
    beyond = {trial.number for trial in study.infeasible}
    gains = mean_gains([study.configuration(trial) for trial in trials], pair)
    gains[[trial.number in beyond for trial in trials]] = math.nan
    front = pareto_front(gains) if trials else ()
    points = tuple(
        ParetoPoint(
            trial.number,
            trial.label,
            group_of(trial, study.best),
            study.value(study.clean, trial),
            study.value(study.robust, trial),
            bool(on_front),
        )
        for trial, on_front in zip(trials, front, strict=True)
    )
    return ParetoData(study.clean, study.robust, points)


def draw_pareto(data: ParetoData) -> go.Figure:
    """Scatter of the points with the front as a line."""
    figure = new_figure(height=460)
    on_front = (point for point in data.points if point.on_front)
    front = sorted(on_front, key=lambda point: data.clean.sign * point.clean)
    figure.add_scatter(
        x=[p.clean for p in front],
        y=[p.robust for p in front],
        mode="lines",
        line={"color": SOFT, "width": 1.5, "dash": "dot", "shape": "vh"},
        name="Pareto front",
        hoverinfo="skip",
    )
    for group in present([p.group for p in data.points]):
        _add_group(figure, data, group)
    figure.update_xaxes(**score_axis(data.clean))
    figure.update_yaxes(**score_axis(data.robust))
    return figure


def _add_group(figure: go.Figure, data: ParetoData, group: Group) -> None:
    points = [p for p in data.points if p.group == group]
    clean, robust = score_format(data.clean), score_format(data.robust)
    figure.add_scatter(
        x=[p.clean for p in points],
        y=[p.robust for p in points],
        mode="markers",
        marker=marker(group),
        name=STYLES[group].title,
        text=[f"trial {p.trial}: {literal(p.label)}" for p in points],
        hovertemplate=f"%{{text}}<br>clean %{{x:{clean}}}<br>robust %{{y:{robust}}}<extra></extra>",
    )


@CHARTS.register("pareto")
def pareto_chart(study: Study) -> Chart:
    """Robust against clean score, one point per finished configuration."""
    data = collect_pareto(study)
    points, one = "finished trial", "trial"
    if study.has_seeds:
        points, one = "configuration, the mean over its seeds,", "configuration"
    return Chart(
        "What robustness costs",
        f"Every {points} on the validation split: right is better without attack, up is "
        f"better under attack. No {one} on the dotted line is beaten in both scores by another.",
        draw_pareto(data) if data.points else None,
    )
