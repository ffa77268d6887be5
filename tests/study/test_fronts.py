"""Fronts that are kept while points come, against peeling all points anew."""

import numpy as np
import pytest

from taskgroup.study.fronts import Fronts


def dominates(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one >= other).all() and (one > other).any())


def peeled(points: np.ndarray) -> list[int]:
    """Take away one Pareto front after the other."""
    fronts = [-1] * len(points)
    number = 0
    while -1 in fronts:
        left = [i for i, front in enumerate(fronts) if front == -1]
        for i in left:
            if not any(dominates(points[j], points[i]) for j in left):
                fronts[i] = number
        number += 1
    return fronts


@pytest.mark.parametrize("digits", [1, 2, 6])
@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_fronts_are_those_of_peeling(objectives: int, digits: int) -> None:
    points = np.random.default_rng(objectives).random((50, objectives)).round(digits)
    fronts = Fronts()
    for count, point in enumerate(points, 1):
        number = fronts.add(point.tolist())
        expected = np.array(peeled(points[:count]))
        assert number == expected[-1]
        assert len(fronts) == count
        for front in range(expected.max() + 1):
            members = points[:count][expected == front]
            assert fronts.size(front) == len(members)
            assert fronts.count_before(front) == np.sum(expected < front)
            np.testing.assert_array_equal(fronts.newest(front, count), members)
            np.testing.assert_array_equal(fronts.newest(front, 3), members[-3:])


def test_a_point_above_all_moves_every_front() -> None:
    fronts = Fronts()
    assert [fronts.add(point) for point in [(1, 1), (0, 2), (0, 0), (0, 1)]] == [0, 0, 1, 1]
    assert fronts.add((3, 3)) == 0
    assert [fronts.size(number) for number in range(4)] == [1, 2, 1, 1]
