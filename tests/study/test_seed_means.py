"""Means over seeds that share their images: intervals, chances, corrections for comparisons."""

import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_1samp

from taskgroup.study.intervals import jackknife_influences
from taskgroup.study.seed_means import SeedMean, holm, score_range, seed_mean, t_interval

MIOU, RMSE = "segmentation/robust/miou", "depth/robust/rmse"


@pytest.mark.parametrize("size", [2, 3, 10])
def test_interval_is_where_a_t_test_cannot_refuse(size: int) -> None:
    values = np.random.default_rng(size).normal(0.3, 0.05, size)
    found = t_interval(values)
    for end in (found.low, found.high):
        assert ttest_1samp(values, end).pvalue == pytest.approx(0.05)
    assert found.mean == pytest.approx(values.mean())


def test_interval_of_three_seeds_holds_the_mean_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    found = [t_interval(rng.normal(0.4, 0.1, 3)) for _ in range(2000)]
    assert np.mean([f.low <= 0.4 <= f.high for f in found]) == pytest.approx(0.95, abs=0.015)


def test_interval_of_almost_nothing() -> None:
    assert np.isnan(t_interval([])[:3]).tolist() == [True, True, True]
    found = t_interval([0.25, float("nan")])
    assert (found.mean, found.seeds) == (0.25, 1)
    assert np.isnan([found.low, found.high]).all()


def test_interval_stays_in_the_range_of_the_score() -> None:
    found = t_interval([0.1, 0.9], limits=score_range(MIOU))
    assert (found.low, found.high) == (0.0, 1.0)


def measured(seed_error: float, image_error: float, mean: float = 0.1) -> SeedMean:
    return SeedMean(mean, 3, 64, seed_error, image_error)


def test_squares_of_the_reaches_over_seeds_and_images_add() -> None:
    reach = measured(0.03, 0.04).reach(0.05)
    seeds, images = (student.ppf(0.975, df) for df in (2, 63))
    assert reach == pytest.approx(np.hypot(0.03 * seeds, 0.04 * images))


def test_chance_is_where_the_interval_touches_zero() -> None:
    for mean in (0.1, -0.5, 1e-3):
        found = measured(0.03, 0.04, mean)
        assert found.reach(found.chance()) == pytest.approx(abs(mean), rel=1e-6)
    assert measured(0.03, 0.04, 0.0).chance() == pytest.approx(1.0)
    assert measured(1e-15, 1e-15).chance() <= 1e-12
    assert np.isnan(measured(0.0, 0.04).chance())


@pytest.mark.parametrize("mean", [-0.99, -0.5, 0.0, 0.9])
def test_difference_is_no_larger_than_the_range(mean: float) -> None:
    found = measured(0.5, 0.1, mean).difference_interval(MIOU)
    assert -1.0 <= found.low <= mean <= found.high <= 1.0
    assert measured(0.5, 0.1, mean).difference_interval(RMSE).high > 1.0


@pytest.mark.parametrize("metric", [MIOU, RMSE, "normals/clean/angular_error", "x/clean/y"])
@pytest.mark.parametrize("mean", [1e-6, 0.02, 0.5, 0.98, 1 - 1e-6])
def test_score_stays_in_its_range_and_inside_its_interval(metric: str, mean: float) -> None:
    for errors in ((0.001, 0.05), (0.1, 0.001), (0.5, 0.5)):
        found = measured(*errors, mean).score_interval(metric)
        low, high = score_range(metric)
        assert low <= found.low < mean < found.high <= high


def test_far_from_its_ends_a_share_has_the_plain_interval() -> None:
    found = measured(0.001, 0.002, 0.5)
    low, high = found.score_interval(MIOU)[1:3]
    assert (low, high) == pytest.approx(
        (0.5 - found.reach(0.05), 0.5 + found.reach(0.05)), abs=1e-5
    )


@pytest.mark.parametrize(("seeds", "images"), [(2, 64), (3, 29), (1, 1), (0, 0)])
def test_too_few_seeds_or_images_give_no_interval(seeds: int, images: int) -> None:
    rng = np.random.default_rng(0)
    found = seed_mean(rng.random(seeds), list(rng.random((seeds, images))))
    assert (found.seeds, found.images) == (seeds, images if seeds else 0)
    for interval in (found.difference_interval(MIOU), found.score_interval(MIOU)):
        assert np.isnan([interval.low, interval.high]).all()


def test_what_does_not_vary_gives_no_interval() -> None:
    rng = np.random.default_rng(0)
    images = list(rng.random((3, 64)))
    assert not seed_mean([0.1 + 0.2, 0.3, 0.3], images).has_interval, "equal up to rounding"
    assert not seed_mean([0.1, 0.2, 0.3], [np.ones(64)] * 3).has_interval
    assert seed_mean([0.1, 0.2, 0.3], images).has_interval


def test_only_seeds_on_the_same_images_say_anything_about_images() -> None:
    images = np.random.default_rng(0).random((3, 40))
    assert seed_mean([0.1, 0.2, 0.3], list(images)).images == 40
    assert seed_mean([0.1, 0.2, 0.3], [images[0], images[1], np.empty(0)]).images == 0
    assert seed_mean([0.1, 0.2, float("nan")], [*images[:2], np.empty(0)]).images == 40


def test_holm_is_between_nothing_and_bonferroni() -> None:
    chances = np.random.default_rng(1).random(7) ** 3
    raised = np.array(holm(list(chances)))
    assert (chances <= raised).all()
    assert (raised <= np.minimum(1, 7 * chances) + 1e-12).all()
    assert raised.min() == pytest.approx(7 * chances.min())
    assert holm([0.02]) == [0.02]


def test_influences_of_a_mean_are_deviations_and_of_a_ratio_nearly_sum_to_zero() -> None:
    rng = np.random.default_rng(2)
    sums = np.stack([rng.random(50), np.ones(50)], 1)
    found = jackknife_influences(sums, lambda s: s[:, 0] / s[:, 1])
    assert found == pytest.approx(sums[:, 0] - sums[:, 0].mean())
    sums[:, 1] = rng.integers(1, 9, 50)
    ratio = jackknife_influences(sums, lambda s: s[:, 0] / s[:, 1])
    plain = (sums[:, 0] - sums[:, 0].sum() / sums[:, 1].sum() * sums[:, 1]) / sums[:, 1].mean()
    assert ratio == pytest.approx(plain, rel=0.1, abs=1e-3)
