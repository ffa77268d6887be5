"""Configurations of one study, whose trials differ in their seed alone: seeds are no settings.

Where a space searches seeds, what is compared is a configuration: its mean over its complete seeds,
and differences of it paired by seed. Where every trial has the same seed, a trial is one.
"""

from collections.abc import Iterable, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from taskgroup.results.records import TrialResult
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.seed_groups import Scored, SeedGroup, seed_groups


def configurations(trials: Iterable[TrialResult]) -> tuple[SeedGroup, ...]:
    """The configurations of complete trials of one stage, in the order in which they first occur.

    Of two trials with one configuration and one seed the first counts, where there are several
    seeds.
    """
    scored = [Scored(trial) for trial in trials if trial.status == "complete"]
    if len({member.trial.seed for member in scored}) < 2:
        return tuple(SeedGroup((member,)) for member in scored)
    return seed_groups(scored)


def configuration_of(trial: TrialResult, groups: Iterable[SeedGroup]) -> SeedGroup:
    """The configuration that a trial counts for; itself alone where it counts for none."""
    numbered = (g for g in groups if any(own.number == trial.number for own in g.trials))
    return next(numbered, SeedGroup((Scored(trial),)))


def mean_value(group: SeedGroup, objective: StudyObjective) -> float:
    """Mean over the seeds, as measured; NaN where no seed was."""
    values = [objective.value(trial) for trial in group.trials]
    known = [value for value in values if value == value]
    return fmean(known) if known else float("nan")


def mean_gains(
    groups: Sequence[SeedGroup], objectives: Sequence[StudyObjective]
) -> NDArray[np.float64]:
    """Means over seeds, turned so that more is better in every column.

    Args:
        groups: ``n`` configurations.
        objectives: ``m`` objectives.

    Returns:
        Shape ``(n, m)``; NaN where no seed was measured.
    """
    rows = [[o.sign * mean_value(group, o) for o in objectives] for group in groups]
    return np.array(rows, dtype=np.float64).reshape(len(groups), len(objectives))


def seed_differences(
    group: SeedGroup, other: SeedGroup, objective: StudyObjective
) -> dict[int, float]:
    """By how much a score is above another configuration's, by seed that both have."""
    ours, theirs = (
        side.by_seed(lambda member: objective.value(member.trial)) for side in (group, other)
    )
    return {seed: ours[seed] - theirs[seed] for seed in ours if seed in theirs}


def difference(group: SeedGroup, other: SeedGroup, objective: StudyObjective) -> float:
    """By how much a score is above another configuration's, as measured.

    It is the mean over the seeds that both have, else the difference of the two means.
    """
    paired = seed_differences(group, other, objective)
    if paired:
        return fmean(paired.values())
    return mean_value(group, objective) - mean_value(other, objective)


def standing_trial(group: SeedGroup, objective: StudyObjective) -> TrialResult:
    """The trial that stands for all seeds, with its checkpoint.

    That is the baseline among them, which is checked and evaluated in any case, else the trial with
    the median score: the worse one of two, of equal ones that with the lower number.
    """
    for trial in group.trials:
        if trial.role == "baseline":
            return trial
    ordered = sorted(group.trials, key=lambda trial: (objective.gain(trial), trial.number))
    return ordered[(len(ordered) - 1) // 2]
