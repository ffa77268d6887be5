"""Rank correlations against counted pairs: of rungs with the end, of stand-ins with the real."""

import itertools
import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.study.agreement import (
    LEAST_PAIRS,
    LEAST_TRIALS,
    agreement_line,
    agreement_text,
    final_spread,
    full_length_trials,
    kendall,
    measured_epochs,
    proxy_agreement,
    proxy_pairs,
    rung_agreements,
    spearman,
)
from taskgroup.study.objectives import StudyObjective


def naive_ranks(values: list[float]) -> list[float]:
    """One plus the smaller values, and half of the other equal ones."""
    return [
        1 + sum(other < value for other in values) + (values.count(value) - 1) / 2
        for value in values
    ]


def test_every_order_of_five_agrees_with_the_textbook_formula() -> None:
    for order in itertools.permutations(range(5)):
        squares = sum((rank - index) ** 2 for index, rank in enumerate(order))
        assert spearman(range(5), order).value == pytest.approx(1 - 6 * squares / (5 * 24))


@pytest.mark.parametrize("seed", range(20))
def test_ties_share_their_mean_rank(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 4, size=(2, 9)).astype(float)
    found = spearman(first, second).value
    ranks = np.corrcoef(naive_ranks(list(first)), naive_ranks(list(second)))[0, 1]
    assert found == pytest.approx(ranks)
    assert found == pytest.approx(spearmanr(first, second).statistic)


def test_only_the_order_counts() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 12))
    assert spearman(np.exp(first), second**3) == spearman(first, second)
    assert spearman(-first, second).value == pytest.approx(-spearman(first, second).value)


def test_unmeasured_pairs_are_left_out() -> None:
    nan = float("nan")
    first, second = [1, 2, 3, nan, 5, 6, 7], [2, 1, 3, 4, nan, 6, 7]
    assert spearman(first, second) == spearman([1, 2, 3, 6, 7], [2, 1, 3, 6, 7])
    assert spearman(first, second).pairs == 5


@pytest.mark.parametrize(
    ("first", "second"), [([], []), ([1], [2]), ([1, 2, 3], [4, 4, 4]), ([2, 2], [1, 2])]
)
def test_without_an_order_there_is_no_correlation(first: list[float], second: list[float]) -> None:
    found = spearman(first, second)
    assert np.isnan([found.value, found.low, found.high]).all()
    assert found.pairs == len(first)


def test_too_few_pairs_have_no_interval() -> None:
    for count in range(2, LEAST_PAIRS):
        found = spearman(range(count), range(count))
        assert found.value == pytest.approx(1)
        assert np.isnan([found.low, found.high]).all()
    five = spearman(range(5), [0, 1, 2, 4, 3])
    assert -1 <= five.low < five.value < five.high <= 1


def test_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    truth = 6 / np.pi * np.arcsin(0.7 / 2)  # of a normal pair with correlation 0.7

    def holds(sample: NDArray[np.float64]) -> bool:
        found = spearman(*sample)
        return found.low <= truth <= found.high

    cholesky = np.linalg.cholesky([[1, 0.7], [0.7, 1]])
    held = [holds(cholesky @ rng.normal(size=(2, 12))) for _ in range(1000)]
    assert 0.92 < np.mean(held) < 0.98


ROBUST = StudyObjective("segmentation/robust/miou")


def trial(number: int, *scores: float) -> TrialResult:
    rows = tuple(EpochRow(n, {ROBUST.metric: s}, 1.0, 1) for n, s in enumerate(scores, 1))
    return TrialResult(
        number=number, label="x", role="searched", config={"adversary": {"attack": "pgd"}},
        parameters={}, main_task="segmentation", auxiliary_tasks=(), output_dimension=1,
        status="complete", epochs=rows, planned_epochs=len(scores),
    )  # fmt: skip


def counted_trial(number: int, score: float, images: int | None) -> TrialResult:
    fidelity = {"epochs": 1.0, **({"validation_images": float(images)} if images else {})}
    return replace(trial(number, score), fidelity=fidelity)


def test_final_scores_are_compared_with_the_chance_of_their_images() -> None:
    """Two standard errors of a difference of two shares around 0.3 on 128 images: 11.5 points."""
    scores = [0.30, 0.29, 0.25, 0.2, 0.15, 0.05]
    found = final_spread([counted_trial(n, s, 128) for n, s in enumerate(scores)], ROBUST)
    assert found is not None
    error = math.sqrt(0.3 * 0.7 / 128)
    assert found.noise == pytest.approx(error)
    assert found.spread == pytest.approx(np.std(scores, ddof=1))
    naive = [abs(0.3 - s) <= 2 * math.sqrt((0.21 + s * (1 - s)) / 128) for s in scores]
    assert found.tied == sum(naive) == 4
    assert "on 128 images; the best 4 cannot be told apart" in found.text
    many = final_spread([counted_trial(n, s, 10**6) for n, s in enumerate(scores)], ROBUST)
    assert many is not None
    assert many.text.endswith("on 1000000 images; the best one stands out")
    few = final_spread([counted_trial(n, s, None) for n, s in enumerate([0.3] * 4)], ROBUST)
    assert few is not None
    assert few.text.endswith("on 100 images (taken to be as many); they cannot be told apart")


def test_too_few_trials_have_no_spread() -> None:
    trials = [counted_trial(n, 0.1 * n, 64) for n in range(3)]
    assert final_spread(trials, ROBUST) is None
    nan = counted_trial(3, math.nan, 64)
    others = [replace(one, stage="confirm") for one in trials]
    assert final_spread([*trials, nan, *others], ROBUST) is None


def test_smaller_errors_are_better() -> None:
    error = StudyObjective("segmentation/robust/miou", "minimize")
    found = final_spread([counted_trial(n, 0.1 + 0.1 * n, 10**4) for n in range(4)], error)
    assert found is not None
    assert found.noise == pytest.approx(math.sqrt(0.1 * 0.9 / 10**4))


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


OBJECTIVE = StudyObjective("segmentation/robust/miou")


def study(proxy: list[float], real: dict[int, float]) -> list[TrialResult]:
    """Stand-ins by number, and the real trials of some of them behind."""
    base = TrialResult(
        number=0, label="", role="searched", config={}, parameters={}, main_task="segmentation",
        auxiliary_tasks=(), output_dimension=1, status="complete", stage="proxy",
    )  # fmt: skip

    def measured(number: int, score: float, **changes: object) -> TrialResult:
        rows = (EpochRow(1, {OBJECTIVE.metric: score}, 1.0, 0),)
        return replace(base, number=number, epochs=rows, **changes)  # type: ignore[arg-type]

    stand_ins = [measured(number, score) for number, score in enumerate(proxy)]
    promoted = [
        measured(len(proxy) + index, score, stage="search", parent=parent)
        for index, (parent, score) in enumerate(real.items())
    ]
    return stand_ins + promoted


def test_pairs_join_a_trial_to_its_stand_in() -> None:
    trials = study([0.1, 0.2, 0.3], {2: 0.6, 0: 0.5})
    assert [(proxy.number, real.number) for proxy, real in proxy_pairs(trials)] == [(2, 3), (0, 4)]
    unfinished = [replace(t, status="interrupted") if t.number == 3 else t for t in trials]
    assert [real.number for _, real in proxy_pairs(unfinished)] == [4]
    assert proxy_pairs(study([0.1], {})) == []


def test_same_order_agrees_fully_whatever_the_scores() -> None:
    trials = study([0.1, 0.3, 0.2, 0.5, 0.4], {
        0: 1.0, 1: 3.0, 2: 2.0, 3: 9.0, 4: 8.0,
    })  # fmt: skip
    found = proxy_agreement(trials, OBJECTIVE)
    assert found.value == pytest.approx(1)
    assert found.pairs == 5
    worse_is_better = StudyObjective(OBJECTIVE.metric, "minimize")
    assert proxy_agreement(trials, worse_is_better).value == pytest.approx(1)


def test_few_pairs_say_so() -> None:
    assert agreement_text(proxy_agreement(study([0.1, 0.2], {0: 1.0, 1: 2.0}), OBJECTIVE)) == (
        "Spearman 1.00 over 2 trials, too few for an interval"
    )
    nothing = proxy_agreement([], OBJECTIVE)
    assert np.isnan(nothing.value)
    assert agreement_text(nothing).startswith("not known: too few trials measured in both (0)")
