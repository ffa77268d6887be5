"""Who is fooled by whose adversarial images: source by target."""

from dataclasses import dataclass

import plotly.graph_objects as go

from taskgroup.analysis.base import CHARTS, Chart
from taskgroup.analysis.charts.style import literal, new_figure
from taskgroup.study.study import Study
from taskgroup.wording import (
    condition_name,
    format_radius,
    format_score,
    is_share,
    score_name,
)

CAPTION = (
    "The model of the column on images that were attacked for the model of the row. The diagonal "
    "is the attack on the model itself; everything else says how well adversarial images transfer "
    "and is never part of a robustness score. Where the lowest score of a column is off the "
    "diagonal, the attack on the model itself has failed."
)


@dataclass(frozen=True)
class TransferData:
    """A matrix.

    Attributes:
        score: Name of the score.
        attack: The attack in words.
        sources: Models that images were attacked for, from top to bottom.
        targets: Models that were scored, from left to right.
        values: Scores, ``values[source][target]``; None where not measured.
    """

    score: str = ""
    attack: str = ""
    sources: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    values: tuple[tuple[float | None, ...], ...] = ()


def collect_transfer(study: Study) -> TransferData:
    """The latest transfer matrix of a study."""
    rows = study.transfers
    if not rows:
        return TransferData()
    sources = dict.fromkeys((row.source, row.source_label) for row in rows)
    targets = dict.fromkeys((row.target, row.target_label) for row in rows)
    known = {(row.source, row.target): row.score for row in rows}
    first = rows[0]
    return TransferData(
        score=first.score_name,
        attack=f"{condition_name(first.attack)}, ε {format_radius(first.norm, first.epsilon)}",
        sources=tuple(f"trial {number}: {label}" for number, label in sources),
        targets=tuple(f"trial {number}: {label}" for number, label in targets),
        values=tuple(
            tuple(known.get((source, target)) for target, _ in targets) for source, _ in sources
        ),
    )


def draw_transfer(data: TransferData) -> go.Figure:
    """A heat map with a number in every cell."""
    figure = new_figure(height=180 + 60 * len(data.sources))
    figure.add_heatmap(
        z=data.values,
        x=[literal(name) for name in data.targets],
        y=[literal(name) for name in data.sources],
        text=[[format_score(data.score, value) for value in row] for row in data.values],
        texttemplate="%{text}",
        colorscale="Blues",
        colorbar={
            "title": {"text": score_name(data.score)},
            "tickformat": ".0%" if is_share(data.score) else ".3g",
        },
        hovertemplate="attacked for %{y}<br>scored %{x}: %{text}<extra></extra>",
        xgap=2,
        ygap=2,
    )
    figure.update_xaxes(title_text="scored", showgrid=False)
    figure.update_yaxes(title_text="attacked for", autorange="reversed", showgrid=False)
    return figure


@CHARTS.register("transfer")
def transfer_chart(study: Study) -> Chart:
    """Source by target, as measured by the latest evaluation of several models."""
    data = collect_transfer(study)
    title = "Attacks made for another model"
    if not data.sources:
        return Chart(title, "Run taskgroup evaluate best to attack the networks.", None)
    return Chart(title, f"{CAPTION} {data.attack}.", draw_transfer(data))
