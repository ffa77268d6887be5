"""Where the trials of a stage come from: a study that learns from them, or a list made before."""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from taskgroup.results.records import TrialResult
from taskgroup.study.objectives import StudyObjective


class TrialSource(Protocol):
    """Hands out trials one by one and hears how each of them ended."""

    def ask(self) -> TrialResult | None:
        """The next trial to run; None when there is no more."""

    def tell(self, record: TrialResult) -> TrialResult:
        """Hear how a trial ended.

        Returns:
            The record to keep: a complete trial without a finite value of every objective failed.
        """


class PlannedTrials:
    """Hands out records that were planned before, in their order; learns nothing."""

    def __init__(
        self, records: Iterable[TrialResult], objectives: Sequence[StudyObjective]
    ) -> None:
        """Take a list.

        Args:
            records: Trials that have not ended; one that was begun goes on.
            objectives: What every complete trial must have measured.
        """
        self._waiting = deque(records)
        self._objectives = tuple(objectives)

    def ask(self) -> TrialResult | None:
        """The next record; None after the last."""
        return self._waiting.popleft() if self._waiting else None

    def tell(self, record: TrialResult) -> TrialResult:
        """The record to keep: one that lacks a finite value of an objective failed."""
        return judged(record, self._objectives)


def judged(record: TrialResult, objectives: Sequence[StudyObjective]) -> TrialResult:
    """The record, failed if it is complete but lacks a finite value of an objective."""
    for objective in objectives:
        value = objective.value(record)
        if record.status == "complete" and not math.isfinite(value):
            reason = f"{objective.metric} must be finite, got {value}"
            return replace(record, status="failed", reason=reason)
    return record
