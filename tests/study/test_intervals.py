import math

import numpy as np
import pytest
import torch

from taskgroup.metrics.confusion import ConfusionMetric
from taskgroup.study.intervals import bootstrap_intervals, bootstrap_sums, percentile_interval


def test_resamples_keep_the_number_of_images_and_the_mean() -> None:
    sums = np.stack([np.ones(50), np.arange(50)], 1)
    drawn = bootstrap_sums(sums, seed=0, resamples=4000)
    assert drawn.shape == (4000, 2)
    assert (drawn[:, 0] == 50).all()
    assert drawn[:, 1].mean() == pytest.approx(sums[:, 1].sum(), rel=0.01)


def test_spread_is_the_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=200)
    means = bootstrap_sums(values[:, None], seed=1, resamples=4000)[:, 0] / 200
    assert means.std() == pytest.approx(values.std() / math.sqrt(200), rel=0.05)


def test_same_seed_same_draws_whatever_is_summed() -> None:
    first = np.random.default_rng(0).random((30, 2))
    both = np.concatenate([first, first + 1], 1)
    np.testing.assert_allclose(
        bootstrap_sums(both, seed=3)[:, :2], bootstrap_sums(first, seed=3), rtol=1e-12
    )
    assert not np.array_equal(bootstrap_sums(first, seed=3), bootstrap_sums(first, seed=4))


def test_blocks_change_nothing_but_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = np.ones((10, 1))
    monkeypatch.setattr("taskgroup.study.intervals.BLOCK", 25)
    assert bootstrap_sums(sums, seed=0, resamples=7).tolist() == [[10.0]] * 7


def test_no_images() -> None:
    assert not bootstrap_sums(np.zeros((0, 3)), seed=0, resamples=5).any()
    result = bootstrap_intervals(
        np.zeros((0, 2)), lambda sums: {"ratio": np.full(len(sums), np.nan)}, seed=0
    )
    assert all(math.isnan(end) for end in result["ratio"])


def test_percentiles_leave_nan_out() -> None:
    assert percentile_interval([*range(101), math.nan], level=0.9) == pytest.approx((5, 95))


@pytest.mark.parametrize("sums", [[[3.0, 4.0]], [[3.0, 4.0]] * 200])
def test_what_does_not_vary_has_no_interval(sums: list[list[float]]) -> None:
    ends = bootstrap_intervals(sums, lambda s: {"ratio": s[:, 0] / s[:, 1]}, seed=0)["ratio"]
    assert all(math.isnan(end) for end in ends)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for seed in range(200):
        votes = rng.random((80, 1)) < 0.7
        sums = np.concatenate([votes, np.ones((80, 1))], 1)
        low, high = bootstrap_intervals(
            sums, lambda drawn: {"share": drawn[:, 0] / drawn[:, 1]}, seed=seed, resamples=300
        )["share"]
        hits += low <= 0.7 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_interval_covers_less_where_few_images_decide() -> None:
    """As the module says; if this fails because more is covered, correct what it says."""
    rng = np.random.default_rng(5)
    hits = 0
    for seed in range(300):
        sums = np.concatenate([rng.lognormal(0, 1, (60, 1)), np.ones((60, 1))], 1)
        low, high = bootstrap_intervals(
            sums, lambda drawn: {"mean": drawn[:, 0] / drawn[:, 1]}, seed=seed, resamples=300
        )["mean"]
        hits += low <= np.exp(0.5) <= high
    assert 0.83 <= hits / 300 <= 0.93


def test_sums_of_a_metric_give_intervals_of_every_score() -> None:
    metric = ConfusionMetric(4)
    prediction, values = torch.randn(20, 4, 8, 8), torch.randint(0, 4, (20, 8, 8))
    sums = metric.per_image(prediction, values, values >= 0)
    intervals = bootstrap_intervals(
        sums.numpy(), lambda drawn: metric.score(torch.from_numpy(drawn)), seed=0
    )
    scores = metric.score(sums.sum(0))
    assert set(intervals) == set(scores)
    for name, (low, high) in intervals.items():
        assert low < scores[name].item() < high
