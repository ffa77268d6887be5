"""Spearman's rank correlation and its interval."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from taskgroup.study.rank_correlation import LEAST_PAIRS, spearman


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
