"""The epsilon net of a front of two objectives, in n log n steps instead of n^2.

A rung whose trials all stand on one front orders all of them for every trial that comes.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from heapq import heappop, heappush

Gap = tuple[float, int, int, int, int]
"""Its farthest point's distance, negated, and rank and place; the places of its two ends."""


def chain_net(points: Sequence[tuple[float, float]], ranks: Sequence[int]) -> list[int]:
    """Order points along a chain so that each next one is the farthest from those before it.

    Along a chain distances to a point grow on both sides of it. So the points taken so far leave
    gaps, only the two ends of its gap are near a point, and the farthest point of a gap stands
    where the distances to them cross.

    Args:
        points: Unlike points; the first number rises from each to the next, the second falls.
        ranks: Of points that are equally far the one of the lowest rank comes first.

    Returns:
        Places in their order; the last point comes first.

    Example:
        >>> chain_net([(0.0, 1.0), (0.9, 0.1), (1.0, 0.0)], [0, 1, 2])
        [2, 0, 1]
    """
    last = len(points) - 1
    order, gaps = [last], [_gap(points, ranks, -1, last)] if last > 0 else []
    while gaps:
        _, _, place, low, high = heappop(gaps)
        order.append(place)
        for begin, end in ((low, place), (place, high)):
            if end - begin > 1:
                heappush(gaps, _gap(points, ranks, begin, end))
    return order


def _gap(points: Sequence[tuple[float, float]], ranks: Sequence[int], low: int, high: int) -> Gap:
    """The farthest point between two ends; the lower one may lie before all points."""

    def distance(place: int, end: int) -> float:
        if end < 0:
            return math.inf
        across, along = (a - b for a, b in zip(points[place], points[end], strict=True))
        return math.sqrt(across * across + along * along)

    def has_crossed(place: int) -> bool:
        return distance(place, low) >= distance(place, high)

    cross = low + 1 + bisect_left(range(low + 1, high), True, key=has_crossed)
    found = (
        (-min(distance(place, low), distance(place, high)), ranks[place], place)
        for place in (cross - 1, cross)
        if low < place < high
    )
    return (*min(found), low, high)
