"""Whether two measurements put the same trials into the same order."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, rankdata

from taskgroup.wording import format_decimals, interval

LEAST_PAIRS = 5
"""Pairs below which an interval says nothing."""


class RankCorrelation(NamedTuple):
    """Spearman's rank correlation.

    Attributes:
        value: Between -1 and 1; NaN where one side has fewer than two different values.
        low: Lower end of its interval; NaN below ``LEAST_PAIRS`` pairs.
        high: Upper end.
        pairs: Pairs that were measured on both sides.
    """

    value: float
    low: float
    high: float
    pairs: int

    @property
    def text(self) -> str:
        """The correlation in words, with its interval where there is one.

        Example:
            >>> RankCorrelation(0.9, 0.31, 0.99, 6).text.split(" (")[0]
            'Spearman 0.90'
        """
        value = f"Spearman {format_decimals(self.value)}"
        if self.low != self.low:
            return value
        ends = interval(format_decimals(self.low), format_decimals(self.high))
        return f"{value} (95 % interval {ends})"


def spearman(first: ArrayLike, second: ArrayLike, *, level: float = 0.95) -> RankCorrelation:
    """Spearman's rank correlation of pairs; equal values share their mean rank.

    The interval is Fisher's, on the scale of artanh, with the standard error of Bonett and Wright,
    "Sample size requirements for estimating Pearson, Kendall and Spearman correlations" (2000):
    sqrt((1 + r^2 / 2) / (n - 3)).

    Args:
        first: Values ``(n,)``.
        second: Values of the same things, ``(n,)``; a pair with a NaN is left out.
        level: Confidence of the interval.

    Example:
        >>> spearman([1, 2, 3], [10, 30, 20])
        RankCorrelation(value=0.5, low=nan, high=nan, pairs=3)
    """
    sides = np.stack([np.asarray(side, dtype=np.float64).ravel() for side in (first, second)])
    sides = sides[:, ~np.isnan(sides).any(axis=0)]
    count = sides.shape[1]
    if count < 2 or np.any(np.ptp(sides, axis=1) == 0):
        return RankCorrelation(float("nan"), float("nan"), float("nan"), count)
    ranks = rankdata(sides, axis=1)
    value = float(np.clip(np.corrcoef(ranks[0], ranks[1])[0][1], -1, 1))
    if count < LEAST_PAIRS:
        return RankCorrelation(value, float("nan"), float("nan"), count)
    reach = norm.ppf((1 + level) / 2) * np.sqrt((1 + value**2 / 2) / (count - 3))
    centre = np.arctanh(np.clip(value, -1 + 1e-12, 1 - 1e-12))
    low, high = np.tanh([centre - reach, centre + reach])
    return RankCorrelation(value, float(low), float(high), count)
