"""Means over seeds, and how far chance reaches: over seeds, over images, and over comparisons.

Networks of several seeds are scored on the same images. Another draw of seeds would give another
mean, and so would another draw of images, however many seeds there are. Both are estimated from
what each image contributes under each seed (derived in ``docs/evaluation.md``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import stdtrit
from scipy.stats import t

from taskgroup.wording import is_share, metric_parts

MIN_SEEDS = 3
MIN_IMAGES = 30
ASSUMED_IMAGES = 100
"""Images that a score is taken to be measured on where the record does not tell."""
LEVEL = 0.95
"""Confidence of an interval; what is left over is the chance of a false verdict."""
NO_SPREAD = 1e-12
"""Numbers closer than this are equal up to rounding."""
SMALLEST_CHANCE = 1e-12
LARGEST_EXPONENT = 50.0
NAN = float("nan")
_ANGLES, _ERRORS = {"angular_error"}, {"abs_rel", "rmse", "mae"}


class MeanInterval(NamedTuple):
    """A mean over seeds and its interval; NaN ends where there is none, all NaN without a seed.

    ``images`` are those whose chance the interval covers; 0 where it covers seeds alone.
    """

    mean: float
    low: float
    high: float
    seeds: int
    images: int = 0


def score_range(metric: str) -> tuple[float, float]:
    """The smallest and the largest value that a score can have.

    Example:
        >>> score_range("segmentation/robust/miou"), score_range("depth/clean/rmse")
        ((0.0, 1.0), (0.0, inf))
    """
    score = metric_parts(metric)[2]
    if is_share(score):
        return 0.0, 1.0
    if score in _ANGLES:
        return 0.0, 180.0
    return (0.0 if score in _ERRORS else -np.inf), np.inf


def chance_gap(metric: str, scores: Sequence[float], images: float) -> float:
    """By how much two scores of one seed each may differ because of the images alone.

    Two standard errors of the difference, each score taken to vary over images as a share of its
    size does or, for an error, by as much as it is. Seeds make more; only a confirm stage knows.

    Args:
        metric: Name of the score.
        scores: The two scores.
        images: Images that each is measured on.

    Example:
        >>> round(chance_gap("segmentation/robust/miou", [0.3, 0.31], 256), 3)
        0.081
    """
    squares = [s * max(1 - s, 0.0) if is_share(metric) else s**2 for s in scores]
    return float(2 * np.sqrt(sum(squares) / images))


def t_interval(
    values: ArrayLike, *, limits: tuple[float, float] = (-np.inf, np.inf), level: float = LEVEL
) -> MeanInterval:
    """Mean with Student's t interval over seeds alone, NaN left out.

    With three to ten seeds a bootstrap is too narrow; t is right where seeds scatter like a normal
    variable. It says nothing about other images.

    Args:
        values: One score per seed, ``(n,)``.
        limits: Range of the values, which an interval does not leave.
        level: Confidence of the interval.

    Example:
        >>> [round(float(x), 3) for x in t_interval([1.0, 2.0, 3.0])[:4]]
        [2.0, -0.484, 4.484, 3.0]
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if known.size == 0:
        return MeanInterval(NAN, NAN, NAN, 0)
    mean = float(known.mean())
    if known.size == 1:
        return MeanInterval(mean, NAN, NAN, 1)
    error = known.std(ddof=1) / np.sqrt(known.size)
    reach = float(t.ppf((1 + level) / 2, known.size - 1) * error)
    low, high = max(mean - reach, limits[0]), min(mean + reach, limits[1])
    return MeanInterval(mean, low, high, int(known.size))


@dataclass(frozen=True)
class SeedMean:
    """A mean over seeds with both sources of its chance.

    Attributes:
        mean: The mean; NaN without a seed.
        seeds: Seeds that were measured.
        images: Images whose contributions are known under every seed.
        seed_error: Standard error that comes from the seeds; NaN below two.
        image_error: Standard error that comes from the images; NaN below two.
    """

    mean: float = NAN
    seeds: int = 0
    images: int = 0
    seed_error: float = NAN
    image_error: float = NAN

    @property
    def is_enough(self) -> bool:
        """Whether there are as many seeds and images as an interval needs."""
        return self.seeds >= MIN_SEEDS and self.images >= MIN_IMAGES

    @property
    def has_interval(self) -> bool:
        """Whether chance can be estimated: what does not vary says nothing about it."""
        return self.is_enough and self.seed_error > 0 and self.image_error > 0

    def reach(self, chance: float) -> float:
        """Half the width of the interval that misses the truth with this chance.

        The squares of the reaches over seeds and over images add, each by Student's t with its own
        degrees of freedom. That is wider than Welch's approximation, which covers too little where
        two degrees of freedom meet hundreds.
        """
        return float(np.hypot(self._seed_reach(chance), self._image_reach(chance)))

    def chance(self) -> float:
        """Chance of a mean this far from 0 if the truth is 0: where the interval touches it."""
        if not self.has_interval:
            return NAN
        distance = abs(self.mean)
        if self.reach(SMALLEST_CHANCE) <= distance:
            return SMALLEST_CHANCE
        found = brentq(lambda chance: self.reach(chance) - distance, SMALLEST_CHANCE, 1.0)
        return float(found)

    def difference_interval(self, metric: str) -> MeanInterval:
        """The interval of a difference of scores, which is no larger than their range."""
        if not self.has_interval:
            return self._without_interval()
        low, high = score_range(metric)
        reach, widest = self.reach(1 - LEVEL), high - low
        ends = max(self.mean - reach, -widest), min(self.mean + reach, widest)
        return MeanInterval(self.mean, *ends, self.seeds, self.images)

    def score_interval(self, metric: str) -> MeanInterval:
        """The interval of a score, whose spread shrinks towards the ends of its range.

        In a finite range the images' variance is taken to follow p (1 - p), as in Wilson's
        interval; above a lower end it is taken to follow the distance from it, on a log scale.
        """
        if not self.has_interval:
            return self._without_interval()
        low, high = score_range(metric)
        reach = self.reach(1 - LEVEL)
        ends = self.mean - reach, self.mean + reach
        if np.isfinite(high) and low < self.mean < high:
            ends = self._within(low, high)
        elif np.isfinite(low) and self.mean > low:
            factor = float(np.exp(min(reach / (self.mean - low), LARGEST_EXPONENT)))
            ends = low + (self.mean - low) / factor, low + (self.mean - low) * factor
        return MeanInterval(
            self.mean, max(ends[0], low), min(ends[1], high), self.seeds, self.images
        )

    def _within(self, low: float, high: float) -> tuple[float, float]:
        """Every p with (mean - p)^2 <= seeds' reach^2 + images' reach^2 p(1-p) / mean(1-mean).

        Near an end a few rare images decide, so one more of them is added to what varies.
        """
        width = high - low
        share = (self.mean - low) / width
        one_more = abs(2 * share - 1) / self.images
        image_error = float(np.hypot(self.image_error / width, one_more))
        seeds = self._seed_reach(1 - LEVEL) / width
        images = replace(self, image_error=image_error)._image_reach(1 - LEVEL)
        slope = images**2 / (share * (1 - share))
        middle = (2 * share + slope) / (2 * (1 + slope))
        half = np.sqrt(middle**2 - (share**2 - seeds**2) / (1 + slope))
        return low + width * float(middle - half), low + width * float(middle + half)

    def _seed_reach(self, chance: float) -> float:
        return float(-stdtrit(self.seeds - 1, chance / 2) * self.seed_error)

    def _image_reach(self, chance: float) -> float:
        return float(-stdtrit(self.images - 1, chance / 2) * self.image_error)

    def _without_interval(self) -> MeanInterval:
        return MeanInterval(self.mean, NAN, NAN, self.seeds, self.images)


def seed_mean(values: ArrayLike, influences: Sequence[ArrayLike]) -> SeedMean:
    """The mean of a score, or of a difference of scores, over seeds that share their images.

    Args:
        values: One score of the data set per seed, ``(S,)``; NaN is left out.
        influences: Per seed what each image contributes to the score, ``(N,)`` as of
            ``jackknife_influences``; empty where that is not known.
    """
    scores = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(scores)
    by_image = _image_means(
        [np.asarray(own) for own, is_known in zip(influences, known, strict=True) if is_known]
    )
    scores = scores[known]
    if scores.size == 0:
        return SeedMean()
    return SeedMean(
        mean=float(scores.mean()),
        seeds=int(scores.size),
        images=int(by_image.size),
        seed_error=_standard_error(scores),
        image_error=_standard_error(by_image),
    )


def _image_means(influences: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Mean over seeds of every image; empty where they were not scored on the same images."""
    if len({len(own) for own in influences}) != 1:
        return np.empty(0)
    means: NDArray[np.float64] = np.mean(influences, 0)
    return means


def _standard_error(values: NDArray[np.float64]) -> float:
    """Standard error of a mean; exactly 0 where the values are equal up to rounding."""
    if values.size < 2:
        return NAN
    if np.ptp(values) <= NO_SPREAD:
        return 0.0
    return float(values.std(ddof=1) / np.sqrt(values.size))


def holm(chances: Sequence[float]) -> list[float]:
    """Chances of several comparisons, raised so that one false find among all is as unlikely.

    Holm's step-down (1979): the smallest of m is multiplied by m, the next by m - 1, and so on. NaN
    stands for a comparison that was not made.

    Example:
        >>> holm([0.01, 0.04, 0.03, float("nan")])
        [0.03, 0.06, 0.06, nan]
    """
    order = sorted((p, place) for place, p in enumerate(chances) if p == p)
    raised = [NAN] * len(chances)
    largest = 0.0
    for rank, (chance, place) in enumerate(order):
        largest = max(largest, min(1.0, chance * (len(order) - rank)))
        raised[place] = largest
    return raised
