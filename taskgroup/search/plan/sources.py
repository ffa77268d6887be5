"""Where the trials of a stage come from: a study that learns from them, or a list made before."""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count
from typing import Protocol

from taskgroup.config import parse
from taskgroup.results.records import TrialResult
from taskgroup.study.objectives import StudyObjective
from taskgroup.training.config import TrialConfig


class TrialSource(Protocol):
    """Hands out trials one by one and hears how each of them ended."""

    def ask(self) -> TrialResult | None:
        """The next trial to run; None when there is no more."""

    def tell(self, record: TrialResult) -> TrialResult:
        """Hear how a trial ended.

        Returns:
            The record to keep: a complete trial without a finite value of every objective failed.
        """


class StageSource(TrialSource, Protocol):
    """The trials of a whole stage."""

    @property
    def total(self) -> int:
        """How many there are when it is done, those of earlier sessions included."""


class PlannedTrials:
    """Hands out records that were planned before, in their order; learns nothing.

    Attributes:
        total: How many there are, those that have ended included.
    """

    def __init__(
        self, records: Sequence[TrialResult], objectives: Sequence[StudyObjective]
    ) -> None:
        """Take a list.

        Args:
            records: Trials; those that have not ended are handed out.
            objectives: What every complete trial must have measured.
        """
        self.total = len(records)
        self._waiting = deque(record for record in records if record.status == "interrupted")
        self._objectives = tuple(objectives)

    def ask(self) -> TrialResult | None:
        """The next record; None after the last."""
        return self._waiting.popleft() if self._waiting else None

    def tell(self, record: TrialResult) -> TrialResult:
        """The record to keep: one that lacks a finite value of an objective failed."""
        return fail_unless_finite(record, self._objectives)


def renumbered(
    planned: Iterable[TrialResult], records: Sequence[TrialResult], *, first_number: int
) -> list[TrialResult]:
    """What stands for planned trials: the record where one was begun, else the plan, numbered.

    Args:
        planned: Trials, whatever their numbers; of two with the same stage and configuration the
            first counts.
        records: Every trial of the run.
        first_number: Number of the first trial that has no record.
    """
    known = {_identity(record): record for record in reversed(records)}
    free = count(first_number)
    found: dict[tuple[str, str], TrialResult] = {}
    for plan in planned:
        key = _identity(plan)
        if key not in found:
            found[key] = known[key] if key in known else replace(plan, number=next(free))
    return list(found.values())


def _identity(record: TrialResult) -> tuple[str, str]:
    """Stage and configuration; defaults that an older version did not write are filled in."""
    return record.stage, parse(TrialConfig, record.config).model_dump_json()


def fail_unless_finite(record: TrialResult, objectives: Sequence[StudyObjective]) -> TrialResult:
    """The record, failed if it is complete but lacks a finite value of an objective."""
    for objective in objectives:
        value = objective.value(record)
        if record.status == "complete" and not math.isfinite(value):
            reason = f"{objective.metric} must be finite, got {value}"
            return replace(record, status="failed", reason=reason)
    return record
