"""How a mean over many outputs depends on their number: the law of output dimension, fitted.

With gradients ``r_i`` of equal mean square ``a^2`` and common correlation ``c`` the gradient of the
mean over ``M`` of them has

    root mean square = a sqrt((1 + (M - 1) c) / M)

(Mao et al., "Multitask Learning Strengthens Adversarial Robustness", 2020, arXiv:2007.07236). For
random subsets of one image's outputs the squares obey it exactly, with ``a^2`` the mean square and
``a^2 c`` the mean inner product of two different gradients; so they do for a mean over images.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgroup.study.intervals import Interval, percentile_interval

Floats = NDArray[np.float64]


class Law(NamedTuple):
    """A fitted curve.

    Attributes:
        scale: ``a``, the root mean square at one output.
        correlation: ``c``; 0 falls like ``1 / sqrt(M)``, 1 does not fall. NaN with fewer than two
            different numbers of outputs.
        interval: Bootstrap interval of ``c`` over images.
    """

    scale: float
    correlation: float
    interval: Interval

    def at(self, outputs: ArrayLike) -> Floats:
        """Root mean square of the gradient of the mean over ``outputs`` outputs."""
        count = np.asarray(outputs, dtype=np.float64)
        inside = np.maximum((1 + (count - 1) * self.correlation) / count, 0.0)
        return np.asarray(self.scale * np.sqrt(inside))


def fit_law(
    outputs: ArrayLike,
    squares: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = 500,
    level: float = 0.95,
) -> Law:
    """Fit the law to mean squares.

    The square of the law is linear in ``1 / M``, so that least squares of relative errors has a
    closed form. ``c`` is kept between -1 / (largest M - 1), below which the square is negative, and
    1.

    Args:
        outputs: Numbers of outputs ``M``, ``(K,)``.
        squares: Per image the mean square at each of them, ``(N, K)``; NaN where not measured.
        seed: Seed of the resamples.
        resamples: Resamples of the images behind the interval.
        level: Share of the resamples inside.

    Example:
        >>> law = fit_law([1, 2, 4, 8], [[1.0, 0.6, 0.4, 0.3]])
        >>> round(law.scale, 6), round(law.correlation, 6)
        (1.0, 0.2)
    """
    counts = np.asarray(outputs, dtype=np.float64)
    values = np.atleast_2d(np.asarray(squares, dtype=np.float64))
    weights = np.ones((1, len(values)))
    scale, correlation = (float(found[0]) for found in _fit(counts, _means(values, weights)))
    rng = np.random.default_rng(seed)
    share = np.full(len(values), 1 / len(values))
    drawn = rng.multinomial(len(values), share, size=resamples).astype(np.float64)
    interval = percentile_interval(_fit(counts, _means(values, drawn))[1], level=level)
    return Law(scale, correlation, interval)


def _means(values: Floats, weights: Floats) -> Floats:
    """Weighted means over the images that were measured, ``(R, K)``; NaN where none was."""
    known = ~np.isnan(values)
    total = weights @ known
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((weights @ np.where(known, values, 0.0)) / total)


def _fit(counts: Floats, squares: Floats) -> tuple[Floats, Floats]:
    """Scale and correlation of each row of mean squares ``(R, K)``."""
    usable = np.isfinite(squares) & (squares > 0)
    constant = np.where(usable, 1 / np.where(usable, squares, 1.0), 0.0)
    falling = constant / counts
    aa, ab, bb = (falling**2).sum(1), (falling * constant).sum(1), (constant**2).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        floor = constant.sum(1) * aa - falling.sum(1) * ab
        correlation = floor / (falling.sum(1) * bb - constant.sum(1) * ab + floor)
    correlation = np.clip(correlation, -1 / max(counts.max(initial=2) - 1, 1), 1)
    relative = constant * (1 + (counts - 1) * correlation[:, None]) / counts
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.sqrt(relative.sum(1) / (relative**2).sum(1))
    is_known = np.array([len(np.unique(counts[row])) > 1 for row in usable])
    return np.where(is_known, scale, np.nan), np.where(is_known, correlation, np.nan)
