"""An order of points with several objectives: front by front, spread out within a front.

Follows MO-ASHA: Schmucker, Donini, Zafar, Salinas, Archambeau, "Multi-objective Asynchronous
Successive Halving" (2021), where a rung keeps what comes first in this order.
"""

from bisect import bisect_left, bisect_right

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgroup.study.chain_net import chain_net


def nondominated_fronts(points: ArrayLike) -> NDArray[np.int64]:
    """Number of the front that each point stands on.

    Front 0 is the Pareto front, front 1 that of the rest, and so on. Points with a NaN stand on one
    front of their own behind all others. In falling order of the first objective a point is
    dominated by earlier ones only, and if one front holds such a point, so does every front before
    it: bisection finds its own (Zhang, Tian, Cheng, Jin, "An Efficient Approach to Nondominated
    Sorting", 2015).

    Args:
        points: Shape ``(n, m)``, more is better.

    Returns:
        Shape ``(n,)``.

    Example:
        >>> nondominated_fronts([[2.0, 0.0], [0.0, 2.0], [1.0, 0.0]])
        array([0, 0, 1])
    """
    values = np.asarray(points, dtype=np.float64) + 0.0  # -0.0 is 0.0
    if values.size == 0:
        return np.zeros(len(values), dtype=np.int64)
    known = ~np.isnan(values).any(axis=1)
    rising, origin = np.unique(values[known], axis=0, return_inverse=True)
    sort = _sort_two if values.shape[1] == 2 else _sort
    fronts = sort(rising[::-1])[::-1]
    found = np.full(len(values), fronts.max(initial=-1) + 1, dtype=np.int64)
    found[known] = fronts[origin.ravel()]
    return found


def _sort_two(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Fronts of unlike points ``(n, 2)`` in falling order, in n log n steps.

    A later point is dominated by a front when the front's best second objective is not below its
    own. These bests fall from front to front, so that bisection finds the first that is below.
    """
    found: list[int] = []
    bests: list[float] = []  # negated, hence rising
    for second in (-points[:, 1]).tolist():
        number = bisect_right(bests, second)
        bests[number : number + 1] = [second]
        found.append(number)
    return np.array(found, dtype=np.int64)


def _sort(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Fronts of unlike points ``(n, m)`` in falling order."""
    found: list[int] = []
    fronts: list[list[NDArray[np.float64]]] = []
    for point in points:
        number = bisect_left(fronts, True, key=lambda front: not _is_dominated(point, front))
        if number == len(fronts):
            fronts.append([])
        fronts[number].append(point)
        found.append(number)
    return np.array(found, dtype=np.int64)


def _is_dominated(point: NDArray[np.float64], front: list[NDArray[np.float64]]) -> bool:
    """Whether a member of a front is as good everywhere and better somewhere."""
    members = np.array(front)
    return bool(np.any((members >= point).all(axis=1) & (members > point).any(axis=1)))


def epsilon_net(points: ArrayLike) -> NDArray[np.int64]:
    """Order points so that every prefix covers them well.

    Each next one is the farthest from those before it; the first is the best in the first
    objective. Objectives are scaled to their range, since a distance must not depend on units (the
    authors' code takes them as they are). A front of two objectives takes n log n steps.

    Args:
        points: Shape ``(n, m)``, finite, more is better.

    Returns:
        Positions in their order, shape ``(n,)``; ties go to the earlier point.

    Example:
        >>> epsilon_net([[0.0, 1.0], [0.9, 0.1], [1.0, 0.0]])
        array([2, 0, 1])
    """
    values = np.asarray(points, dtype=np.float64)
    if len(values) == 0:
        return np.zeros(0, dtype=np.int64)
    span = np.ptp(values, axis=0)
    scaled = values / np.where(span > 0, span, 1.0)
    unlike, origin = np.unique(scaled, axis=0, return_index=True)
    if values.shape[1] != 2 or np.any(np.diff(unlike, axis=0) * [1, -1] <= 0):
        return _net(scaled)
    chosen = origin[chain_net(unlike.tolist(), origin.tolist())]
    return np.concatenate([chosen, np.setdiff1d(np.arange(len(values)), chosen)])


def _net(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """The same for any points ``(n, m)``, in n^2 steps."""
    order = [int(np.argmax(points[:, 0]))]
    nearest = np.linalg.norm(points - points[order[0]], axis=1)
    while len(order) < len(points):
        nearest[order[-1]] = -1.0  # taken
        order.append(int(np.argmax(nearest)))
        distance = np.linalg.norm(points - points[order[-1]], axis=1)
        nearest = np.where(nearest < 0, nearest, np.minimum(nearest, distance))
    return np.array(order, dtype=np.int64)


def multi_objective_order(points: ArrayLike) -> NDArray[np.int64]:
    """Order points from the best on: by front, within a front by ``epsilon_net``.

    Args:
        points: Shape ``(n, m)``, more is better; points with a NaN come last.

    Returns:
        Positions in their order, shape ``(n,)``.
    """
    values = np.asarray(points, dtype=np.float64)
    fronts = nondominated_fronts(values)
    parts = []
    for number in range(int(fronts.max(initial=-1)) + 1):
        members = np.flatnonzero(fronts == number)
        known = not np.any(np.isnan(values[members]))
        parts.append(members[epsilon_net(values[members])] if known else members)
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
