"""Bootstrap intervals of data-set scores, from the sums of each image.

A data-set score is a function of sums that add over images, so a resample of the images is a
weighted sum of rows: one matrix product for all resamples and all scores.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

BLOCK = 2**22
"""Most entries of the matrix of image counts that is held at once."""


class Interval(NamedTuple):
    """Ends of an interval; NaN where there was nothing to measure."""

    low: float
    high: float


def bootstrap_sums(sums: ArrayLike, *, seed: int, resamples: int = 1000) -> NDArray[np.float64]:
    """Draw images with replacement and add their sums, many times.

    Equal numbers of images and equal seeds draw equal images: the scores of two models on the same
    images can be compared resample by resample (a paired bootstrap).

    Args:
        sums: Sums of each image, ``(N, S)``.
        seed: Seed of the draws.
        resamples: Number of resamples ``R``.

    Returns:
        Shape ``(R, S)``.
    """
    values = np.asarray(sums, dtype=np.float64)
    count = len(values)
    if count == 0:
        return np.zeros((resamples, values.shape[1]))
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK // count)
    share = np.full(count, 1 / count)
    rows = [
        rng.multinomial(count, share, size=min(block, resamples - start)) @ values
        for start in range(0, resamples, block)
    ]
    return np.concatenate(rows)


def percentile_interval(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """The middle ``level`` of some values, NaN left out.

    Args:
        values: Scores of resamples, ``(R,)``.
        level: Share of the values inside.

    Example:
        >>> percentile_interval([0.0, 1.0, 2.0, 3.0, 4.0], level=0.5)
        Interval(low=1.0, high=3.0)
    """
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[~np.isnan(finite)]
    if finite.size == 0:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def bootstrap_intervals(
    sums: ArrayLike,
    score: Callable[[NDArray[np.float64]], Mapping[str, ArrayLike]],
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Percentile bootstrap intervals over images of every score of a metric.

    Args:
        sums: Sums of each image, ``(N, S)``.
        score: Scores ``(R,)`` by name, of sums ``(R, S)``; for a metric of ours
            ``lambda sums: metric.score(torch.from_numpy(sums))``.
        seed: Seed of the draws.
        resamples: Number of resamples ``R``.
        level: Share of the resamples inside an interval.
    """
    scores = score(bootstrap_sums(sums, seed=seed, resamples=resamples))
    return {name: percentile_interval(values, level=level) for name, values in scores.items()}
