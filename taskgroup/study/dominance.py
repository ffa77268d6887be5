"""An order of points with several objectives: front by front, spread out within a front.

Follows MO-ASHA: Schmucker, Donini, Zafar, Salinas, Archambeau, "Multi-objective Asynchronous
Successive Halving" (2021), where a rung keeps what comes first in this order.
"""

from bisect import bisect_left

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
    values = np.asarray(points, dtype=np.float64)
    found = np.full(len(values), -1, dtype=np.int64)
    known = np.flatnonzero(~np.isnan(values).any(axis=1)) if values.size else found[:0]
    fronts: list[list[NDArray[np.float64]]] = []
    for index in known[np.lexsort(-values[known].T[::-1])] if known.size else known:
        point = values[index]
        number = bisect_left(fronts, True, key=lambda front: not _is_dominated(point, front))
        if number == len(fronts):
            fronts.append([])
        fronts[number].append(point)
        found[index] = number
    found[found < 0] = len(fronts)
    return found


def _is_dominated(point: NDArray[np.float64], front: list[NDArray[np.float64]]) -> bool:
    """Whether a member of a front is as good everywhere and better somewhere."""
    members = np.array(front)
    return bool(np.any((members >= point).all(axis=1) & (members > point).any(axis=1)))


def epsilon_net(points: ArrayLike) -> NDArray[np.int64]:
    """Order points so that every prefix covers them well.

    Each next one is the farthest from those before it; the first is the best in the first
    objective. Objectives are scaled to their range, since a distance must not depend on units (the
    authors' code takes them as they are).

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
    order = [int(np.argmax(values[:, 0]))]
    nearest = np.linalg.norm(scaled - scaled[order[0]], axis=1)
    while len(order) < len(values):
        nearest[order[-1]] = -1.0  # taken
        order.append(int(np.argmax(nearest)))
        distance = np.linalg.norm(scaled - scaled[order[-1]], axis=1)
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
