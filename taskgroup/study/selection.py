"""Which trial a study ends with: one explicit rule, and what a winner may give up."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from taskgroup.results.records import Stage, TrialResult
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


def clean_objective(objectives: Sequence[StudyObjective]) -> StudyObjective:
    """The clean score that a constraint limits: a clean objective, else the first one's like.

    Example:
        >>> clean_objective([StudyObjective("segmentation/robust/miou")]).metric
        'segmentation/clean/miou'
    """
    for objective in objectives:
        if "/clean/" in objective.metric:
            return objective
    first = objectives[0]
    return replace(first, metric=first.metric.replace("/robust/", "/clean/"))


def natural_baseline(trials: Iterable[TrialResult]) -> TrialResult | None:
    """The main task alone, trained without attacks, among the trials of one stage."""
    return next((trial for trial in trials if is_natural_baseline(trial)), None)


def is_natural_baseline(trial: TrialResult) -> bool:
    """Whether a trial is the baseline that trains the main task alone without attacks."""
    return trial.role == "baseline" and not trial.auxiliary_tasks and not trial.is_adversarial


def clean_limit(
    trials: Iterable[TrialResult], objectives: Sequence[StudyObjective], max_drop: float
) -> Limit | None:
    """The limit on the clean score that the finished natural baseline sets.

    Args:
        trials: Trials of one stage: a reference of another cost would be no reference.
        objectives: What the study optimises.
        max_drop: How much worse than the baseline a trial may be, in the score's own unit.

    Returns:
        The limit, or None as long as the baseline is not complete with a finite score.
    """
    baseline = natural_baseline(trials)
    clean = clean_objective(objectives)
    if baseline is None or baseline.status != "complete":
        return None
    reference = clean.value(baseline)
    return Limit(clean, reference, max_drop) if abs(reference) < float("inf") else None


def study_limits(
    trials: Iterable[TrialResult],
    objectives: Sequence[StudyObjective],
    max_drop: float | None,
    *,
    stage: Stage = "search",
) -> tuple[Limit, ...]:
    """The limits for ``select_best``; none without a constraint or before its baseline is done.

    Args:
        trials: All trials of a study.
        objectives: What it optimises.
        max_drop: ``constraint.clean_drop`` of its space, or None.
        stage: Whose trials are compared.
    """
    if max_drop is None:
        return ()
    own = [trial for trial in trials if trial.stage == stage]
    limit = clean_limit(own, objectives, max_drop)
    return () if limit is None else (limit,)


def infeasible_trials(
    trials: Iterable[TrialResult], limits: Sequence[Limit], *, stage: Stage = "search"
) -> list[TrialResult]:
    """Complete trials of a stage that exceed a limit; those that were cut short do not count."""
    return [
        trial
        for trial in trials
        if trial.stage == stage
        and trial.status == "complete"
        and not all(limit.allows(trial) for limit in limits)
    ]
