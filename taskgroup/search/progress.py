"""How far a search is: what the live table, the log lines and the summary are made of."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from taskgroup.results.records import TrialResult
from taskgroup.search.planning import last_epoch
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.selection import select_best


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
    """

    def __init__(
        self,
        name: str,
        *,
        total: int,
        epochs: int,
        objectives: Sequence[StudyObjective],
        robust: str,
        records: Sequence[TrialResult] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.total = total
        self.epochs = epochs
        self.objectives = objectives
        self.robust = robust
        self.clean = robust.replace("/robust/", "/clean/")
        self.records: dict[int, TrialResult] = {record.number: record for record in records}
        self._clock = clock
        self._begin = clock()
        self._first_epoch: float | None = None
        self._epochs_before = self._epochs_done()

    def update(self, record: TrialResult) -> None:
        """Take in a newer version of a record."""
        self.records[record.number] = record
        if self._first_epoch is None and self._epochs_done() > self._epochs_before:
            # Ray's start is no part of what the remaining epochs will take.
            self._first_epoch = self._clock() - (record.epochs[-1].seconds if record.epochs else 0)

    @property
    def best(self) -> TrialResult | None:
        """The best complete trial so far."""
        return select_best(self.records.values(), self.objectives)

    @property
    def num_ended(self) -> int:
        """Trials that are complete, pruned or failed."""
        return sum(record.status != "interrupted" for record in self.records.values())

    @property
    def seconds(self) -> float:
        """Time since this session began."""
        return self._clock() - self._begin

    def eta(self) -> float | None:
        """Seconds left if the remaining epochs take as long as those so far; None before any."""
        if self._first_epoch is None:
            return None
        done = self._epochs_done()
        left = max(0, self.total * self.epochs - done)
        return (self._clock() - self._first_epoch) * left / (done - self._epochs_before)

    def _epochs_done(self) -> int:
        """Epochs run, those that that ended trials will never run included."""
        return sum(
            last_epoch(record) if record.status == "interrupted" else self.epochs
            for record in self.records.values()
        )


def status_text(record: TrialResult) -> str:
    """A record's status as a reader sees it while the search runs."""
    if record.status != "interrupted":
        return record.status
    return "running" if record.epochs else "starting"


def parameter_text(parameters: Mapping[str, Any]) -> str:
    """The drawn values but for the task set, which stands elsewhere.

    Example:
        >>> parameter_text({"adversary.epsilon": 4 / 255, "loss_weights.depth": 0.123456})
        'epsilon 4/255, depth 0.123'
    """
    return ", ".join(
        f"{key.rpartition('.')[2]} {value_text(key, value)}"
        for key, value in parameters.items()
        if not key.startswith("auxiliary_tasks")
    )


def value_text(key: str, value: object) -> str:
    """A value as a reader would write it: radii in 255ths, numbers with three digits."""
    if not isinstance(value, float):
        return str(value)
    if key.endswith(("epsilon", "step_size")) and value * 255 <= 64:
        return f"{value * 255:.3g}/255"
    return f"{value:.3g}"


def score_text(value: float | None) -> str:
    """A score with three decimals, or a dash."""
    return "-" if value is None else f"{value:.3f}"


def duration_text(seconds: float) -> str:
    """A duration in its two largest units.

    Example:
        >>> duration_text(75), duration_text(7.25)
        ('1 min 15 s', '7.2 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
