"""Nondominated sorting of points that come one by one."""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


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

    def size(self, number: int) -> int:
        """Points on a front."""
        return len(self._fronts[number])

    def newest(self, number: int, most: int) -> NDArray[np.float64]:
        """The points of a front that came last, ``(n, m)`` with n at most ``most``, in order."""
        return np.asarray(self._points[np.sort(self._fronts[number])[-most:]])

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
