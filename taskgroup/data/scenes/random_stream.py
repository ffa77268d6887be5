"""A stream of random numbers for one scene, cheap enough to be asked for one number at a time."""

from collections.abc import Sequence

import numpy as np

BLOCK = 256


class Draws:
    """Uniform numbers that depend on ``key`` alone.

    Args:
        key: Non-negative integers; different keys give independent streams.
    """

    def __init__(self, key: Sequence[int]) -> None:
        self._generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence(key)))
        self._block: list[float] = []

    def uniform(self, low: float, high: float) -> float:
        """A number in ``[low, high)``."""
        if not self._block:
            self._block = self._generator.random(BLOCK).tolist()
        return low + (high - low) * self._block.pop()

    def integer(self, count: int) -> int:
        """A whole number in ``[0, count)``."""
        return min(int(self.uniform(0, count)), count - 1)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.uniform(0, 1) < probability
