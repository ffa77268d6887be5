"""Whether two measurements put the same trials into the same order.

Rungs rely on early values that predict the final order, a proxy stage on a cheap stand-in that
ranks like the real setting.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kendalltau, norm, rankdata

from taskgroup.results.records import Stage, TrialResult
from taskgroup.study.halving import rung_values
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.seed_means import ASSUMED_IMAGES, chance_gap
from taskgroup.wording import counted, format_decimals, format_difference, interval

LEAST_PAIRS = 5
"""Pairs below which an interval says nothing."""


class RankCorrelation(NamedTuple):
    """Spearman's rank correlation.

    Attributes:
        value: Between -1 and 1; NaN where one side has fewer than two different values.
        low: Lower end of its interval; NaN below ``LEAST_PAIRS`` pairs.
        high: Upper end.
        pairs: Pairs that were measured on both sides.
    """

    value: float
    low: float
    high: float
    pairs: int

    @property
    def text(self) -> str:
        """The correlation in words, with its interval where there is one.

        Example:
            >>> RankCorrelation(0.9, 0.31, 0.99, 6).text.split(" (")[0]
            'Spearman 0.90'
        """
        value = f"Spearman {format_decimals(self.value)}"
        if self.low != self.low:
            return value
        ends = interval(format_decimals(self.low), format_decimals(self.high))
        return f"{value} (95 % interval {ends})"


def spearman(first: ArrayLike, second: ArrayLike, *, level: float = 0.95) -> RankCorrelation:
    """Spearman's rank correlation of pairs; equal values share their mean rank.

    The interval is Fisher's, on the scale of artanh, with the standard error of Bonett and Wright,
    "Sample size requirements for estimating Pearson, Kendall and Spearman correlations" (2000):
    sqrt((1 + r^2 / 2) / (n - 3)).

    Args:
        first: Values ``(n,)``.
        second: Values of the same things, ``(n,)``; a pair with a NaN is left out.
        level: Confidence of the interval.

    Example:
        >>> spearman([1, 2, 3], [10, 30, 20])
        RankCorrelation(value=0.5, low=nan, high=nan, pairs=3)
    """
    sides = np.stack([np.asarray(side, dtype=np.float64).ravel() for side in (first, second)])
    sides = sides[:, ~np.isnan(sides).any(axis=0)]
    count = sides.shape[1]
    if count < 2 or np.any(np.ptp(sides, axis=1) == 0):
        return RankCorrelation(float("nan"), float("nan"), float("nan"), count)
    ranks = rankdata(sides, axis=1)
    value = float(np.clip(np.corrcoef(ranks[0], ranks[1])[0][1], -1, 1))
    if count < LEAST_PAIRS:
        return RankCorrelation(value, float("nan"), float("nan"), count)
    reach = norm.ppf((1 + level) / 2) * np.sqrt((1 + value**2 / 2) / (count - 3))
    centre = np.arctanh(np.clip(value, -1 + 1e-12, 1 - 1e-12))
    low, high = np.tanh([centre - reach, centre + reach])
    return RankCorrelation(value, float(low), float(high), count)


LEAST_TRIALS = 4
"""Full-length trials below which a rank correlation is not worth a word."""
LOW = 0.5
"""Rank correlation below which a rung stops trials nearly at random."""


ENOUGH_TRIALS = 8
"""Complete searched trials after which a rung that ranks at random stops nobody any more."""
RANDOM = 0.3
"""Rank correlation below which it does."""


@dataclass(frozen=True)
class RungAgreement:
    """How well the order at an epoch predicts the final one.

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

    Pruned trials have no final value, so with a stopping scheduler only the survivors count;
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


def random_rungs(
    trials: Iterable[TrialResult],
    objectives: Sequence[StudyObjective],
    epochs: Sequence[int],
    *,
    stage: Stage = "search",
) -> tuple[int, ...]:
    """Rungs whose order says so little about the end that nobody is stopped there any more.

    Those where, over at least ``ENOUGH_TRIALS`` complete searched trials, no objective has a rank
    correlation of ``RANDOM`` or more with its final values.

    Args:
        trials: All trials of a run.
        objectives: What is compared.
        epochs: Rungs.
        stage: Whose trials are compared.
    """
    searched = [t for t in full_length_trials(trials, stage=stage) if t.role == "searched"]
    found = []
    for epoch in epochs:
        agreements = [_agreement(searched, objective, epoch) for objective in objectives]
        if all(a.trials >= ENOUGH_TRIALS and a.spearman.value < RANDOM for a in agreements):
            found.append(epoch)
    return tuple(found)


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


@dataclass(frozen=True)
class FinalSpread:
    """How far the final scores of trials lie apart, against the chance of the images.

    What lies within chance has no order that a rung could predict.

    Attributes:
        metric: What was compared.
        trials: Full-length trials with a score.
        spread: Standard deviation of their scores.
        noise: Standard error of the best one, from its images alone.
        tied: Trials that cannot be told from the best one, itself included.
        images: Images that each was measured on; None where the records do not tell.
    """

    metric: str
    trials: int
    spread: float
    noise: float
    tied: int
    images: int | None

    @property
    def text(self) -> str:
        """Both in one line, and how many trials chance leaves in front.

        Example:
            >>> FinalSpread("segmentation/robust/miou", 11, 0.02, 0.04, 6, 128).text
            'final scores of 11 trials: standard deviation 2.0 points, standard error of the best \
4.0 points on 128 images; the best 6 cannot be told apart'
        """
        spread, noise = (format_difference(self.metric, x) for x in (self.spread, self.noise))
        images = counted(self.images or ASSUMED_IMAGES, "image")
        images += "" if self.images else " (taken to be as many)"
        front = "the best one stands out"
        if self.tied == self.trials:
            front = "they cannot be told apart"
        elif self.tied > 1:
            front = f"the best {self.tied} cannot be told apart"
        return (
            f"final scores of {self.trials} trials: standard deviation {spread}, standard error of "
            f"the best {noise} on {images}; {front}"
        )


def final_spread(
    trials: Iterable[TrialResult], objective: StudyObjective, *, stage: Stage = "search"
) -> FinalSpread | None:
    """How far final scores lie apart, against the chance of their images.

    Args:
        trials: All trials of a run.
        objective: What is compared.
        stage: Whose trials are compared.

    Returns:
        None below ``LEAST_TRIALS`` full-length trials with a score.
    """
    scored = [
        trial
        for trial in full_length_trials(trials, stage=stage)
        if np.isfinite(objective.value(trial))
    ]
    if len(scored) < LEAST_TRIALS:
        return None
    counts = {trial.fidelity.get("validation_images") for trial in scored}
    images = min((int(count) for count in counts if count), default=0)
    values = [objective.value(trial) for trial in scored]
    best = max(values, key=lambda value: objective.sign * value)

    def gap(value: float) -> float:
        return chance_gap(objective.metric, [best, value], images or ASSUMED_IMAGES)

    return FinalSpread(
        metric=objective.metric,
        trials=len(values),
        spread=float(np.std(values, ddof=1)),
        noise=chance_gap(objective.metric, [best], images or ASSUMED_IMAGES) / 2,
        tied=sum(abs(best - value) <= gap(value) for value in values),
        images=images or None,
    )


def proxy_pairs(trials: Iterable[TrialResult]) -> list[tuple[TrialResult, TrialResult]]:
    """Each complete trial of the real setting behind the complete stand-in that it repeats."""
    complete = [trial for trial in trials if trial.status == "complete"]
    proxies = {trial.number: trial for trial in complete if trial.stage == "proxy"}
    return [
        (proxies[trial.parent], trial)
        for trial in complete
        if trial.stage == "search" and trial.parent in proxies
    ]


def proxy_agreement(trials: Iterable[TrialResult], objective: StudyObjective) -> RankCorrelation:
    """Rank correlation of an objective between stand-ins and the same trials at full cost.

    Only the best stand-ins and the baselines are promoted, so it speaks of these alone.

    Args:
        trials: All trials of a run.
        objective: What is compared.
    """
    pairs = proxy_pairs(trials)
    first = [objective.gain(proxy) for proxy, _ in pairs]
    return spearman(first, [objective.gain(real) for _, real in pairs])


def agreement_text(found: RankCorrelation) -> str:
    """The rank correlation in words, with an honest word where there are too few pairs.

    Example:
        >>> agreement_text(RankCorrelation(0.9, 0.31, 0.99, 6))
        'Spearman 0.90 (95 % interval 0.31\N{EN DASH}0.99) over 6 trials'
        >>> agreement_text(RankCorrelation(0.5, float("nan"), float("nan"), 3))
        'Spearman 0.50 over 3 trials, too few for an interval'
    """
    if found.value != found.value:
        return f"not known: too few trials measured in both ({found.pairs}), or all equal"
    if found.low != found.low:
        return f"{found.text} over {found.pairs} trials, too few for an interval"
    return f"{found.text} over {found.pairs} trials"
