"""Trade-offs between objectives: the Pareto front, the volume that it dominates, all fronts.

Every objective is maximised here (``objective_gains`` turns those that are not).
"""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgroup.errors import ConfigError


def pareto_front(points: ArrayLike) -> NDArray[np.bool_]:
    """Mark the points that no other point dominates.

    A point dominates another if it is at least as good in every objective and better in one, so
    equal points stand side by side. A point with a NaN is never on the front.

    Args:
        points: Shape ``(n, m)``, more is better.

    Returns:
        Shape ``(n,)``.

    Example:
        >>> pareto_front([[0.9, 0.2], [0.8, 0.4], [0.7, 0.3]])
        array([ True,  True, False])
    """
    values = np.asarray(points, dtype=np.float64)
    if values.size == 0:
        return np.zeros(len(values), dtype=np.bool_)
    ours, theirs = values[:, None], values[None, :]
    at_least = np.all(theirs >= ours, axis=2)
    better = np.any(theirs > ours, axis=2)
    dominated: NDArray[np.bool_] = np.any(at_least & better, axis=1)
    unknown: NDArray[np.bool_] = np.any(np.isnan(values), axis=1)
    return ~(dominated | unknown)


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Volume between a reference and a set of points: the union of the boxes they span.

    Fix the reference once per study, from the question (chance level, a baseline), not from the
    data. A point that is not above it in every objective, or holds a NaN, adds nothing.

    Args:
        points: Shape ``(n, m)``, more is better; ``m`` is 1, 2 or 3.
        reference: Shape ``(m,)``.

    Raises:
        ConfigError: More than three objectives, or shapes that do not fit.

    Example:
        >>> round(hypervolume([[0.9, 0.2], [0.8, 0.4], [0.6, 0.5]], [0, 0]), 6)
        0.4
    """
    origin = np.asarray(reference, dtype=np.float64)
    if origin.ndim != 1 or not 1 <= origin.size <= 3:
        raise ConfigError(
            "hypervolume needs a reference with 1 to 3 objectives, "
            f"got shape {origin.shape}; leave objectives out"
        )
    sizes = np.asarray(points, dtype=np.float64).reshape(-1, origin.size) - origin
    boxes = sizes[np.all(sizes > 0, axis=1)]
    return _volume(boxes[pareto_front(boxes)])


def hypervolume_contributions(points: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """How much volume each point adds: the loss if it is taken away.

    Args:
        points: Shape ``(n, m)``, more is better.
        reference: Shape ``(m,)``.

    Returns:
        Shape ``(n,)``; zero for points off the front and for points that have a twin.
    """
    values = np.asarray(points, dtype=np.float64)
    whole = hypervolume(values, reference)
    parts = [
        whole - hypervolume(np.delete(values, index, axis=0), reference)
        for index in range(len(values))
    ]
    return np.array(parts, dtype=np.float64)


def _volume(boxes: NDArray[np.float64]) -> float:
    """Volume of the union of boxes from the origin, sizes ``(n, m)`` above 0.

    Slices along the last axis, from the top: between two neighbouring heights the union is a prism
    over the boxes that reach above them.
    """
    if len(boxes) == 0:
        return 0.0
    if boxes.shape[1] == 1:
        return float(boxes.max())
    ordered = boxes[np.argsort(-boxes[:, -1])]
    heights = np.append(ordered[:, -1], 0.0)
    thickness = heights[:-1] - heights[1:]
    return sum(
        _volume(ordered[: index + 1, :-1]) * float(step)
        for index, step in enumerate(thickness)
        if step > 0
    )


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
