"""The trials that came to one rung, and whether one more goes on.

The rung keeps its order between trials, so that one more costs little however many came before.
Several objectives follow MO-ASHA: Schmucker, Donini, Zafar, Salinas, Archambeau, "Multi-objective
Asynchronous Successive Halving" (2021), which sorts into fronts, and a front by an epsilon net.
"""

import math
from bisect import insort
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgroup.study.fronts import Fronts

MOST_RIVALS = 300
"""Newest trials of its front that a trial is compared with: a net takes their square in time."""


class Rung:
    """What trials brought to a rung; more is better.

    With one objective a trial goes on if its value is not below the (1 - 1/reduction) quantile of
    those before it. With several it must be among the first 1/reduction of all, itself included:
    front by front, and where that line cuts a front, in the order of ``epsilon_net``. The first
    trial always goes on, and so does one that brings NaN, which counts for no other: its end will
    fail it, with its reason.
    """

    def __init__(self, reduction: int) -> None:
        """Nothing came yet.

        Args:
            reduction: At most about 1/reduction go on.
        """
        self._reduction = reduction
        self._rising: list[float] = []
        self._fronts = Fronts()

    def take(self, gains: Sequence[float]) -> bool:
        """Enter a trial and tell whether it goes on.

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
