"""How figures look: one template, axes that know their objective, markers by group."""

import html
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from taskgroup.analysis.groups import STYLES, Group
from taskgroup.study.objectives import StudyObjective
from taskgroup.wording import is_share

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
INK = "#24292f"
SOFT = "#57606a"
GRID = "#e6e8eb"

_AXIS = {
    "gridcolor": GRID,
    "zeroline": False,
    "linecolor": "#b6bcc3",
    "showline": True,
    "ticks": "outside",
    "ticklen": 4,
    "tickcolor": "#b6bcc3",
    "tickfont": {"color": SOFT, "size": 12},
    "title": {"font": {"color": INK, "size": 13}, "standoff": 10},
    "automargin": True,
}

TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "margin": {"l": 60, "r": 44, "t": 72, "b": 52},
        "modebar": {"orientation": "v", "bgcolor": "rgba(0, 0, 0, 0)", "color": "#b6bcc3"},
        "hoverlabel": {"font": {"family": FONT, "size": 12}, "align": "left"},
        "legend": {
            "orientation": "h",
            "yanchor": "bottom",
            "y": 1.02,
            "xanchor": "left",
            "x": 0,
            "font": {"size": 12, "color": INK},
        },
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    }
)


def new_figure(figure: go.Figure | None = None, *, height: int = 440) -> go.Figure:
    """Put a new or given figure into our style."""
    figure = go.Figure() if figure is None else figure
    figure.update_layout(template=TEMPLATE, height=height)
    return figure


def score_axis(objective: StudyObjective, *, title: bool = True) -> dict[str, Any]:
    """Axis options for values of an objective; more is better always points up or right."""
    score = objective.score_name
    axis: dict[str, Any] = {"title": {"text": objective.title if title else ""}}
    if is_share(score):
        axis["tickformat"] = ".1~%"
    if objective.direction == "minimize":
        axis["autorange"] = "reversed"
    return axis


def score_format(objective: StudyObjective) -> str:
    """The number format of an objective's values in hover texts."""
    return ".1%" if is_share(objective.score_name) else ".3g"


def marker(group: Group) -> dict[str, Any]:
    """Marker options of a group."""
    style = STYLES[group]
    return {
        "color": style.color,
        "symbol": style.symbol,
        "size": style.size,
        "line": {"width": 1, "color": style.color if "open" in style.symbol else "#ffffff"},
    }


def present(groups: Sequence[Group]) -> list[Group]:
    """The groups that occur, in drawing order."""
    return [group for group in STYLES if group in groups]


def rank(group: Group) -> int:
    """Place of a group in every legend."""
    return 1000 + list(STYLES).index(group)


def add_note(figure: go.Figure, text: str) -> go.Figure:
    """Say in the middle of an empty figure why it is empty."""
    figure.add_annotation(
        text=text, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper", font={"color": SOFT}
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure


def literal(text: str) -> str:
    """A name as plotly must get it: shown as written, never read as markup."""
    return html.escape(text, quote=False)
