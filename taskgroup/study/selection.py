"""Which trial a study ends with: one explicit rule, written beside its result."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from taskgroup.results.records import TrialResult
from taskgroup.study.objectives import StudyObjective
from taskgroup.wording import format_difference, format_score


@dataclass(frozen=True)
class Limit:
    """How much of another score a trial may give up ("robust without losing accuracy").

    Attributes:
        objective: The score that must not fall too far, usually the clean main score.
        reference: Its value where nothing is given up, usually that of a baseline.
        max_drop: How much worse than the reference a trial may be, in the score's own unit.
    """

    objective: StudyObjective
    reference: float
    max_drop: float

    @property
    def text(self) -> str:
        """What must hold, in words."""
        metric = self.objective.metric
        drop = format_difference(metric, self.max_drop)
        return f"{metric} at most {drop} worse than {format_score(metric, self.reference)}"

    def drop(self, trial: TrialResult) -> float:
        """How much worse than the reference a trial is; negative where better, NaN if unknown."""
        return self.objective.sign * self.reference - self.objective.gain(trial)

    def excess(self, trial: TrialResult) -> float:
        """How far a trial is beyond the limit; 0 or less is within, NaN if unknown."""
        return self.drop(trial) - self.max_drop

    def allows(self, trial: TrialResult) -> bool:
        """Whether the trial stays within the limit; False where the score is missing."""
        return self.excess(trial) <= 0


def select_best(
    trials: Iterable[TrialResult],
    objectives: Sequence[StudyObjective],
    *,
    limits: Sequence[Limit] = (),
) -> TrialResult | None:
    """Choose the trial that stands for a study, by the rule that ``selection_rule`` words.

    Args:
        trials: All trials of the study; only complete ones of the search itself with a finite
            first objective count, baselines included. Stand-ins of a proxy stage and trials of
            the confirm stage never win.
        objectives: What the study optimises; the first decides.
        limits: What a feasible trial may give up.

    Returns:
        The best feasible trial, or None when there is none.
    """
    searched = (trial for trial in trials if trial.stage == "search")
    ranked = rank_trials(searched, objectives, limits=limits)
    return ranked[0] if ranked else None


def rank_trials(
    trials: Iterable[TrialResult],
    objectives: Sequence[StudyObjective],
    *,
    limits: Sequence[Limit] = (),
) -> list[TrialResult]:
    """Order the feasible trials of one stage from the best on, by the rule of ``select_best``.

    Args:
        trials: Trials whose scores may be compared: of one stage.
        objectives: What the study optimises; the first decides.
        limits: What a feasible trial may give up.
    """
    first = objectives[0]
    candidates = [
        trial
        for trial in trials
        if trial.status == "complete"
        and math.isfinite(first.gain(trial))
        and all(limit.allows(trial) for limit in limits)
    ]
    return sorted(
        candidates, key=lambda trial: (-first.gain(trial), len(trial.task_set), trial.number)
    )


def selection_rule(objectives: Sequence[StudyObjective], *, limits: Sequence[Limit] = ()) -> str:
    """Word the rule of ``select_best`` for the records.

    Example:
        >>> selection_rule([StudyObjective("depth/robust/abs_rel", "minimize")])
        'complete trials; lowest depth/robust/abs_rel; ties: fewer tasks, then lower trial number'
    """
    first = objectives[0]
    best = "highest" if first.direction == "maximize" else "lowest"
    feasible = [limit.text for limit in limits]
    ties = "ties: fewer tasks, then lower trial number"
    return "; ".join(["complete trials", *feasible, f"{best} {first.metric}", ties])
