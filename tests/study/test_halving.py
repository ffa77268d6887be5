"""Rungs: what Ray's ASHA and Syne Tune's MO-ASHA do, and what records add to it."""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.study.halving import Halving, rung_epochs, rung_values
from taskgroup.study.objectives import StudyObjective

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
