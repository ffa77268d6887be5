"""Pareto front and volume against naive loops, fronts that are kept against peeling anew."""

import numpy as np
import pytest
from numpy.typing import NDArray

from taskgroup.errors import ConfigError
from taskgroup.study.fronts import Fronts, hypervolume, hypervolume_contributions, pareto_front

GOLDEN = [[0.9, 0.2], [0.8, 0.4], [0.6, 0.5]]


def draw(seed: int, count: int, size: int) -> NDArray[np.float64]:
    """Points on a coarse grid, so that ties and twins occur."""
    return np.random.default_rng(seed).integers(-1, 6, (count, size)) / 5


def naive_front(points: NDArray[np.float64]) -> list[bool]:
    return [
        not any((other >= point).all() and (other > point).any() for other in points)
        for point in points
    ]


def naive_volume(points: NDArray[np.float64]) -> float:
    """Cells of the grid below some point, reference 0."""
    size = points.shape[1]
    corners = np.stack(np.meshgrid(*[np.arange(1, 6) / 5] * size), -1).reshape(-1, size)
    covered = (corners[:, None] <= points[None] + 1e-9).all(-1).any(1)
    return float(covered.sum() / 5**size)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_front_equals_a_naive_loop(seed: int, size: int) -> None:
    points = draw(seed, 15, size)
    assert pareto_front(points).tolist() == naive_front(points)


def test_equal_points_stand_side_by_side() -> None:
    assert pareto_front([[1, 2], [1, 2], [0, 2]]).tolist() == [True, True, False]


def test_points_with_nan_are_neither_on_the_front_nor_in_the_way() -> None:
    points = [[0.1, 0.1], [np.nan, 9.0], [9.0, np.nan]]
    assert pareto_front(points).tolist() == [True, False, False]


@pytest.mark.parametrize("points", [[], np.zeros((0, 2))])
def test_front_of_nothing(points: object) -> None:
    assert pareto_front(points).shape == (0,)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_volume_equals_counted_cells(seed: int, size: int) -> None:
    points = draw(seed, 9, size)
    assert hypervolume(points, [0.0] * size) == pytest.approx(naive_volume(points))


def test_golden_volume_and_contribution() -> None:
    assert hypervolume(GOLDEN, [0, 0]) == pytest.approx(0.40)
    assert hypervolume_contributions(GOLDEN, [0, 0])[2] == pytest.approx(0.06)


def test_golden_volume_of_three_objectives() -> None:
    assert hypervolume([[1, 1, 0.5], [0.5, 0.5, 1]], [0, 0, 0]) == pytest.approx(0.5 + 0.125)


@pytest.mark.parametrize("size", [2, 3])
def test_volume_ignores_order_twins_and_dominated_points(size: int) -> None:
    points, origin = draw(1, 10, size), [0.0] * size
    volume = hypervolume(points, origin)
    assert hypervolume(points[::-1], origin) == pytest.approx(volume)
    assert hypervolume(np.concatenate([points, points]), origin) == pytest.approx(volume)
    assert hypervolume(points[pareto_front(points)], origin) == pytest.approx(volume)


@pytest.mark.parametrize("size", [2, 3])
def test_volume_never_falls_when_a_point_comes(size: int) -> None:
    points = draw(2, 12, size)
    volumes = [hypervolume(points[:count], [0.0] * size) for count in range(13)]
    assert volumes == sorted(volumes)


def test_points_not_above_the_reference_add_nothing() -> None:
    volume = hypervolume([*GOLDEN, [5.0, 0.0], [-1.0, 7.0], [np.nan, 9.0]], [0, 0])
    assert volume == pytest.approx(0.40)
    assert hypervolume([[0.1, 0.1]], [0.5, 0.5]) == 0
    assert hypervolume([], [0, 0]) == 0


def test_contributions_of_dominated_points_and_of_twins_are_zero() -> None:
    parts = hypervolume_contributions([[1, 1], [0.5, 0.5], [2, 0.5], [2, 0.5]], [0, 0])
    np.testing.assert_allclose(parts, [0.5, 0, 0, 0])


@pytest.mark.parametrize("reference", [[0, 0, 0, 0], [], 0.0, [[0, 0]]])
def test_more_than_three_objectives_are_refused(reference: object) -> None:
    with pytest.raises(ConfigError, match="hypervolume needs a reference with 1 to 3 objectives"):
        hypervolume([[1, 1]], reference)  # type: ignore[arg-type]


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
