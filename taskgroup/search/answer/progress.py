"""How far a search is: what the live table, the log lines and the summary are made of."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from taskgroup.results.records import Stage, TrialResult
from taskgroup.search.plan.planning import last_epoch
from taskgroup.study.agreement import RungAgreement, rung_agreements
from taskgroup.study.configurations import configuration_of, configurations, mean_value
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.selection import rank_trials, study_limits


class Progress:
    """The records of a search under way.

    Attributes:
        name: Name of the study.
        total: Trials of the whole study.
        epochs: Epochs of a full-length trial.
        objectives: What is optimised; the first decides what is best.
        robust: Metric of the robust score column.
        clean: Metric of the clean score column.
        records: The latest record of each trial, by number.
        max_clean_drop: What the best trial may give up of the clean score; None without a limit.
        rungs: Epochs after which trials are compared; empty where none is stopped.
        best: The best complete trial so far, within the constraint once that is known.
        best_value: Its first objective, the mean over the seeds of its configuration.
    """

    best: TrialResult | None
    best_value: float

    def __init__(
        self,
        name: str,
        *,
        total: int,
        epochs: int,
        objectives: Sequence[StudyObjective],
        robust: str,
        records: Sequence[TrialResult] = (),
        max_clean_drop: float | None = None,
        rungs: Sequence[int] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.total = total
        self.epochs = epochs
        self.objectives = objectives
        self.robust = robust
        self.clean = robust.replace("/robust/", "/clean/")
        self.records: dict[int, TrialResult] = {record.number: record for record in records}
        self.max_clean_drop = max_clean_drop
        self.rungs = tuple(rungs)
        self._agreements: tuple[RungAgreement, ...] = ()
        self._next_agreement = 0
        self._clock = clock
        self._begin = clock()
        self._first_epoch: float | None = None
        # What follows from all records is kept up to date by each, so that a search of thousands
        # of trials does not look at all of them for every one.
        self._seeds = {record.seed for record in self.records.values()}
        self._statuses = Counter(record.status for record in self.records.values())
        self._epochs_done = sum(self._epochs_of(record) for record in self.records.values())
        self._epochs_before = self._epochs_done
        self._rank_all()

    def update(self, record: TrialResult) -> None:
        """Take in a newer version of a record."""
        before = self.records.get(record.number)
        self.records[record.number] = record
        if before is not None:
            self._statuses[before.status] -= 1
            self._epochs_done -= self._epochs_of(before)
        self._statuses[record.status] += 1
        self._epochs_done += self._epochs_of(record)
        self._seeds.add(record.seed)
        self._rank(record)
        if self._first_epoch is None and self._epochs_done > self._epochs_before:
            # Ray's start is no part of what the remaining epochs will take.
            self._first_epoch = self._clock() - (record.epochs[-1].seconds if record.epochs else 0)

    def _rank(self, record: TrialResult) -> None:
        """See whether a record is the best now."""
        best = self.best
        is_best = best is not None and best.number == record.number
        if record.role == "baseline" or is_best or self._adds_a_seed(record):
            self._rank_all()  # baselines set the limits, and seeds are compared by their mean
        elif ranked := rank_trials(
            [record] if best is None else [best, record], self.objectives, limits=self._limits
        ):
            self.best = ranked[0]
            if ranked[0] is record:
                self.best_value = self.objectives[0].value(record)

    def _adds_a_seed(self, record: TrialResult) -> bool:
        return record.status == "complete" and len(self._seeds) > 1

    def _rank_all(self) -> None:
        records = self.records.values()
        drop, stage = self.max_clean_drop, self.stage
        self._limits = study_limits(records, self.objectives, drop, stage=stage)
        ranked = rank_trials(records, self.objectives, limits=self._limits)
        self.best = ranked[0] if ranked else None
        self.best_value = float("nan")
        if self.best is not None:
            groups = configurations(records) if len(self._seeds) > 1 else ()
            self.best_value = mean_value(configuration_of(self.best, groups), self.objectives[0])

    @property
    def stage(self) -> Stage:
        """The stage that all records belong to."""
        return next((record.stage for record in self.records.values()), "search")

    @property
    def agreements(self) -> tuple[RungAgreement, ...]:
        """How well each rung predicts the end; computed again once a tenth more trials are done."""
        complete = self._statuses["complete"]
        if self.rungs and complete >= self._next_agreement:
            self._agreements = rung_agreements(
                self.records.values(), self.objectives, self.rungs, stage=self.stage
            )
            self._next_agreement = complete + 1 + complete // 10
        return self._agreements

    @property
    def num_ended(self) -> int:
        """Trials that are complete, pruned or failed."""
        return len(self.records) - self._statuses["interrupted"]

    @property
    def seconds(self) -> float:
        """Time since this session began."""
        return self._clock() - self._begin

    def eta(self) -> float | None:
        """Seconds left if the remaining epochs take as long as those so far; None before any."""
        if self._first_epoch is None:
            return None
        done = self._epochs_done
        left = max(0, self.total * self.epochs - done)
        return (self._clock() - self._first_epoch) * left / (done - self._epochs_before)

    def _epochs_of(self, record: TrialResult) -> int:
        """Epochs that a trial has run, or that it will never run because it ended."""
        return last_epoch(record) if record.status == "interrupted" else self.epochs


def status_text(record: TrialResult) -> str:
    """A record's status as a reader sees it while the search runs."""
    if record.status != "interrupted":
        return record.status
    return "running" if record.epochs else "starting"
