"""Whether early values of trials foretell their final order: what every rung relies on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kendalltau

from taskgroup.results.records import Stage, TrialResult
from taskgroup.study.halving import rung_values
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.rank_correlation import RankCorrelation, spearman
from taskgroup.wording import format_decimals

LEAST_TRIALS = 4
"""Full-length trials below which a rank correlation is not worth a word."""
LOW = 0.5
"""Rank correlation below which a rung stops trials nearly at random."""


@dataclass(frozen=True)
class RungAgreement:
    """How well the order at an epoch foretells the final one.

    Attributes:
        epoch: Epoch of the rung.
        metric: What was compared.
        spearman: Rank correlation of the values there with the final ones.
        kendall: Kendall's tau-b of the same pairs; NaN where one side is all equal.
    """

    epoch: int
    metric: str
    spearman: RankCorrelation
    kendall: float

    @property
    def trials(self) -> int:
        """Full-length trials that were compared."""
        return self.spearman.pairs

    @property
    def is_low(self) -> bool:
        """Whether the order at this epoch says little about the end."""
        return self.spearman.value < LOW


def rung_agreements(
    trials: Iterable[TrialResult],
    objectives: Sequence[StudyObjective],
    epochs: Sequence[int],
    *,
    stage: Stage = "search",
) -> tuple[RungAgreement, ...]:
    """Rank correlations between values at some epochs and final values, over full-length trials.

    Pruned trials have no final value, so with a stopping scheduler the survivors stand for all;
    baselines, which run in full whatever their values, make up for some of that. A baseline that
    trains naturally where searched trials do not, or the reverse, is left out: it would be another
    population.

    Args:
        trials: All trials of a run.
        objectives: What is compared.
        epochs: Rungs, or any epochs before the last.
        stage: Whose trials are compared.

    Returns:
        By epoch and objective; those with fewer than ``LEAST_TRIALS`` trials are left out.
    """
    full = full_length_trials(trials, stage=stage)
    found = [_agreement(full, objective, epoch) for epoch in epochs for objective in objectives]
    return tuple(agreement for agreement in found if agreement.trials >= LEAST_TRIALS)


def full_length_trials(
    trials: Iterable[TrialResult], *, stage: Stage = "search"
) -> list[TrialResult]:
    """Complete trials of a stage that train as searched ones do: all natural, or all attacked."""
    complete = [trial for trial in trials if trial.status == "complete" and trial.stage == stage]
    kinds = {trial.is_adversarial for trial in complete if trial.role == "searched"}
    return [trial for trial in complete if not kinds or trial.is_adversarial in kinds]


def measured_epochs(
    trials: Iterable[TrialResult], objectives: Sequence[StudyObjective]
) -> tuple[int, ...]:
    """Epochs before the last at which some trial measured every objective, rising."""
    names = [objective.metric for objective in objectives]
    return tuple(
        sorted(
            {
                row.epoch
                for trial in trials
                for row in trial.epochs
                if row.epoch < trial.planned_epochs and all(name in row.metrics for name in names)
            }
        )
    )


def _agreement(
    trials: Sequence[TrialResult], objective: StudyObjective, epoch: int
) -> RungAgreement:
    early = [(rung_values(trial, [objective], epoch) or (np.nan,))[0] for trial in trials]
    final = [objective.value(trial) for trial in trials]
    return RungAgreement(epoch, objective.metric, spearman(early, final), kendall(early, final))


def kendall(first: ArrayLike, second: ArrayLike) -> float:
    """Kendall's tau-b of pairs: agreeing pairs of pairs minus disagreeing ones, ties allowed for.

    Args:
        first: Values ``(n,)``.
        second: Values of the same things, ``(n,)``; a pair with a NaN is left out.

    Example:
        >>> round(kendall([1, 2, 3], [10, 30, 20]), 3)
        0.333
    """
    sides = np.stack([np.asarray(side, dtype=np.float64).ravel() for side in (first, second)])
    sides = sides[:, ~np.isnan(sides).any(axis=0)]
    if sides.shape[1] < 2 or np.any(np.ptp(sides, axis=1) == 0):
        return float("nan")
    return float(kendalltau(sides[0], sides[1]).statistic)


def agreement_line(found: RungAgreement) -> str:
    """One line about a rung, with a warning where it says little about the end.

    Example:
        >>> low = RankCorrelation(0.2, float("nan"), float("nan"), 4)
        >>> agreement_line(RungAgreement(2, "segmentation/robust/miou", low, 0.0))
        'rung of epoch 2, segmentation/robust/miou: Spearman 0.20, Kendall 0.00 over 4 trials (low)'
    """
    words = f"rung of epoch {found.epoch}, {found.metric}: {found.spearman.text}, "
    words += f"Kendall {format_decimals(found.kendall)} over {found.trials} trials"
    return f"{words} (low)" if found.is_low else words
