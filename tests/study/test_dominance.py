"""Non-dominated sorting and the epsilon net, against loops over their definitions."""

import itertools

import numpy as np
import pytest

from taskgroup.study.dominance import epsilon_net, multi_objective_order, nondominated_fronts


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


def spread(points: np.ndarray) -> list[int]:
    """Add the point whose nearest chosen one is farthest, in units of each objective's range."""
    span = np.ptp(points, axis=0)
    span[span == 0] = 1.0
    order = [max(range(len(points)), key=lambda i: (points[i][0], -i))]
    while len(order) < len(points):
        left = [i for i in range(len(points)) if i not in order]
        near = {
            i: min(np.linalg.norm(points[i] / span - points[j] / span) for j in order) for i in left
        }
        order.append(max(left, key=lambda i: (near[i], -i)))
    return order


def some_points(seed: int) -> np.ndarray:
    """Points with ties: values of a coarse grid in every third set."""
    generator = np.random.default_rng(seed)
    count, objectives = int(generator.integers(0, 25)), int(generator.integers(1, 4))
    points = generator.random((count, objectives))
    return np.round(points, 1) if seed % 3 == 0 else points


@pytest.mark.parametrize("seed", range(60))
def test_fronts_are_those_of_peeling(seed: int) -> None:
    points = some_points(seed)
    assert nondominated_fronts(points).tolist() == peeled(points)


@pytest.mark.parametrize("seed", range(0, 60, 2))
def test_net_is_that_of_its_definition(seed: int) -> None:
    points = some_points(seed)
    if seed % 3 == 0:  # sums differ in their last digit where distances tie
        points = np.round(points * 10)
    expected = spread(points) if len(points) else []
    found = epsilon_net(points).tolist()
    assert sorted(found) == sorted(expected)
    if seed % 3:
        assert found == expected


@pytest.mark.parametrize("seed", range(30))
def test_net_of_a_front_is_that_of_its_definition(seed: int) -> None:
    """Fronts of two objectives take another way; every third has equal points and distances."""
    generator = np.random.default_rng(seed)
    angles = generator.random(int(generator.integers(1, 30))) * np.pi / 2
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if seed % 3 == 0:
        steps = np.array([0, 16, *generator.integers(0, 17, 20)])
        points = generator.permutation(np.stack([steps, 16 - steps], axis=1))
    assert epsilon_net(points).tolist() == spread(points)


@pytest.mark.parametrize("seed", range(20))
def test_no_point_comes_before_one_that_dominates_it(seed: int) -> None:
    points = some_points(seed)
    order = multi_objective_order(points)
    assert sorted(order) == list(range(len(points)))
    for early, late in itertools.combinations(order, 2):
        assert not dominates(points[late], points[early])


@pytest.mark.parametrize("seed", range(10))
def test_units_and_the_order_of_points_do_not_matter(seed: int) -> None:
    generator = np.random.default_rng(seed)
    points = generator.random((12, 2))
    order = multi_objective_order(points)
    np.testing.assert_array_equal(multi_objective_order(points * [1.0, 1024.0]), order)
    shuffle = generator.permutation(12)
    np.testing.assert_array_equal(shuffle[multi_objective_order(points[shuffle])], order)


def test_one_objective_is_plain_sorting() -> None:
    points = np.array([[0.2], [0.9], [0.5], [0.9]])
    assert nondominated_fronts(points).tolist() == [2, 0, 1, 0]
    assert multi_objective_order(points).tolist() == [1, 3, 2, 0]


def test_ends_of_a_front_come_before_its_middle() -> None:
    front = [[0.0, 1.0], [0.5, 0.6], [0.55, 0.5], [1.0, 0.0]]
    assert epsilon_net(front).tolist()[:2] == [3, 0]


def test_unknown_points_come_last() -> None:
    points = [[np.nan, 1.0], [0.1, 0.1], [1.0, np.nan], [0.5, 0.5]]
    assert nondominated_fronts(points).tolist() == [2, 1, 2, 0]
    assert multi_objective_order(points).tolist() == [3, 1, 0, 2]


def test_no_points() -> None:
    assert nondominated_fronts(np.zeros((0, 2))).shape == (0,)
    assert epsilon_net(np.zeros((0, 2))).shape == (0,)
    assert multi_objective_order(np.zeros((0, 2))).shape == (0,)
