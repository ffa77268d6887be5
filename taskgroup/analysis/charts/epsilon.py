"""Score of the evaluated networks against the radius of the attack."""

import math
from dataclasses import dataclass

import plotly.graph_objects as go

from taskgroup.analysis.base import CHARTS, Chart
from taskgroup.analysis.charts.style import literal, new_figure, score_axis, score_format
from taskgroup.analysis.groups import STYLES, Group, group_of_row
from taskgroup.results.records import EvaluationRow
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.study import Study
from taskgroup.wording import attack_name, format_epsilon

MOST_NAMED = 8
"""With more curves than this, searched trials share a place in the legend."""


@dataclass(frozen=True)
class EpsilonCurve:
    """One network.

    Attributes:
        trial: Number of the trial.
        label: What a reader calls it.
        group: Its part in the study.
        epsilons: Radii, ascending, for pixels in [0, 1].
        scores: Test score at each radius.
        lows: Lower ends of the 95 % intervals over images.
        highs: Upper ends.
        is_bound: Whether a better attack would leave less than the scores.
    """

    trial: int
    label: str
    group: Group
    epsilons: tuple[float, ...]
    scores: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    is_bound: bool = False


@dataclass(frozen=True)
class EpsilonData:
    """The curves, and the attack behind them in words."""

    robust: StudyObjective
    attack: str = ""
    curves: tuple[EpsilonCurve, ...] = ()


def collect_epsilon(study: Study) -> EpsilonData:
    """The main task's score in each network's sweep, radius 0 included, the huge one left out."""
    score = study.robust.metric.rpartition("/")[2]
    rows = [
        row
        for row in study.evaluations
        if (row.task, row.split, row.condition) == (study.main_task, "test", "sweep")
        and row.score_name == score
    ]
    largest = _largest_drawn(rows)
    curves = tuple(
        _curve(study, [row for row in rows if _model(row) == model and row.epsilon <= largest])
        for model in dict.fromkeys(_model(row) for row in rows)
    )
    hardest = max(rows, key=lambda row: row.steps, default=None)
    attack = "" if hardest is None else attack_name(hardest.attack or "pgd", hardest.steps)
    return EpsilonData(study.robust, attack, curves)


def _model(row: EvaluationRow) -> tuple[int, str]:
    return row.trial, row.label


def _largest_drawn(rows: list[EvaluationRow]) -> float:
    """The largest radius that still belongs to the curve: the huge one only checks the attack."""
    radii = sorted({row.epsilon for row in rows})
    return radii[-2] if len(radii) > 3 else radii[-1] if radii else 0.0


def _curve(study: Study, rows: list[EvaluationRow]) -> EpsilonCurve:
    rows = sorted(rows, key=lambda row: row.epsilon)
    return EpsilonCurve(
        rows[0].trial,
        rows[0].label,
        group_of_row(rows[0], study.searched),
        tuple(row.epsilon for row in rows),
        tuple(row.score for row in rows),
        tuple(row.score if math.isnan(row.low) else row.low for row in rows),
        tuple(row.score if math.isnan(row.high) else row.high for row in rows),
        any(row.is_bound for row in rows),
    )


def draw_epsilon(data: EpsilonData) -> go.Figure:
    """A line with its band per network; many of one kind share a place in the legend."""
    figure = new_figure(height=440)
    order, named = list(STYLES), set[str]()
    for curve in sorted(data.curves, key=lambda c: (order.index(c.group), c.trial)):
        is_one_of_many = len(data.curves) > MOST_NAMED and curve.group == "searched"
        name = STYLES[curve.group].title if is_one_of_many else _name(curve)
        _add_curve(figure, data, curve, legend=name, is_named=name not in named)
        named.add(name)
    radii = sorted({radius for curve in data.curves for radius in curve.epsilons})
    figure.update_xaxes(
        title_text="ε, the radius of the attack (pixels in [0, 1])",
        tickvals=radii,
        ticktext=[format_epsilon(radius) for radius in radii],
    )
    figure.update_yaxes(**score_axis(data.robust))
    figure.update_yaxes(title_text="test " + data.robust.title.removeprefix("robust "))
    return figure


def _name(curve: EpsilonCurve) -> str:
    bound = ", only a bound" if curve.is_bound else ""
    return f"trial {curve.trial}: {literal(curve.label)}{bound}"


def _add_curve(
    figure: go.Figure, data: EpsilonData, curve: EpsilonCurve, *, legend: str, is_named: bool
) -> None:
    style, percent = STYLES[curve.group], score_format(data.robust)
    red, green, blue = (int(style.color[i : i + 2], 16) for i in (1, 3, 5))
    figure.add_scatter(
        x=(*curve.epsilons, *reversed(curve.epsilons)),
        y=(*curve.highs, *reversed(curve.lows)),
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.13)",
        mode="lines",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=legend,
    )
    figure.add_scatter(
        x=curve.epsilons,
        y=curve.scores,
        mode="lines+markers",
        line={"color": style.color, "width": 2, "dash": "dot" if curve.is_bound else "solid"},
        marker={"symbol": style.symbol, "size": 8, "color": style.color},
        name=legend,
        legendgroup=legend,
        showlegend=is_named,
        text=[format_epsilon(radius) for radius in curve.epsilons],
        hovertemplate=f"ε %{{text}}: %{{y:{percent}}}<extra>{_name(curve)}</extra>",
    )


@CHARTS.register("epsilon")
def epsilon_chart(study: Study) -> Chart:
    """Test score against the attack's radius, for the winner and the baselines."""
    data = collect_epsilon(study)
    if not data.curves:
        return Chart(
            "Score against radius", "Run taskgroup evaluate best to attack the networks.", None
        )
    return Chart(
        "Score against radius",
        f"The main task on the test split under {data.attack} at growing radius; the band is the "
        "bootstrap 95 % interval over images. Where a curve does not fall to the level of a "
        "constant prediction, the attack has failed, and the network need not be robust.",
        draw_epsilon(data),
    )
