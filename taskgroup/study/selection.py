"""Which trial a study ends with: one explicit rule, and what a winner may give up.

Configurations are compared, each by its mean over the seeds that it was trained with.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from taskgroup.results.records import Stage, TrialResult
from taskgroup.study.configurations import (
    configuration_of,
    configurations,
    mean_value,
    standing_trial,
)
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.seed_groups import SeedGroup
from taskgroup.wording import counted, format_difference, format_score


@dataclass(frozen=True)
class Limit:
    """How much of another score a trial may give up ("robust without losing accuracy").

    Attributes:
        objective: The score that must not fall too far, usually the clean main score.
        reference: Its value where nothing is given up, usually that of a baseline; a mean over
            seeds where that has several.
        max_drop: How much worse than the reference a trial may be, in the score's own unit.
        by_seed: The reference of each seed; a trial with another one is held to the mean.
    """

    objective: StudyObjective
    reference: float
    max_drop: float
    by_seed: Mapping[int, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What must hold, in words."""
        metric = self.objective.metric
        drop = format_difference(metric, self.max_drop)
        words = f"{metric} at most {drop} worse than {format_score(metric, self.reference)}"
        if len(self.by_seed) < 2:
            return words
        return f"{words}, the mean of {counted(len(self.by_seed), 'seed')}"

    def drop(self, *trials: TrialResult) -> float:
        """How much worse than the reference trials of one configuration are, on average.

        Where some have a seed of the reference's, they alone count, each against its own seed.

        Returns:
            Negative where better, NaN if unknown.
        """
        sign, paired = self.objective.sign, [t for t in trials if t.seed in self.by_seed]
        return fmean(
            sign * self.by_seed.get(trial.seed, self.reference) - self.objective.gain(trial)
            for trial in paired or trials
        )

    def excess(self, *trials: TrialResult) -> float:
        """How far trials of one configuration are beyond the limit; NaN if unknown."""
        return self.drop(*trials) - self.max_drop

    def allows(self, *trials: TrialResult) -> bool:
        """Whether a configuration stays within the limit; False where the score is missing."""
        return self.excess(*trials) <= 0


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
        What stands for the best feasible configuration, or None when there is none.
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
    """The trials that stand for the feasible configurations of one stage, from the best on.

    Args:
        trials: Trials whose scores may be compared: of one stage.
        objectives: What the study optimises; the first decides.
        limits: What a feasible trial may give up.
    """
    first = objectives[0]
    return [standing_trial(group, first) for group in _ranked(trials, objectives, limits)]


def rank_searched(
    trials: Iterable[TrialResult],
    objectives: Sequence[StudyObjective],
    *,
    limits: Sequence[Limit] = (),
) -> list[TrialResult]:
    """As ``rank_trials``, without the configurations that baselines have."""
    first = objectives[0]
    return [
        standing_trial(group, first)
        for group in _ranked(trials, objectives, limits)
        if all(trial.role == "searched" for trial in group.trials)
    ]


def _ranked(
    trials: Iterable[TrialResult], objectives: Sequence[StudyObjective], limits: Sequence[Limit]
) -> list[SeedGroup]:
    """The feasible configurations of one stage, from the best on."""
    first = objectives[0]
    groups = [(group, first.sign * mean_value(group, first)) for group in configurations(trials)]
    candidates = [
        (group, gain)
        for group, gain in groups
        if math.isfinite(gain) and all(limit.allows(*group.trials) for limit in limits)
    ]

    def place(candidate: tuple[SeedGroup, float]) -> tuple[float, int, int]:
        group, gain = candidate
        return -gain, len(group.trial.task_set), group.first_number

    return [group for group, _ in sorted(candidates, key=place)]


def selection_rule(
    objectives: Sequence[StudyObjective],
    *,
    limits: Sequence[Limit] = (),
    has_seeds: bool = False,
) -> str:
    """Word the rule of ``select_best`` for the records.

    Args:
        objectives: What the study optimises; the first decides.
        limits: What a feasible trial may give up.
        has_seeds: Whether some configuration has several seeds.

    Example:
        >>> selection_rule([StudyObjective("depth/robust/abs_rel", "minimize")])
        'complete trials; lowest depth/robust/abs_rel; ties: fewer tasks, then lower trial number'
    """
    first = objectives[0]
    best = "highest" if first.direction == "maximize" else "lowest"
    feasible = [limit.text for limit in limits]
    ties = "ties: fewer tasks, then lower trial number"
    trials = "complete trials, their scores averaged over seeds" if has_seeds else "complete trials"
    return "; ".join([trials, *feasible, f"{best} {first.metric}", ties])


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
    """The limit on the clean score that the finished natural baseline sets, with all its seeds.

    Args:
        trials: Trials of one stage: a reference of another cost would be no reference.
        objectives: What the study optimises.
        max_drop: How much worse than the baseline a trial may be, in the score's own unit.

    Returns:
        The limit, or None as long as the baseline is not complete with a finite score.
    """
    trials = tuple(trials)
    baseline = natural_baseline(trials)
    clean = clean_objective(objectives)
    if baseline is None or baseline.status != "complete":
        return None
    own = configuration_of(baseline, configurations(trials))
    by_seed = own.by_seed(lambda member: clean.value(member.trial))
    reference = mean_value(own, clean)
    return Limit(clean, reference, max_drop, by_seed) if math.isfinite(reference) else None


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
    """Complete trials of a stage whose configuration exceeds a limit, by number.

    Those that were cut short do not count.
    """
    beyond = [
        trial
        for group in configurations(trial for trial in trials if trial.stage == stage)
        if not all(limit.allows(*group.trials) for limit in limits)
        for trial in group.trials
    ]
    return sorted(beyond, key=lambda trial: trial.number)
