"""What every chart shares: the shape it returns and the registry it stands in."""

from collections.abc import Callable
from dataclasses import dataclass

import plotly.graph_objects as go

from taskgroup.registry import Registry
from taskgroup.study.study import Study


@dataclass(frozen=True)
class Chart:
    """A figure and the words around it.

    Attributes:
        title: Heading, a few words.
        caption: What the reader sees and how to read it; what to run where there is no figure.
        figure: The figure, or None while there is nothing to draw.
    """

    title: str
    caption: str
    figure: go.Figure | None


CHARTS = Registry[Callable[[Study], Chart]]("chart")
