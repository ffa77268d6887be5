"""What a study optimises, and the values that its trials reached."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taskgroup.results.records import Direction, TrialResult
from taskgroup.wording import format_score, metric_parts, metric_title


@dataclass(frozen=True)
class StudyObjective:
    """One number that a study drives up or down.

    Attributes:
        metric: Name in the trial's records, such as ``segmentation/robust/miou``.
        direction: Whether more or less of it is wanted.
    """

    metric: str
    direction: Direction = "maximize"

    @property
    def title(self) -> str:
        """What a reader calls it, with its unit."""
        return metric_title(self.metric, self.direction)

    @property
    def score_name(self) -> str:
        """Name of the score alone, ``miou``."""
        return metric_parts(self.metric)[2]

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.direction == "maximize" else -1

    def value(self, trial: TrialResult) -> float:
        """The trial's last value as measured; NaN where it was never measured."""
        score = trial.score(self.metric)
        return float("nan") if score is None else float(score)

    def text(self, trial: TrialResult) -> str:
        """The trial's last value as a reader sees it."""
        return format_score(self.metric, trial.score(self.metric))

    def gain(self, trial: TrialResult) -> float:
        """The trial's value turned so that more is better; NaN where never measured."""
        return self.sign * self.value(trial)


def objective_gains(
    trials: Sequence[TrialResult], objectives: Sequence[StudyObjective]
) -> NDArray[np.float64]:
    """Values of all trials, turned so that more is better in every column.

    Args:
        trials: ``n`` trials.
        objectives: ``m`` objectives.

    Returns:
        Shape ``(n, m)``; NaN where a trial was not measured.
    """
    rows = [[objective.gain(trial) for objective in objectives] for trial in trials]
    return np.array(rows, dtype=np.float64).reshape(len(trials), len(objectives))
