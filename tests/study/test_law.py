"""The law of output dimension: recovered where it holds, exact for random subsets."""

from itertools import combinations

import numpy as np
import pytest

from taskgroup.study.law import Law, fit_law

OUTPUTS = [1, 2, 4, 8, 64]


def squares_of(scale, correlation, outputs=OUTPUTS):
    count = np.asarray(outputs, dtype=float)
    return scale**2 * (1 + (count - 1) * correlation) / count


@pytest.mark.parametrize("correlation", [-0.01, 0.0, 0.013, 0.5, 1.0])
@pytest.mark.parametrize("scale", [1e-4, 3.0])
def test_a_curve_on_the_law_is_recovered(scale, correlation):
    law = fit_law(OUTPUTS, [squares_of(scale, correlation)])
    assert law.scale == pytest.approx(scale, rel=1e-9)
    assert law.correlation == pytest.approx(correlation, abs=1e-9)
    assert law.at(OUTPUTS) ** 2 == pytest.approx(squares_of(scale, correlation), rel=1e-9)


def test_mean_squares_of_all_subsets_obey_the_law_exactly():
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(6, 5)) * rng.uniform(0.1, 3, size=(6, 1)) + rng.normal(size=5)
    squares = [
        np.mean([(gradients[list(s)].mean(0) ** 2).sum() for s in combinations(range(6), size)])
        for size in range(1, 7)
    ]
    law = fit_law(range(1, 7), [squares])
    inner = gradients @ gradients.T
    mean_square = np.trace(inner) / 6
    between = (inner.sum() - np.trace(inner)) / 30
    assert law.scale**2 == pytest.approx(mean_square, rel=1e-9)
    assert law.correlation == pytest.approx(between / mean_square, rel=1e-9)
    assert law.at(range(1, 7)) ** 2 == pytest.approx(squares, rel=1e-9)


def test_images_with_fewer_outputs_count_where_they_have_them():
    whole = squares_of(2.0, 0.1)
    short = np.where(np.array(OUTPUTS) > 4, np.nan, whole)
    law = fit_law(OUTPUTS, [whole, short, whole])
    assert law.correlation == pytest.approx(0.1)
    assert law.interval.low == pytest.approx(0.1, abs=1e-6)
    assert law.interval.high == pytest.approx(0.1, abs=1e-6)


def test_the_interval_is_over_images_and_seeded():
    rng = np.random.default_rng(1)
    images = np.stack([squares_of(1.0, c) for c in rng.uniform(0.05, 0.4, 40)])
    law = fit_law(OUTPUTS, images, seed=3)
    assert law.interval.low < law.correlation < law.interval.high
    assert law == fit_law(OUTPUTS, images, seed=3)
    fewer = fit_law(OUTPUTS, images[:5], seed=3)
    assert fewer.interval.high - fewer.interval.low > law.interval.high - law.interval.low


@pytest.mark.parametrize(
    ("outputs", "squares"),
    [([4], [[1.0]]), ([1, 2], [[1.0, np.nan]]), ([1, 2], [[0.0, 0.0]]), ([1, 2], [[np.nan] * 2])],
)
def test_too_little_gives_nan(outputs, squares):
    law = fit_law(outputs, squares)
    assert np.isnan(law.correlation)
    assert np.isnan(law.interval.low)


def test_a_curve_that_rises_is_kept_at_one():
    assert fit_law([1, 2, 4], [[1.0, 1.5, 2.0]]).correlation == 1


def test_the_law_at_its_ends():
    assert Law(2.0, 1.0, (0, 1)).at([1, 100]).tolist() == [2.0, 2.0]
    assert Law(2.0, 0.0, (0, 1)).at([1, 100]) == pytest.approx([2.0, 0.2])
