"""Which part a trial plays in a study, and the marker that every chart and table gives it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from taskgroup.results.records import TrialResult

Group = Literal["best", "natural", "adversarial", "several", "searched", "unfinished", "other"]


@dataclass(frozen=True)
class MarkerStyle:
    """How a group is shown.

    Attributes:
        title: What the legend says.
        color: Its colour, from Okabe and Ito's colour-blind safe palette.
        symbol: Its plotly marker, so that shape alone tells groups apart.
        size: Size of the marker in pixels.
    """

    title: str
    color: str
    symbol: str
    size: int


STYLES: dict[Group, MarkerStyle] = {
    "unfinished": MarkerStyle("stopped early", "#8fb8d6", "circle-open", 8),
    "searched": MarkerStyle("searched", "#0072b2", "circle", 9),
    "several": MarkerStyle("baseline with auxiliary tasks", "#009e73", "triangle-up", 12),
    "natural": MarkerStyle("main task alone, natural", "#8a8a8a", "diamond", 11),
    "adversarial": MarkerStyle("main task alone, adversarial", "#1a1a1a", "square", 10),
    "other": MarkerStyle("other", "#cc79a7", "x", 9),
    "best": MarkerStyle("best", "#d55e00", "star", 17),
}
"""In drawing order: what matters most comes last and lies on top."""


def group_of(trial: TrialResult, best: TrialResult | None) -> Group:
    """The part of a trial; the best trial is ``best`` even where it is a baseline."""
    if best is not None and trial.number == best.number:
        return "best"
    if trial.status != "complete":
        return "unfinished"
    if trial.role != "baseline":
        return "searched"
    if trial.auxiliary_tasks:
        return "several"
    return "adversarial" if trial.is_adversarial else "natural"


class EvaluatedRow(Protocol):
    """A record of something that was measured on a trained model."""

    @property
    def trial(self) -> int:
        """Number of its trial."""

    @property
    def role(self) -> str:
        """Its part in the run."""


def group_of_row(row: EvaluatedRow, trials: Sequence[TrialResult]) -> Group:
    """The part of an evaluated model, by its own trial's record."""
    if row.role == "winner":
        return "best"
    for trial in trials:
        if trial.number == row.trial:
            return group_of(trial, None)
    return "other"


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
class ModelStyle:
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


def model_styles(
    rows: Sequence[tuple[EvaluatedRow, str]], trials: Sequence[TrialResult]
) -> dict[Model, ModelStyle]:
    """A style for each model, in drawing order; no two alike while there are spare ones.

    Args:
        rows: Records with the labels of their models.
        trials: Trials that say which part each model plays; may be empty.
    """
    groups: dict[Model, Group] = {}
    for row, label in rows:
        groups.setdefault((row.trial, label), group_of_row(row, trials))
    order = list(STYLES)
    ranked = sorted(groups, key=lambda model: (order.index(groups[model]), model))
    styles: dict[Model, ModelStyle] = {}
    for model in ranked:
        own = STYLES[groups[model]]
        used = {style.color for style in styles.values()}
        spare = (pair for pair in SPARE if pair[0] not in used)
        color, symbol = own.color, own.symbol
        if color in used:
            color, symbol = next(spare, (color, symbol))
        styles[model] = ModelStyle(_name(model), groups[model], color, symbol)
    return styles


def _name(model: Model) -> str:
    number, label = model
    return label if number < 0 else f"trial {number}: {label}"
