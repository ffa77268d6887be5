"""The trials that came to one rung, and whether one more goes on.

The rung keeps its order between trials, so that one more costs little however many came before.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from taskgroup.study.dominance import epsilon_net


class Rung:
    """What trials brought to a rung; more is better.

    With one objective a trial goes on if its value is not below the (1 - 1/reduction) quantile of
    those before it. With several it must be among the first 1/reduction of all, itself included, in
    the order of ``multi_objective_order``; that is MO-ASHA. The first trial always goes on, and so
    does one that brings NaN, which counts for no other: its end will fail it, with its reason.
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
        left = len(self._fronts) / self._reduction - self._fronts.count_before(number)
        rivals = self._fronts.points(number)
        last = len(rivals) - 1
        if left < 0 or left >= last:  # so it is for its whole front
            return left >= 0
        return last in epsilon_net(rivals)[: math.floor(left) + 1]


class Fronts:
    """Nondominated fronts of points that come one by one.

    A new point moves those of its front that it dominates to the next front, these move others from
    there, and so on; earlier fronts stay. Those who are all moved at once stay together, and so
    does everything behind them (Li, Deb, Zhang, Zhang, "Efficient Nondomination Level Update
    Method for Steady-State Evolutionary Multiobjective Optimization", 2017).
    """

    def __init__(self) -> None:
        """No point came yet."""
        self._points = np.zeros((0, 0))
        self._fronts: list[NDArray[np.int64]] = []
        self._count = 0

    def __len__(self) -> int:
        """Points that came."""
        return self._count

    def count_before(self, number: int) -> int:
        """Points on the fronts before one."""
        return sum(len(front) for front in self._fronts[:number])

    def points(self, number: int) -> NDArray[np.float64]:
        """The points of a front, ``(n, m)``, as they came."""
        return np.asarray(self._points[np.sort(self._fronts[number])])

    def add(self, point: Sequence[float]) -> int:
        """Enter a point without NaN.

        Args:
            point: Shape ``(m,)``, more is better.

        Returns:
            The number of its front, from 0.
        """
        moving = np.array([self._keep(point)])
        found = bisect_left(self._fronts, True, key=lambda front: not self._beats(front, moving))
        for number in range(found, len(self._fronts)):
            front = self._fronts[number]
            beaten = self._beaten(front, moving)
            if beaten.all():
                self._fronts.insert(number, moving)
                return found
            self._fronts[number] = np.concatenate([front[~beaten], moving])
            moving = front[beaten]
            if len(moving) == 0:
                return found
        self._fronts.append(moving)
        return found

    def _keep(self, point: Sequence[float]) -> int:
        if self._count == len(self._points):
            longer = np.zeros((max(16, 2 * self._count), len(point)))
            longer[: self._count] = self._points[: self._count].reshape(self._count, len(point))
            self._points = longer
        self._points[self._count] = point
        self._count += 1
        return self._count - 1

    def _beats(self, front: NDArray[np.int64], one: NDArray[np.int64]) -> bool:
        return bool(self._beaten(one, front).any())

    def _beaten(self, some: NDArray[np.int64], by: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which points are dominated by others: nowhere better and somewhere worse."""
        mine, theirs = self._points[some][:, None], self._points[by]
        return np.asarray(((theirs >= mine).all(-1) & (theirs > mine).any(-1)).any(-1))
