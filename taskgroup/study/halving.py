"""Asynchronous successive halving: which trials continue at a rung.

Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht, Talwalkar, "A System for Massively
Parallel Hyperparameter Tuning" (2020), in the stopping form that Ray Tune and Syne Tune have.
Several objectives follow MO-ASHA: Schmucker, Donini, Zafar, Salinas, Archambeau, "Multi-objective
Asynchronous Successive Halving" (2021), which sorts into fronts, and a front by an epsilon net.
"""

import math
from bisect import insort
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgroup.results.records import TrialResult
from taskgroup.study.fronts import Fronts
from taskgroup.study.objectives import StudyObjective

MOST_RIVALS = 300
"""Newest trials of its front that a trial is compared with: a net takes their square in time."""


class Rung:
    """What trials brought to a rung; more is better.

    With one objective a trial continues if its value is not below the (1 - 1/reduction) quantile of
    those before it. With several it must be among the first floor(n / reduction) + 1 of the n
    trials so far, itself included: 2 of 3 where the reduction is 2 or 3. Trials are ordered front
    by front, and where that line cuts a front, by ``epsilon_net``. The first trial always
    continues, and so does one that brings NaN, which counts for no other: its end will fail it,
    with its reason.
    """

    def __init__(self, reduction: int) -> None:
        """Nothing came yet.

        Args:
            reduction: About 1/reduction continue, somewhat more while few have come.
        """
        self._reduction = reduction
        self._rising: list[float] = []
        self._fronts = Fronts()

    def take(self, gains: Sequence[float]) -> bool:
        """Enter a trial and tell whether it continues.

        Args:
            gains: Its values of all objectives, ``(m,)``, more is better.
        """
        if any(math.isnan(gain) for gain in gains):
            return True
        if len(gains) > 1:
            return self._is_among_the_first(gains)
        is_good = not self._rising or gains[0] >= self._quantile(1 - 1 / self._reduction)
        insort(self._rising, gains[0])
        return is_good

    def _quantile(self, part: float) -> float:
        """As numpy's: between two neighbours it is linear."""
        low, across = divmod((len(self._rising) - 1) * part, 1)
        neighbours = self._rising[int(low) : int(low) + 2]
        return float(np.quantile(neighbours, across if len(neighbours) > 1 else 0))

    def _is_among_the_first(self, gains: Sequence[float]) -> bool:
        number = self._fronts.add(gains)
        size = self._fronts.size(number)
        left = len(self._fronts) / self._reduction - self._fronts.count_before(number)
        if left < 0 or left >= size - 1:  # so it is for its whole front
            return left >= 0
        rivals = self._fronts.newest(number, MOST_RIVALS)
        places = math.floor(left * len(rivals) / size) + 1
        return len(rivals) - 1 in epsilon_net(rivals, places)


def epsilon_net(points: ArrayLike, count: int) -> NDArray[np.int64]:
    """The first of an order of points whose every prefix covers them well.

    Each next one is the farthest from those before it; the first is the best in the first
    objective. Objectives are scaled to their range, since a distance must not depend on units (the
    authors' code takes them as they are).

    Args:
        points: Shape ``(n, m)``, finite, more is better; at least one.
        count: How many, 1 to n.

    Returns:
        Their positions in order, shape ``(count,)``; ties go to the earlier point.

    Example:
        >>> epsilon_net([[0.0, 1.0], [0.9, 0.1], [1.0, 0.0]], 2)
        array([2, 0])
    """
    values = np.asarray(points, dtype=np.float64)
    span = np.ptp(values, axis=0)
    scaled = values / np.where(span > 0, span, 1.0)
    order = [int(np.argmax(scaled[:, 0]))]
    nearest = np.full(len(scaled), np.inf)
    while len(order) < count:
        distance = np.linalg.norm(scaled - scaled[order[-1]], axis=1)
        nearest = np.minimum(nearest, distance)
        nearest[order[-1]] = -1.0  # taken, and stays so
        order.append(int(np.argmax(nearest)))
    return np.array(order, dtype=np.int64)


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


class Halving:
    """The rungs of a search and the trials that came to them.

    Built from the records of earlier sessions it stands where they left it, but for the order in
    which trials came, which decides who are the newest of a front longer than ``MOST_RIVALS``.
    Baselines neither stop nor count: they are references, run in full.

    Attributes:
        objectives: What is compared.
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
            reduction: At each rung about the best 1 / reduction continue.
            records: Trials of earlier sessions, of the same stage.
        """
        self.objectives = tuple(objectives)
        self._rungs = {rung: Rung(reduction) for rung in rungs}
        self._recorded: dict[int, dict[int, tuple[float, ...]]] = {rung: {} for rung in rungs}
        for record in records:
            self.take(record)

    @property
    def recorded(self) -> Mapping[int, Mapping[int, tuple[float, ...]]]:
        """Per rung the vectors that trials brought, by number of the trial; more is better."""
        return self._recorded

    def take(self, record: TrialResult) -> int | None:
        """Enter a trial at every rung that it came to.

        Returns:
            The rung at which it should stop, or None; a rung decides about a trial once.
        """
        if record.role == "baseline":
            return None
        stopped = None
        for rung, recorded in self._recorded.items():
            values = rung_values(record, self.objectives, rung)
            if values is None or record.number in recorded:
                continue
            pairs = zip(self.objectives, values, strict=True)
            gains = tuple(objective.sign * value for objective, value in pairs)
            recorded[record.number] = gains
            if not self._rungs[rung].take(gains):
                stopped = rung
        return stopped
