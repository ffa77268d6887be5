"""Asynchronous successive halving: which trials go on at a rung.

Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht, Talwalkar, "A System for Massively
Parallel Hyperparameter Tuning" (2020), in the stopping form that Ray Tune and Syne Tune have.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgroup.results.records import TrialResult
from taskgroup.study.dominance import epsilon_net, nondominated_fronts
from taskgroup.study.objectives import StudyObjective


def rung_epochs(grace_epochs: int, reduction: int, max_epochs: int) -> tuple[int, ...]:
    """Epochs after which trials are compared, below a full-length trial's last.

    Example:
        >>> rung_epochs(2, 3, 60)
        (2, 6, 18, 54)
    """
    epochs = []
    epoch = grace_epochs
    while epoch < max_epochs:
        epochs.append(epoch)
        epoch *= reduction
    return tuple(epochs)


def rung_values(
    trial: TrialResult, objectives: Sequence[StudyObjective], rung: int
) -> tuple[float, ...] | None:
    """What a trial brings to a rung: its first values of all objectives at that epoch or later.

    Robust scores may be measured every few epochs only; the first measurement from the rung on is
    taken, whatever came after, so that a resumed trial stands where it stood.

    Args:
        trial: The trial, under way or ended.
        objectives: What is compared.
        rung: Epoch of the rung.

    Returns:
        One value per objective, as measured; None where it has not come so far, or measured nothing
        between the rung and its last epoch, whose values are final.
    """
    names = [objective.metric for objective in objectives]
    for row in trial.epochs:
        if rung <= row.epoch < trial.planned_epochs and all(name in row.metrics for name in names):
            return tuple(float(row.metrics[name]) for name in names)
    return None


def goes_on(recorded: ArrayLike, gains: Sequence[float], reduction: int) -> bool:
    """Whether a trial is good enough at a rung to go on.

    With one objective its value must not be below the (1 - 1/reduction) quantile of those before
    it. With several it must be among the first 1/reduction of all, itself included, in the order of
    ``multi_objective_order``; that is MO-ASHA. The first trial at a rung always goes on, one
    that brings NaN too: its end will fail it, with its reason.

    Args:
        recorded: Vectors that other trials brought before, ``(n, m)``, more is better.
        gains: The trial's own, ``(m,)``.
        reduction: At most about 1/reduction go on.
    """
    before = np.asarray(recorded, dtype=np.float64).reshape(-1, len(gains))
    before = before[~np.isnan(before).any(axis=1)]
    if len(before) == 0 or np.any(np.isnan(gains)):
        return True
    if len(gains) == 1:
        return bool(gains[0] >= np.quantile(before, 1 - 1 / reduction))
    return _is_among(np.vstack([before, gains]), (len(before) + 1) / reduction)


def _is_among(points: NDArray[np.float64], room: float) -> bool:
    """Whether at most ``room`` points come before the last one in ``multi_objective_order``."""
    fronts = nondominated_fronts(points)
    rivals = np.flatnonzero(fronts == fronts[-1])
    left = room - np.sum(fronts < fronts[-1])
    if left < 0 or left >= len(rivals) - 1:  # so it is for its whole front
        return bool(left >= 0)
    return len(rivals) - 1 in epsilon_net(points[rivals])[: math.floor(left) + 1]


class Halving:
    """The rungs of a search and the trials that came to them.

    Built from the records of earlier sessions it stands where they left it. Baselines neither stop
    nor count: they are references, run in full.
    """

    def __init__(
        self,
        objectives: Sequence[StudyObjective],
        rungs: Sequence[int],
        *,
        reduction: int,
        records: Sequence[TrialResult] = (),
    ) -> None:
        """Set up rungs.

        Args:
            objectives: What is compared.
            rungs: Epochs after which trials are compared, rising.
            reduction: At each rung the best 1 / reduction go on.
            records: Trials of earlier sessions, of the same stage.
        """
        self._objectives = tuple(objectives)
        self._reduction = reduction
        self._rungs: dict[int, dict[int, tuple[float, ...]]] = {rung: {} for rung in rungs}
        for record in records:
            self.take(record)

    @property
    def recorded(self) -> Mapping[int, Mapping[int, tuple[float, ...]]]:
        """Per rung the vectors that trials brought, by number of the trial; more is better."""
        return self._rungs

    def take(self, record: TrialResult) -> int | None:
        """Enter a trial at every rung that it came to.

        Returns:
            The rung at which it should stop, or None; a rung judges a trial once.
        """
        if record.role == "baseline":
            return None
        stopped = None
        for rung, recorded in self._rungs.items():
            values = rung_values(record, self._objectives, rung)
            if values is None or record.number in recorded:
                continue
            pairs = zip(self._objectives, values, strict=True)
            gains = tuple(objective.sign * value for objective, value in pairs)
            if not goes_on(list(recorded.values()), gains, self._reduction):
                stopped = rung
            recorded[record.number] = gains
        return stopped
