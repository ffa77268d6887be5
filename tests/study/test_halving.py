"""Rungs: what Ray's ASHA and Syne Tune's MO-ASHA do, in whatever order trials and records come."""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.study import halving
from taskgroup.study.halving import Halving, Rung, epsilon_net, rung_epochs, rung_values
from taskgroup.study.objectives import StudyObjective

NAN = math.nan


def spread(points: np.ndarray) -> list[int]:
    """Add the point whose nearest chosen one is farthest, in units of each objective's range."""
    span = np.ptp(points, axis=0)
    span[span == 0] = 1.0
    scaled = points / span
    distances = np.linalg.norm(scaled[:, None] - scaled, axis=2)
    order = [max(range(len(points)), key=lambda i: (points[i][0], -i))]
    while len(order) < len(points):
        left = [i for i in range(len(points)) if i not in order]
        order.append(max(left, key=lambda i: (distances[i, order].min(), -i)))
    return order


def ordered(points: np.ndarray) -> list[int]:
    """Front by front, each spread out; a front's number is the longest chain of better points."""
    beaten = (points >= points[:, None]).all(-1) & (points > points[:, None]).any(-1)
    fronts = np.zeros(len(points), dtype=int)
    for place in np.argsort(beaten.sum(1), kind="stable"):  # a better point is beaten less often
        fronts[place] = (fronts[beaten[place]] + 1).max(initial=0)
    members = [np.flatnonzero(fronts == number) for number in range(fronts.max() + 1)]
    return [int(one) for some in members for one in some[spread(points[some])]]


def rung_of(*vectors: tuple[float, ...], reduction: int = 2) -> Rung:
    rung = Rung(reduction)
    for vector in vectors:
        rung.take(vector)
    return rung


@pytest.mark.parametrize("digits", [1, 2, 6])
@pytest.mark.parametrize("objectives", [2, 3])
@pytest.mark.parametrize("reduction", [2, 3, 4])
def test_several_objectives_go_on_among_the_first_of_their_order(
    reduction: int, objectives: int, digits: int
) -> None:
    points = np.random.default_rng(0).random((60, objectives)).round(digits)
    rung = Rung(reduction)
    for count, point in enumerate(points, 1):
        place = ordered(points[:count]).index(count - 1)
        assert rung.take(point.tolist()) == (place <= count / reduction)


def front(count: int, *, seed: int = 0) -> np.ndarray:
    """Points ``(count, 3)`` of which none beats another."""
    points = np.random.default_rng(seed).random((count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_a_long_front_is_judged_by_its_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all stand on one front a trial must be spread out enough among the newest twenty."""
    monkeypatch.setattr(halving, "MOST_RIVALS", 20)
    read = []

    def counting(points: np.ndarray, count: int) -> np.ndarray:
        read.append(len(points))
        return epsilon_net(points, count)

    monkeypatch.setattr(halving, "epsilon_net", counting)
    points, rung, went_on = front(200), Rung(4), []
    for count, point in enumerate(points, 1):
        newest = points[:count][-20:]
        place = spread(newest).index(len(newest) - 1)
        went_on.append(rung.take(point.tolist()))
        assert went_on[-1] == (place <= len(newest) / 4)
    assert max(read) == 20
    assert 0.2 < np.mean(went_on) < 0.35


@pytest.mark.parametrize("seed", range(30))
def test_net_is_that_of_its_definition(seed: int) -> None:
    points = front(int(np.random.default_rng(seed).integers(1, 25)), seed=seed)
    if seed % 3 == 0:  # many equal points and distances, which are exact
        points = np.random.default_rng(seed).integers(0, 3, (12, 3)) * 0.5
    expected = spread(points)
    for count in range(1, len(points) + 1):
        assert epsilon_net(points, count).tolist() == expected[:count]


def test_units_and_the_order_of_points_do_not_matter_to_a_net() -> None:
    points = front(12)
    order = epsilon_net(points, 12)
    np.testing.assert_array_equal(epsilon_net(points * [1.0, 1024.0, 0.25], 12), order)
    shuffle = np.random.default_rng(0).permutation(12)
    np.testing.assert_array_equal(shuffle[epsilon_net(points[shuffle], 12)], order)


def test_ends_of_a_front_come_before_its_middle() -> None:
    points = [[0.0, 1.0], [0.5, 0.6], [0.55, 0.5], [1.0, 0.0]]
    assert epsilon_net(points, 2).tolist() == [3, 0]


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


ROBUST = StudyObjective("segmentation/robust/miou")
CLEAN = StudyObjective("segmentation/clean/miou")
ERROR = StudyObjective("depth/robust/abs_rel", "minimize")
NUMPY = (
    *((np, name) for name in ("argmax", "asarray", "quantile", "unique", "where")),
    (np.linalg, "norm"),
)


def trial(number: int, *rows: dict[str, float] | None, **changes: Any) -> TrialResult:
    """A trial under way; an epoch without numbers measured nothing robust."""
    epochs = tuple(EpochRow(n, row or {}, 1.0, 1) for n, row in enumerate(rows, 1))
    record = TrialResult(
        number=number, label="x", role="searched", config={}, parameters={},
        main_task="segmentation", auxiliary_tasks=(), output_dimension=1, status="interrupted",
        epochs=epochs, planned_epochs=9,
    )  # fmt: skip
    return replace(record, **changes)


def scored(number: int, *values: float, objective: StudyObjective = ROBUST) -> TrialResult:
    return trial(number, *({objective.metric: value} for value in values))


def test_rungs_stand_below_the_last_epoch() -> None:
    assert rung_epochs(1, 3, 9) == (1, 3)
    assert rung_epochs(2, 2, 6) == (2, 4)
    assert rung_epochs(6, 2, 6) == ()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("reduction", [2, 3, 4])
def test_one_objective_goes_on_at_or_above_the_quantile_of_those_before(
    sign: int, reduction: int
) -> None:
    objective = ROBUST if sign == 1 else ERROR
    halving = Halving([objective], [1], reduction=reduction)
    generator = np.random.default_rng(reduction)
    before: list[float] = []
    for number, value in enumerate(generator.random(40).round(2)):
        stopped = halving.take(scored(number, value, objective=objective))
        gain = sign * float(value)
        cutoff = np.percentile(before, (1 - 1 / reduction) * 100) if before else -np.inf
        assert (stopped is None) == (gain >= cutoff)
        before.append(gain)


def test_rung_takes_the_first_measurement_from_its_epoch_on() -> None:
    record = trial(0, None, {ROBUST.metric: 0.2, CLEAN.metric: 0.4}, {ROBUST.metric: 0.3})
    assert rung_values(record, [ROBUST], 1) == (0.2,)
    assert rung_values(record, [ROBUST, CLEAN], 2) == (0.2, 0.4)
    assert rung_values(record, [ROBUST, CLEAN], 3) is None


def test_final_values_are_no_rung_values() -> None:
    record = replace(scored(0, *[0.1] * 9), epochs=scored(0, *[0.1] * 9).epochs[8:])
    assert rung_values(record, [ROBUST], 1) is None


def test_baselines_neither_stop_nor_count() -> None:
    halving = Halving([ROBUST], [1], reduction=2)
    assert halving.take(replace(scored(0, 0.9), role="baseline")) is None
    assert halving.take(scored(1, 0.1)) is None
    assert list(halving.recorded[1]) == [1]


def test_trial_is_judged_once_at_a_rung() -> None:
    halving = Halving([ROBUST], [1, 3], reduction=2)
    assert halving.take(scored(0, 0.9)) is None
    assert halving.take(scored(1, 0.1)) == 1
    assert halving.take(scored(1, 0.1, 0.1)) is None, "it was told already"
    assert halving.take(scored(0, 0.9, 0.9, 0.9)) is None
    assert halving.recorded[3] == {0: (0.9,)}


@pytest.mark.parametrize("cut", range(1, 12))
@pytest.mark.parametrize("objectives", [[ROBUST], [ROBUST, CLEAN]])
def test_rebuilt_rungs_stand_where_the_session_left_them(
    cut: int, objectives: Sequence[StudyObjective]
) -> None:
    generator = np.random.default_rng(1)
    rows = generator.random((12, 5, 2)).round(2)
    records = [
        trial(n, *({ROBUST.metric: a, CLEAN.metric: b} for a, b in rows[n])) for n in range(12)
    ]
    whole = Halving(objectives, [1, 3], reduction=2)
    told = [whole.take(record) for record in records]
    again = Halving(objectives, [1, 3], reduction=2, records=records[:cut])
    assert [again.take(record) for record in records[cut:]] == told[cut:]
    assert again.recorded == whole.recorded


@pytest.mark.parametrize("objectives", [[ROBUST], [ROBUST, CLEAN]])
def test_decisions_do_not_cost_the_square_of_the_trials(
    objectives: Sequence[StudyObjective], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts lines of Python run and numbers given to numpy; all trials stand on one front."""
    work = [0]

    def counted(function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            work[0] += sum(np.size(argument) for argument in arguments)
            return function(*arguments, **options)

        return call

    def trace(*_: object) -> Any:
        work[0] += 1
        return trace

    def at_a_rung(number: int) -> TrialResult:
        angle = 1.5 * (number * 0.618 % 1)
        return trial(number, {ROBUST.metric: math.cos(angle), CLEAN.metric: math.sin(angle)})

    def cost(trials: int) -> int:
        others = [at_a_rung(number) for number in range(trials)]
        halving = Halving(objectives, [1], reduction=2, records=others)
        work[0], before = 0, sys.gettrace()
        sys.settrace(trace)
        halving.take(at_a_rung(trials))
        sys.settrace(before)
        return work[0]

    for module, name in NUMPY:
        monkeypatch.setattr(module, name, counted(getattr(module, name)))
    assert cost(800) < 6 * cost(200), "the square would be 16 times"
