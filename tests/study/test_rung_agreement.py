"""Whether early values foretell final ones, against counted pairs."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.rung_agreement import (
    LEAST_TRIALS,
    agreement_line,
    full_length_trials,
    kendall,
    measured_epochs,
    rung_agreements,
)

ROBUST = StudyObjective("segmentation/robust/miou")


def trial(number: int, *scores: float) -> TrialResult:
    rows = tuple(EpochRow(n, {ROBUST.metric: s}, 1.0, 1) for n, s in enumerate(scores, 1))
    return TrialResult(
        number=number, label="x", role="searched", config={"adversary": {"attack": "pgd"}},
        parameters={}, main_task="segmentation", auxiliary_tasks=(), output_dimension=1,
        status="complete", epochs=rows, planned_epochs=len(scores),
    )  # fmt: skip


def test_agreeing_and_reversed_orders() -> None:
    trials = [trial(n, n, 10 - n, 2 * n) for n in range(5)]
    one, two = rung_agreements(trials, [ROBUST], [1, 2])
    assert (one.spearman.value, one.kendall) == pytest.approx((1.0, 1.0))
    assert (one.trials, one.is_low) == (5, False)
    assert (two.spearman.value, two.kendall) == pytest.approx((-1.0, -1.0))
    assert two.is_low
    assert agreement_line(two).endswith("Kendall \N{MINUS SIGN}1.00 over 5 trials (low)")


def test_only_full_length_trials_of_one_kind_count() -> None:
    trials = [trial(n, n, n) for n in range(LEAST_TRIALS)]
    natural = replace(trial(9, 9, 0), config={}, role="baseline")
    others = [replace(trial(8, 8, 0), status="pruned"), replace(trial(7, 7, 0), stage="proxy")]
    assert full_length_trials([*trials, natural, *others]) == trials
    (found,) = rung_agreements([*trials, natural, *others], [ROBUST], [1])
    assert found.trials == LEAST_TRIALS
    assert rung_agreements(trials[1:], [ROBUST], [1]) == ()


def test_rung_that_nobody_measured_has_no_correlation() -> None:
    trials = [trial(n, n, n) for n in range(6)]
    assert rung_agreements(trials, [ROBUST], [2]) == (), "its values would be the final ones"
    assert measured_epochs(trials, [ROBUST]) == (1,)


def test_all_equal_values_say_nothing() -> None:
    (found,) = rung_agreements([trial(n, 1.0, n) for n in range(6)], [ROBUST], [1])
    assert np.isnan(found.spearman.value)
    assert np.isnan(found.kendall)
    assert not found.is_low


@pytest.mark.parametrize("seed", range(10))
def test_kendall_counts_pairs(seed: int) -> None:
    first, second = np.random.default_rng(seed).permuted(np.tile(np.arange(8.0), (2, 1)), axis=1)
    pairs = list(combinations(range(8), 2))
    agreeing = sum((first[i] - first[j]) * (second[i] - second[j]) > 0 for i, j in pairs)
    assert kendall(first, second) == pytest.approx(2 * agreeing / len(pairs) - 1)
