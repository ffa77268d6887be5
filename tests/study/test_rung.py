"""One rung: the order that it keeps is the order of all its points, however they came."""

import math

import numpy as np
import pytest

from taskgroup.study.dominance import multi_objective_order, nondominated_fronts
from taskgroup.study.rung import Fronts, Rung

NAN = math.nan


def rung_of(*vectors: tuple[float, ...], reduction: int = 2) -> Rung:
    rung = Rung(reduction)
    for vector in vectors:
        rung.take(vector)
    return rung


@pytest.mark.parametrize("digits", [1, 2, 6])
@pytest.mark.parametrize("objectives", [2, 3])
def test_fronts_are_those_of_all_points_at_once(objectives: int, digits: int) -> None:
    points = np.random.default_rng(objectives).random((80, objectives)).round(digits)
    fronts = Fronts()
    for count, point in enumerate(points, 1):
        number = fronts.add(point.tolist())
        expected = nondominated_fronts(points[:count])
        assert number == expected[-1]
        assert len(fronts) == count
        for front in range(expected.max() + 1):
            np.testing.assert_array_equal(fronts.points(front), points[:count][expected == front])
            assert fronts.count_before(front) == np.sum(expected < front)


def test_a_point_above_all_moves_every_front() -> None:
    fronts = Fronts()
    assert [fronts.add(point) for point in [(1, 1), (0, 2), (0, 0), (0, 1)]] == [0, 0, 1, 1]
    assert fronts.add((3, 3)) == 0
    assert [len(fronts.points(number)) for number in range(4)] == [1, 2, 1, 1]


@pytest.mark.parametrize("digits", [1, 2, 6])
@pytest.mark.parametrize("objectives", [2, 3])
@pytest.mark.parametrize("reduction", [2, 3, 4])
def test_several_objectives_go_on_among_the_first_of_their_order(
    reduction: int, objectives: int, digits: int
) -> None:
    points = np.random.default_rng(0).random((60, objectives)).round(digits)
    rung = Rung(reduction)
    for count, point in enumerate(points, 1):
        place = multi_objective_order(points[:count]).tolist().index(count - 1)
        assert rung.take(point.tolist()) == (place <= count / reduction)


@pytest.mark.parametrize("reduction", [2, 3, 7])
def test_one_objective_goes_on_from_the_quantile_of_those_before(reduction: int) -> None:
    values = np.random.default_rng(0).random(300).round(2)
    rung = Rung(reduction)
    rung.take(values[:1].tolist())
    for count, value in enumerate(values[1:], 1):
        assert rung.take([float(value)]) == (
            value >= np.quantile(values[:count], 1 - 1 / reduction)
        )


def test_first_trial_at_a_rung_goes_on() -> None:
    assert Rung(3).take((0.0,))
    assert Rung(3).take((0.0, 0.0))


def test_dominated_point_stops_and_new_best_goes_on() -> None:
    before = ((0.5, 0.5), (0.6, 0.4), (0.4, 0.6))
    assert not rung_of(*before).take((0.3, 0.3))
    assert rung_of(*before).take((0.7, 0.7))


def test_unknown_value_goes_on_and_counts_for_no_other() -> None:
    assert rung_of((0.5,)).take((NAN,))
    assert rung_of((0.5, 0.5)).take((0.1, NAN))
    assert rung_of((NAN,)).take((0.1,)), "it is the first"
    assert rung_of((0.5, 0.5), (NAN, 1.0)).take((0.4, 0.6)), "one of two on the front of two"
