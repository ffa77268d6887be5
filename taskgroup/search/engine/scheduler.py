"""Stops trials: those behind at a rung, and all of them once the study's time is over."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from taskgroup.results.records import TrialResult
from taskgroup.search.engine.budget import TimeBudget
from taskgroup.search.engine.recording import has_given_up
from taskgroup.search.engine.searcher import RECORD
from taskgroup.search.plan.planning import from_text, last_epoch
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.study.agreement import random_rungs
from taskgroup.study.halving import Halving
from taskgroup.wording import counted


class StudyScheduler(FIFOScheduler):
    """Runs trials in their order, stops some, and keeps the reasons.

    With one objective its rungs are Ray's ASHA without brackets, with several they are MO-ASHA,
    which Ray lacks. A trial that reached its last epoch is complete and never stopped.

    Attributes:
        stopped: The records of stopped trials, with status and reason, by number.
    """

    def __init__(self, halving: Halving | None, budget: TimeBudget, reduction: int) -> None:
        """Set up.

        Args:
            halving: The rungs; None stops nobody early.
            budget: The study's time.
            reduction: For the reason: at a rung the best 1 / reduction continue.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._halving = halving
        self._complete: dict[int, TrialResult] = {}
        self._budget = budget
        self._reduction = reduction
        self.stopped: dict[int, TrialResult] = {}

    def learn(self, records: Iterable[TrialResult]) -> None:
        """Hear of the trials of earlier sessions, which say whether rungs can be trusted."""
        self._complete |= {r.number: r for r in records if r.status == "complete"}

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Decide whether a trial continues after an epoch."""
        record = from_text(result[RECORD])
        if has_given_up(record):
            return str(TrialScheduler.CONTINUE)
        rung = None if self._halving is None else self._rung(self._halving, record)
        stopped = self._stopped(record, rung) if record.status == "interrupted" else None
        if stopped is None:
            return str(TrialScheduler.CONTINUE)
        self.stopped[record.number] = stopped
        return str(TrialScheduler.STOP)

    def _rung(self, halving: Halving, record: TrialResult) -> int | None:
        """The rung at which a trial should stop, unless complete trials show it to be random."""
        if record.status == "complete":
            self._complete[record.number] = record
        rung = halving.take(record)
        if rung is None:
            return None
        known = self._complete.values()
        is_random = random_rungs(known, halving.objectives, (rung,), stage=record.stage)
        return None if is_random else rung

    def _stopped(self, record: TrialResult, rung: int | None) -> TrialResult | None:
        """The record of a trial that must stop, with the reason."""
        of_all = f"of {record.planned_epochs}"
        if rung is not None:
            reason = f"not in the best 1/{self._reduction} at the rung of epoch {rung} {of_all}"
            return replace(record, status="pruned", reason=reason)
        if self._budget.is_over:
            reason = f"{self._budget.why} after epoch {last_epoch(record)} {of_all}"
            return replace(record, reason=reason)
        return None

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: rungs are rebuilt from the records, never from Ray's files."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing, for the same reason."""

    def debug_string(self) -> str:
        """One line for Ray's own status."""
        return f"{counted(len(self.stopped), 'trial')} stopped"


def build_scheduler(
    space: SearchSpace, *, budget: TimeBudget, records: Sequence[TrialResult] = ()
) -> StudyScheduler:
    """The scheduler that a space's ``search:`` section names.

    Args:
        space: What is searched.
        budget: The study's time.
        records: Trials of earlier sessions, of the same stage, which count at their rungs.
    """
    if space.search.scheduler == "none":
        return StudyScheduler(None, budget, space.search.reduction)
    halving = Halving(
        space.objectives, space.rungs, reduction=space.search.reduction, records=records
    )
    scheduler = StudyScheduler(halving, budget, space.search.reduction)
    scheduler.learn(records)
    return scheduler
