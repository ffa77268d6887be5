"""How long a search may take: ``search.max_seconds``, earlier sessions included."""

import time
from collections.abc import Callable, Iterable
from datetime import datetime

from taskgroup.results.records import TrialResult


class TimeBudget:
    """Wall clock that is left to a search.

    Attributes:
        seconds: The whole budget; None is no limit.
        why: What is said of a trial that is stopped because nothing is left.
    """

    def __init__(
        self,
        seconds: float | None = None,
        *,
        spent: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to count.

        Args:
            seconds: The whole budget; None is no limit.
            spent: What earlier sessions took.
            clock: Seconds since any moment; a clock that never jumps.
        """
        self.seconds = seconds
        self._clock = clock
        self._begin = clock() - spent
        self._is_cut = False
        self.why = "search.max_seconds was over"

    @property
    def left(self) -> float | None:
        """Seconds left, at least 0; None without a limit."""
        if self.seconds is None:
            return None
        return max(0.0, self.seconds - (self._clock() - self._begin))

    @property
    def is_over(self) -> bool:
        """Whether nothing is left."""
        return self._is_cut or self.left == 0

    def cut(self, why: str) -> None:
        """Leave nothing: the search must end early, and ``why``."""
        self._is_cut, self.why = True, why


def busy_seconds(trials: Iterable[TrialResult]) -> float:
    """Wall clock during which at least one trial ran, all sessions together.

    Taken from the records, which survive whatever ended a session. A trial that was interrupted and
    resumed counts as one stretch from its first begin.

    Args:
        trials: All trials of a run.
    """
    stretches = sorted(_stretch(trial) for trial in trials if trial.started)
    total, reached = 0.0, float("-inf")
    for begin, end in stretches:
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def _stretch(trial: TrialResult) -> tuple[float, float]:
    """Begin and end of a trial, in seconds since 1970."""
    begin = datetime.fromisoformat(trial.started).timestamp()
    return begin, begin + trial.seconds
