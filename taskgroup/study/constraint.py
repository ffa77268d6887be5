"""The constraint of a study: what robustness may cost the main task's clean score."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from taskgroup.config import parse_number
from taskgroup.results.records import Stage, TrialResult
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.selection import Limit


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


def max_clean_drop(space: Mapping[str, Any]) -> float | None:
    """``constraint.clean_drop`` of a space read as plain data; None without a constraint.

    Example:
        >>> max_clean_drop({"constraint": {"clean_drop": "1/50"}}), max_clean_drop({})
        (0.02, None)
    """
    section = space.get("constraint")
    value = parse_number(section.get("clean_drop")) if isinstance(section, Mapping) else None
    return float(value) if isinstance(value, int | float) else None


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
    """Complete trials of a stage that exceed a limit; those cut short are not judged."""
    return [
        trial
        for trial in trials
        if trial.stage == stage
        and trial.status == "complete"
        and not all(limit.allows(trial) for limit in limits)
    ]
