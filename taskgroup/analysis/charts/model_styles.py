"""How models that are laid over each other in one chart are told apart."""

from collections.abc import Sequence
from dataclasses import dataclass

from taskgroup.analysis.charts.groups import LOOKS, Group, Judged, group_of_row
from taskgroup.results.records import TrialResult

SPARE = (
    ("#0072b2", "circle"),
    ("#cc79a7", "x"),
    ("#009e73", "triangle-up"),
    ("#e69f00", "pentagon"),
    ("#56b4e9", "diamond"),
    ("#1a1a1a", "square"),
)
"""Colours and markers for models whose group has already given its own away."""


@dataclass(frozen=True)
class ModelLook:
    """One model in a chart.

    Attributes:
        name: What the legend says.
        group: Its part in the study.
        color: Colour of its lines.
        symbol: Its plotly marker.
    """

    name: str
    group: Group
    color: str
    symbol: str

    def shade(self, opacity: float) -> str:
        """Its colour, see-through."""
        red, green, blue = (int(self.color[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({red},{green},{blue},{opacity})"


Model = tuple[int, str]
"""Number and label of a trial."""


def model_looks(
    rows: Sequence[tuple[Judged, str]], trials: Sequence[TrialResult]
) -> dict[Model, ModelLook]:
    """A look for each model, in drawing order; no two alike while there are spare ones.

    Args:
        rows: Records with the labels of their models.
        trials: Trials that say which part each model plays; may be empty.
    """
    groups: dict[Model, Group] = {}
    for row, label in rows:
        groups.setdefault((row.trial, label), group_of_row(row, trials))
    order = list(LOOKS)
    ranked = sorted(groups, key=lambda model: (order.index(groups[model]), model))
    looks: dict[Model, ModelLook] = {}
    for model in ranked:
        own = LOOKS[groups[model]]
        used = {look.color for look in looks.values()}
        spare = (pair for pair in SPARE if pair[0] not in used)
        color, symbol = own.color, own.symbol
        if color in used:
            color, symbol = next(spare, (color, symbol))
        looks[model] = ModelLook(_name(model), groups[model], color, symbol)
    return looks


def _name(model: Model) -> str:
    number, label = model
    return label if number < 0 else f"trial {number}: {label}"
