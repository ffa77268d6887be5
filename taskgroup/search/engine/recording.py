"""Keeps the record of one trial while it trains. Runs without Ray."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Protocol

from taskgroup.config import parse, parse_yaml
from taskgroup.errors import (
    CheckpointError,
    DataError,
    ResourceError,
    StorageError,
    TaskgroupError,
)
from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.results.storage.places import FULL, Place, why_unwritable
from taskgroup.results.storage.single_files import exists
from taskgroup.search.plan.planning import UNFINISHED, last_epoch
from taskgroup.study.objectives import StudyObjective, study_keys
from taskgroup.training.config import TrialConfig
from taskgroup.training.parallel.group import ALONE, WorkerGroup
from taskgroup.training.reporter import Reporter
from taskgroup.training.state import read_rows


class Train(Protocol):
    """Trains one trial; ``taskgroup.training.fit.fit`` is the one that searches use."""

    def __call__(
        self,
        config: TrialConfig,
        reporter: Reporter,
        *,
        checkpoint: Place | None = None,
        resume: Place | None = None,
        group: WorkerGroup = ALONE,
    ) -> None:
        """Train ``config`` and tell ``reporter``; ``group`` comes with several workers only."""


@dataclass
class WorkerClock:
    """When this process last finished a record: the beginning of the next trial's overhead.

    Attributes:
        last_record: Reading of ``time.perf_counter``, or None before the first trial.
    """

    last_record: float | None = None


class TrialRecorder:
    """Tells a run directory, and whoever listens, how one trial goes.

    Attributes:
        record: What is known so far.
    """

    def __init__(
        self,
        run: RunDirectory,
        planned: TrialResult,
        *,
        clock: WorkerClock,
        emit: Callable[[TrialResult], None],
    ) -> None:
        self.record = replace(
            planned,
            versions=package_versions(),
            attempts=planned.attempts + 1,
            reason=UNFINISHED,
        )
        self._run = run
        self._clock = clock
        self._emit = emit
        self._begin = time.perf_counter()
        self._seconds_before = planned.seconds

    def started(self, output_dimension: int) -> None:
        """Note the first batch."""
        self._begin = time.perf_counter()
        last = self._clock.last_record
        self.record = replace(
            self.record,
            output_dimension=output_dimension,
            started=self.record.started or datetime.now(UTC).isoformat(timespec="seconds"),
            overhead_seconds=None if last is None else self._begin - last,
        )

    def epoch(self, row: EpochRow) -> None:
        """Write an epoch; the last one makes the trial complete."""
        epochs = (*(r for r in self.record.epochs if r.epoch < row.epoch), row)
        checkpoint = self._checkpoint_name()
        if checkpoint is not None and is_best(epochs, first_objective(self._run)):
            self._run.keep_best(self.record.number)
        done = row.epoch >= self.record.planned_epochs
        self._write(
            replace(
                self.record,
                epochs=epochs,
                status="complete" if done else "interrupted",
                reason=None if done else UNFINISHED,
                checkpoint=checkpoint,
                peak_memory=max(r.peak_memory for r in epochs),
            )
        )
        self._emit(self.record)

    def restore(self, rows: tuple[EpochRow, ...]) -> None:
        """Take over the epochs that a checkpoint has behind it; none means a fresh start.

        What another version wrote about them stands in the record only, and stays.
        """
        extra = {row.epoch: row.extra for row in self.record.epochs}
        rows = tuple(replace(row, extra={**row.extra, **extra.get(row.epoch, {})}) for row in rows)
        self.record = replace(self.record, epochs=rows[:-1])
        if rows:
            self.epoch(rows[-1])
        else:
            self._seconds_before = 0.0
            if self.record.attempts > 1:
                self._run.drop_best(self.record.number)

    def fail(self, why: str) -> None:
        """Say that the trial failed, and why, in one line; written if the disk allows it."""
        self._end(replace(self.record, status="failed", reason=why))

    def give_up(self, why: str) -> None:
        """Leave the trial to a later search, since its files cannot be written, and say why."""
        self._end(replace(self.record, status="interrupted", reason=why))

    def _end(self, record: TrialResult) -> None:
        with suppress(ResourceError):
            self._write(record)
        self._emit(self.record)

    def _write(self, record: TrialResult) -> None:
        seconds = self._seconds_before + time.perf_counter() - self._begin
        self.record = replace(record, seconds=seconds)
        self._run.write_trial(self.record)
        self._clock.last_record = time.perf_counter()

    def _checkpoint_name(self) -> str | None:
        name = self._run.checkpoint_name(self.record.number)
        return name if self._run.storage.exists(name) else None


def record_trial(
    train: Train,
    run: RunDirectory,
    planned: TrialResult,
    *,
    clock: WorkerClock,
    emit: Callable[[TrialResult], None],
) -> TrialResult:
    """Train a planned trial, or continue it from its checkpoint, and keep its record.

    Args:
        train: Trains one trial.
        run: Where record and checkpoint go.
        planned: The trial's record so far.
        clock: When this process last finished a record; updated.
        emit: Hears of every version of the record after it was written.

    Returns:
        The final record; a failure of the training is in it, with its reason. A trial whose files
        cannot be written has not failed: it is interrupted, see :func:`has_given_up`.
    """
    recorder = TrialRecorder(run, planned, clock=clock, emit=emit)
    try:
        checkpoint = run.checkpoint_path(planned.number)
        resume = _resumable(recorder, checkpoint)
        if recorder.record.status != "complete":
            config = parse(TrialConfig, planned.config)
            try:
                train(config, recorder, checkpoint=checkpoint, resume=resume)
            except CheckpointError:
                recorder.restore(())
                train(config, recorder, checkpoint=checkpoint, resume=None)
    except Exception as error:
        end = recorder.give_up if _is_unwritable(error) else recorder.fail
        end(why_failed(error))
    if recorder.record.status == "interrupted" and not has_given_up(recorder.record):
        recorder.fail(f"training ended after epoch {last_epoch(recorder.record)} without a word")
    return recorder.record


def has_given_up(record: TrialResult) -> bool:
    """Whether a trial that began says that it cannot go on, since its files cannot be written."""
    return record.status == "interrupted" and record.reason != UNFINISHED


def _is_unwritable(error: Exception) -> bool:
    """Whether the disk is to blame; a user's own training may meet the system's own error."""
    is_full = isinstance(error, OSError) and error.errno in FULL
    return is_full or isinstance(error, StorageError)


def _resumable(recorder: TrialRecorder, checkpoint: Place) -> Place | None:
    """The checkpoint to continue from; a damaged one means that the trial starts again."""
    try:
        rows = read_rows(checkpoint) if exists(checkpoint) else ()
    except DataError:
        rows = ()
    recorder.restore(rows)
    return checkpoint if rows else None


def is_best(epochs: Sequence[EpochRow], objective: StudyObjective) -> bool:
    """Whether the last epoch is the best so far; never where it has no finite score."""
    scores = [row.metrics.get(objective.metric, math.nan) for row in epochs]
    gains = [objective.sign * score for score in scores if math.isfinite(score)]
    return math.isfinite(scores[-1]) and gains[-1] == max(gains)


def first_objective(run: RunDirectory) -> StudyObjective:
    """The first objective of a run's space, by which the best epoch is kept."""
    return _first_objective(run.uri)


@lru_cache(maxsize=16)
def _first_objective(uri: str) -> StudyObjective:
    """Read once per process: it never changes during a run."""
    space = parse_yaml(RunDirectory.open(uri).space_text(), source=uri)
    return study_keys(space, source=uri).objectives[0].objective


def why_failed(error: BaseException) -> str:
    """One line for the record: our own errors in their words, others with their type."""
    text = " ".join(str(error).split())[:500]
    if isinstance(error, TaskgroupError):
        return text
    if isinstance(error, OSError) and error.errno in FULL:
        return f"{error.filename or 'a disk'} must be writable: {why_unwritable(error)}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@cache
def package_versions() -> dict[str, str]:
    """Versions of what numbers depend on."""
    found = {"python": python_version()}
    for name in ("taskgroup", "torch", "ray", "optuna", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
