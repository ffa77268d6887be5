"""Ray Tune's view of a study: a thin adapter that also writes the records the driver decides on."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ray.tune.search import Searcher

from taskgroup.errors import ResourceError, StorageError
from taskgroup.results.records import TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.engine.budget import TimeBudget
from taskgroup.search.engine.recording import has_given_up
from taskgroup.search.plan.planning import from_text, last_epoch, to_text
from taskgroup.search.plan.sources import TrialSource

RECORD = "record"
"""Key under which a trial's record travels, as text, to and from the worker."""

_DIED = "killed, out of memory, or its machine was lost"


class StudySearcher(Searcher):
    """Hands a source's trials to Ray Tune and tells the source, truthfully, how they ended.

    Attributes:
        problem: Why records or checkpoints cannot be written. No trial is handed out after that,
            and those that run stop after their epoch.
    """

    def __init__(
        self,
        source: TrialSource,
        run: RunDirectory,
        on_change: Callable[[TrialResult], None],
        *,
        remaining: int,
        max_retries: int = 0,
        budget: TimeBudget | None = None,
        stopped: Mapping[int, TrialResult] = MappingProxyType({}),
    ) -> None:
        """Adapt a source.

        Args:
            source: Where trials come from.
            run: Where records lie.
            on_change: Hears of every trial that is planned, measured or ended.
            remaining: Trials to take from the source.
            max_retries: How often a trial whose worker or node was lost is begun again.
            budget: The study's time; no trial begins once it is over.
            stopped: Records of trials that the scheduler stopped, by number; it adds to them.
        """
        super().__init__(metric="epoch", mode="max")
        self._source = source
        self._run = run
        self._on_change = on_change
        self._remaining = remaining
        self._max_retries = max_retries
        self._budget = budget or TimeBudget()
        self._records: dict[str, TrialResult] = {}
        self._lost: deque[TrialResult] = deque()
        self._losses: Counter[int] = Counter()
        self._why_lost: dict[str, str] = {}
        self._stopped = stopped
        self.problem: ResourceError | None = None

    def why_lost(self, trial_id: str, reason: str) -> None:
        """Learn why the worker of a trial is about to be lost."""
        self._why_lost[trial_id] = reason

    def suggest(self, trial_id: str) -> Any:
        """The next trial's record as text; the end when there is none and none can come back."""
        if self._budget.is_over:
            return Searcher.FINISHED
        with self._guarded():
            record = self._next()
            if record is not None:
                self._run.write_trial(record)
                self._records[trial_id] = record
                self._on_change(record)
                return {RECORD: to_text(record)}
        return None if self._records and not self.problem else Searcher.FINISHED

    def _next(self) -> TrialResult | None:
        if self._lost:
            return self._lost.popleft()
        record = self._source.ask() if self._remaining > 0 else None
        self._remaining = 0 if record is None else self._remaining - 1
        return record

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Remember what the worker wrote."""
        self._update(trial_id, result)
        self._on_change(self._records[trial_id])

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Decide how the trial ended: as its worker said, stopped by the scheduler, or killed."""
        self._update(trial_id, result)
        record = self._records.pop(trial_id)
        why = self._why_lost.pop(trial_id, _DIED)
        if error and record.status not in ("complete", "failed"):
            self._losses[record.number] += 1
            losses = self._losses[record.number]
            # A worker that was lost before its first report could not count its attempt.
            record = replace(record, attempts=max(record.attempts, losses))
            if losses <= self._max_retries:
                self._lost.append(record)
                return
        with self._guarded():
            if not error and record.number not in self._stopped and has_given_up(record):
                self._end(StorageError(record.reason or ""))
            ended = _lost(record, why) if error else self._stopped.get(record.number)
            told = self._source.tell(_ended(record, ended))
            if told != record or told.status == "failed":
                self._run.write_trial(told)
            self._on_change(told)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Keep a full disk from breaking Ray's loop; the first problem ends the search."""
        try:
            yield
        except ResourceError as error:
            self._end(error)

    def _end(self, problem: ResourceError) -> None:
        self.problem = self.problem or problem
        self._budget.cut("the run directory could not be written: stopped")

    def _update(self, trial_id: str, result: Mapping[str, Any] | None) -> None:
        if result is not None and RECORD in result:
            self._records[trial_id] = from_text(result[RECORD])

    def save(self, checkpoint_path: str) -> None:
        """Write nothing of use: a study is rebuilt from the records, never from Ray's files."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing, for the same reason."""

    def __reduce__(self) -> tuple[type[Searcher], tuple[()]]:
        """Ray pickles its searcher; an empty one will do."""
        return Searcher, ()


def _lost(record: TrialResult, why: str) -> TrialResult:
    """A record whose worker was lost once too often."""
    epoch = last_epoch(record)
    reason = f"the worker process died after epoch {epoch} ({why}); attempt {record.attempts}"
    return replace(record, status="failed", reason=reason)


def _ended(record: TrialResult, otherwise: TrialResult | None) -> TrialResult:
    """What the worker said if it ended the trial itself, else what the driver decided."""
    if record.status in ("complete", "failed") or otherwise is None:
        return record
    return replace(record, status=otherwise.status, reason=otherwise.reason)
