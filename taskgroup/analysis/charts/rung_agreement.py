"""From which epoch on the order of trials is the final one: whether rungs may be trusted."""

import math
from dataclasses import dataclass

import plotly.graph_objects as go

from taskgroup.analysis.base import CHARTS, Chart
from taskgroup.analysis.charts.style import GRID, INK, SOFT, new_figure
from taskgroup.study.agreement import (
    LEAST_TRIALS,
    LOW,
    RungAgreement,
    full_length_trials,
    measured_epochs,
    rung_agreements,
)
from taskgroup.study.study import Study
from taskgroup.wording import format_decimals

_DASHES = ("solid", "dash", "dot")


@dataclass(frozen=True)
class RungAgreementData:
    """Rank correlations with the final order, by objective and epoch.

    Attributes:
        lines: Title of an objective and its agreements at rising epochs.
    """

    lines: tuple[tuple[str, tuple[RungAgreement, ...]], ...] = ()


def collect_rung_agreement(study: Study) -> RungAgreementData:
    """Agreement at every epoch that measured the objectives, over full-length trials."""
    epochs = measured_epochs(full_length_trials(study.searched), study.objectives)
    found = rung_agreements(study.searched, study.objectives, epochs)
    known = [agreement for agreement in found if math.isfinite(agreement.spearman.value)]
    lines = [
        (objective.title, tuple(a for a in known if a.metric == objective.metric))
        for objective in study.objectives
    ]
    return RungAgreementData(tuple((title, line) for title, line in lines if line))


def draw_rung_agreement(data: RungAgreementData) -> go.Figure:
    """A line per objective with the interval of each correlation."""
    figure = new_figure(height=360)
    figure.add_hline(y=LOW, line={"color": GRID, "width": 2})
    for (title, line), dash in zip(data.lines, _DASHES, strict=False):
        figure.add_scatter(
            x=[found.epoch for found in line],
            y=[found.spearman.value for found in line],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [_reach(found.spearman.high, found) for found in line],
                "arrayminus": [_reach(found.spearman.low, found) for found in line],
                "color": SOFT,
                "thickness": 1,
            },
            mode="lines+markers",
            line={"color": INK, "width": 1.5, "dash": dash},
            name=title,
            text=[_hover(found) for found in line],
            hovertemplate="epoch %{x}: %{text}<extra></extra>",
        )
    figure.update_xaxes(title_text="epoch", dtick=1 if _last_epoch(data) <= 15 else None)
    figure.update_yaxes(title_text="rank correlation with the end", range=[-1.05, 1.05])
    return figure


def _hover(found: RungAgreement) -> str:
    """Both correlations as the terminal writes them."""
    spearman, kendall = (format_decimals(x) for x in (found.spearman.value, found.kendall))
    return f"Spearman {spearman}, Kendall {kendall}, {found.trials} trials"


def _reach(end: float, found: RungAgreement) -> float:
    """Length of an interval's arm; 0 where too few trials give none."""
    return 0.0 if math.isnan(end) else abs(end - found.spearman.value)


def _last_epoch(data: RungAgreementData) -> int:
    return max((found.epoch for _, line in data.lines for found in line), default=0)


@CHARTS.register("rung_agreement")
def rung_agreement_chart(study: Study) -> Chart:
    """Rank correlation between early and final values, by epoch."""
    data = collect_rung_agreement(study)
    trials = max((found.trials for _, line in data.lines for found in line), default=0)
    caption = (
        f"Spearman's rank correlation between the scores after an epoch and the final ones, over "
        f"{trials} trials of full length, with 95 % intervals. A rung below {LOW:g} stops trials "
        "nearly at random: keep search.grace_epochs to the right of it."
        if data.lines
        else f"Needs {LEAST_TRIALS} trials of full length that were scored before their last epoch."
    )
    if data.lines and study.final_spread is not None:
        caption += f" For comparison, {study.final_spread.text}."
    return Chart(
        "How early the final order shows",
        caption,
        draw_rung_agreement(data) if data.lines else None,
    )
