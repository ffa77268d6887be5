"""Which part a trial plays in a study; every chart and table shows the parts alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from taskgroup.results.records import TrialResult

Group = Literal["best", "natural", "adversarial", "several", "searched", "unfinished", "other"]


@dataclass(frozen=True)
class Look:
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


LOOKS: dict[Group, Look] = {
    "unfinished": Look("stopped early", "#8fb8d6", "circle-open", 8),
    "searched": Look("searched", "#0072b2", "circle", 9),
    "several": Look("baseline with auxiliary tasks", "#009e73", "triangle-up", 12),
    "natural": Look("main task alone, natural", "#8a8a8a", "diamond", 11),
    "adversarial": Look("main task alone, adversarial", "#1a1a1a", "square", 10),
    "other": Look("other", "#cc79a7", "x", 9),
    "best": Look("best", "#d55e00", "star", 17),
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


class Judged(Protocol):
    """A record of something that was measured on a trained model."""

    @property
    def trial(self) -> int:
        """Number of its trial."""

    @property
    def role(self) -> str:
        """Its part in the run."""


def group_of_row(row: Judged, trials: Sequence[TrialResult]) -> Group:
    """The part of an evaluated model, by its own trial's record."""
    if row.role == "winner":
        return "best"
    for trial in trials:
        if trial.number == row.trial:
            return group_of(trial, None)
    return "other"
