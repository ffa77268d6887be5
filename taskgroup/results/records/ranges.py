"""Which numbers a column of a record may hold, so that one that cannot be is never taken for one.

Only what nothing of ours can write is refused. A score may be any number, for a metric may be that
of a plugin, and NaN where nothing was measured; a count, a radius or a duration may not.
"""

import sys
from dataclasses import dataclass

from taskgroup.errors import DataError

LARGEST = sys.float_info.max
ROUNDING = 1e-3
"""By how much rounding may take a share or a cosine past its end."""


@dataclass(frozen=True)
class Range:
    """Finite numbers from ``least`` to ``most``; part of an annotation.

    Attributes:
        least: The smallest.
        most: The largest.
    """

    least: float = -LARGEST
    most: float = LARGEST

    def __contains__(self, value: float) -> bool:
        return self.least <= value <= self.most

    def __str__(self) -> str:
        """What must hold, as the part of a sentence."""
        return f"be {self.least:g} or more" if self.most == LARGEST else f"lie in {self._ends}"

    @property
    def _ends(self) -> str:
        return f"[{self.least:g}, {self.most:g}]"


UNIT = Range(-ROUNDING, 1 + ROUNDING)
SIGNED_UNIT = Range(-1 - ROUNDING, 1 + ROUNDING)


def check_interval(low: float, high: float) -> None:
    """Check that an interval has its ends in order; NaN is none.

    Raises:
        DataError: ``low`` is above ``high``.
    """
    if low > high + ROUNDING * abs(high):
        raise DataError(f"low must not be above high, but is {low:g} with high {high:g}")
