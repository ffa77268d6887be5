"""What a study optimises and what its winner may give up: the keys of a space, and their values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, model_validator

from taskgroup.config import Config, Fraction255, parse
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


class ObjectiveConfig(Config):
    """One entry of ``objectives:``, {maximize: metric} or {minimize: metric}."""

    maximize: str | None = None
    """Metric of which more is better, such as segmentation/robust/miou."""
    minimize: str | None = None
    """Metric of which less is better, such as depth/robust/abs_rel."""

    @model_validator(mode="after")
    def _check_metric(self) -> Self:
        if (self.maximize is None) == (self.minimize is None):
            raise ValueError("an objective must be {maximize: metric} or {minimize: metric}")
        metric = self.objective.metric
        if metric_parts(metric)[1] not in ("clean", "robust"):
            raise ValueError(
                "a metric must be <task>/<clean or robust>/<score>, such as "
                f"segmentation/robust/miou, got {metric!r}"
            )
        return self

    @property
    def objective(self) -> StudyObjective:
        """What it asks for."""
        if self.maximize is not None:
            return StudyObjective(self.maximize)
        return StudyObjective(self.minimize or "", "minimize")


class ConstraintConfig(Config):
    """The ``constraint:`` section: what robustness may cost."""

    clean_drop: Annotated[Fraction255, Field(ge=0)]
    """How much worse than that of the natural single-task baseline the main task's clean score may
    be, in the score's own unit: 0.02 is two points of mIoU. Trials beyond it never win."""


Objectives = Annotated[tuple[ObjectiveConfig, ...], Field(min_length=1, max_length=3)]
"""The ``objectives:`` of a space."""


class StudyKeys(Config):
    """The keys of a space by which trials are compared; it may hold any others."""

    model_config = ConfigDict(extra="ignore")

    main_task: str
    """The task to protect."""
    objectives: Objectives
    """What is optimised; the first one decides the winner."""
    constraint: ConstraintConfig | None = None
    """What a winner may give up."""

    @property
    def max_clean_drop(self) -> float | None:
        """How much of the clean score a winner may give up; None without a constraint."""
        return None if self.constraint is None else self.constraint.clean_drop


def study_keys(space: Mapping[str, Any], *, source: str) -> StudyKeys:
    """Read the keys by which a study compares its trials.

    Args:
        space: The space as plain data.
        source: Where it comes from, put before a message.

    Raises:
        ConfigError: A key is missing or wrong; one line names it.
    """
    return parse(StudyKeys, space, source=source)
