"""A trial with several workers: a Tune actor that waits, and Ray Train's workers that train.

Worker 0 keeps the record and hands every version of it to the driver, which passes it to Tune. It
continues only once Tune wants more. So a trial that the scheduler stops is stopped between two
epochs, as in a one-worker trial, and nobody writes to its record after the decision. (Ray's own
``TuneReportCallback`` lets workers run ahead of Tune's decision.)
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayActorError

from taskgroup.cluster.placement import ResourcesConfig
from taskgroup.cluster.surroundings import Surroundings
from taskgroup.errors import CheckpointError, TaskgroupError
from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.engine.recording import (
    Train,
    WorkerClock,
    has_given_up,
    record_trial,
    why_failed,
)
from taskgroup.search.engine.searcher import RECORD
from taskgroup.search.engine.trainable import report_record
from taskgroup.search.plan.planning import UNFINISHED, from_text, to_text
from taskgroup.training.config import TrialConfig
from taskgroup.training.parallel.group import WorkerGroup, WorkerLost
from taskgroup.training.reporter import Reporter


def run_trial_with_workers(
    config: dict[str, Any],
    *,
    train: Train,
    folder: str,
    surroundings: Surroundings,
    resources: ResourcesConfig,
    scratch: str,
    caretaker: Any,
) -> None:
    """Run one planned trial on its workers; ends by SystemExit when the scheduler stops it.

    Args:
        config: Holds the trial's record as text.
        train: Trains one trial as one worker of a group.
        folder: Absolute path of the run directory.
        surroundings: What the trial takes along from the driver.
        resources: Number of workers and what each takes.
        scratch: Folder for Ray Train's own files.
        caretaker: The search's actor from :func:`start_caretaker`.

    Raises:
        WorkerDied: A worker process died without a word.
    """
    from taskgroup.training.parallel.ray_train import (
        run_workers,  # Ray Train takes seconds to import
    )

    surroundings.enter()
    planned = from_text(config[RECORD])
    gate: Any = ray.remote(num_cpus=0)(_Gate).remote()
    work = partial(
        _work,
        surroundings=surroundings,
        gate=gate,
        planned=planned,
        train=train,
        folder=folder,
    )
    run = partial(
        run_workers,
        work,
        workers=resources.workers,
        cpus=resources.cpus,
        gpus=resources.gpus,
        name=f"trial-{planned.number:05d}-{tune.get_context().get_trial_id()}",
        mark=ray.get(caretaker.watch.remote(gate)),
        scratch=Path(scratch),
    )
    Thread(target=_run_then_close, args=(run, gate), daemon=True).start()
    record, title = replace(planned, reason=UNFINISHED), RunDirectory.open(folder).name
    for record in _heard(gate):
        report_record(record, run=title)
        ray.get(gate.proceed.remote())
    if record.status not in ("complete", "failed") and not has_given_up(record):
        _fail(record, ray.get(gate.first_reason.remote()), folder)


class WorkerDied(RuntimeError):
    """A trial ended because a worker process died; the searcher records it."""


FREE_SECONDS = 30
"""How long the placement group of a trial that died is looked for."""


def start_caretaker() -> Any:
    """Start the actor that frees what a trial's workers hold when the trial's process is gone.

    Ray removes a placement group with the job that made it, not with the trial, and a stopped or
    killed process cannot. Ray Train has an actor per trial for this, which learns of a placement
    group once its workers have begun and asks the dashboard; it leaks processes and cores where
    there is none, where two clusters run on one machine, or where the process dies earlier.
    """
    return ray.remote(num_cpus=0)(_Caretaker).remote()


class _Caretaker:
    """One actor for all trials of a search; its owner is the search."""

    def __init__(self) -> None:
        self._marks = count(1)
        self._watching: set[asyncio.Task[None]] = set()

    async def watch(self, gate: Any) -> int:
        """A mark for the workers that a trial is about to start; they go when its gate does."""
        mark = next(self._marks)
        watch = asyncio.create_task(self._free(gate, mark))
        self._watching.add(watch)
        watch.add_done_callback(self._watching.discard)
        return mark

    async def _free(self, gate: Any, mark: int) -> None:
        tries = FREE_SECONDS
        with suppress(RayActorError):  # the trial's process was stopped or killed: what it asked
            await gate.ended.remote()  # for may still come into being
            tries = 1
        from taskgroup.training.parallel.ray_train import free_workers  # takes seconds

        for _ in range(tries):
            free_workers(mark)
            await asyncio.sleep(1)


class _Gate:
    """An actor between the workers and the driver: one record waits until Tune has taken it."""

    def __init__(self) -> None:
        self._records: asyncio.Queue[tuple[str | None, asyncio.Event]] = asyncio.Queue()
        self._waiting = asyncio.Event()
        self._ended = asyncio.Event()
        self._reason: str | None = None

    async def tell(self, text: str) -> None:
        """Hand a record over and wait until the driver lets the worker continue."""
        taken = asyncio.Event()
        await self._records.put((text, taken))
        await taken.wait()

    async def hear(self) -> str | None:
        """The next record; None when the workers have ended."""
        text, self._waiting = await self._records.get()
        return text

    async def proceed(self) -> None:
        """Let the worker whose record was heard last continue."""
        self._waiting.set()

    async def close(self) -> None:
        """Say that the workers have ended."""
        self._ended.set()
        await self._records.put((None, asyncio.Event()))

    async def ended(self) -> None:
        """Wait until the workers have ended."""
        await self._ended.wait()

    async def give_reason(self, reason: str) -> None:
        """Say why a worker failed; the first one to say so is believed."""
        self._reason = self._reason or reason

    async def first_reason(self) -> str | None:
        """Why the first worker failed that could still say so."""
        return self._reason


def _run_then_close(run: Any, gate: Any) -> None:
    """Run the workers to their end, however they end, and tell the driver."""
    try:
        run()
    except WorkerLost:
        pass  # whoever failed has said why, and whoever died could not
    except Exception as error:
        ray.get(gate.give_reason.remote(why_failed(error)))
    ray.get(gate.close.remote())


def _heard(gate: Any) -> Iterator[TrialResult]:
    """Every version of the record until the workers end."""
    while (text := ray.get(gate.hear.remote())) is not None:
        yield from_text(text)


def _fail(record: TrialResult, reason: str | None, folder: str) -> None:
    """Record why a trial failed whose first worker could not."""
    if reason is None:
        raise WorkerDied("a worker process died (killed, or out of memory)")
    failed = replace(record, status="failed", reason=reason)
    run = RunDirectory.open(folder)
    run.write_trial(failed)
    report_record(failed, run=run.name)


def _work(
    group: WorkerGroup,
    *,
    surroundings: Surroundings,
    gate: Any,
    planned: TrialResult,
    train: Train,
    folder: str,
) -> None:
    """What each worker does: train together, and the first one keeps the record."""
    surroundings.enter()
    if group.is_first:
        _lead(group, gate=gate, planned=planned, train=train, folder=folder)
    else:
        _follow(group, gate=gate, train=train)


def _follow(group: WorkerGroup, *, gate: Any, train: Train) -> None:
    """The other workers' part: train what the first one says, if there is anything to train."""
    config: TrialConfig | None = group.from_first(None)
    if config is None:
        return
    try:
        try:
            train(config, _Silent(), group=group)
        except CheckpointError:  # on every worker alike: the first one starts the trial again
            train(config, _Silent(), group=group)
    except Exception as error:
        ray.get(gate.give_reason.remote(why_failed(error)))
        raise


def _lead(
    group: WorkerGroup, *, gate: Any, planned: TrialResult, train: Train, folder: str
) -> None:
    """The first worker's part: let the others begin, train, and keep the record."""
    begun = False

    def train_together(config: TrialConfig, reporter: Reporter, **paths: Any) -> None:
        nonlocal begun
        if not begun:
            begun = True
            group.from_first(config)
        train(config, reporter, **{**paths, "group": group})

    run, emit = RunDirectory.open(folder), partial(_tell, gate)
    record = record_trial(train_together, run, planned, clock=WorkerClock(), emit=emit)
    if not begun:
        group.from_first(None)  # the checkpoint had every epoch: nothing is left to train
    if record.status != "complete":
        what = f"trial {record.number} {record.status}: {record.reason}"
        raise TaskgroupError(what)  # ends the others


def _tell(gate: Any, record: TrialResult) -> None:
    """Hand the record to the driver; without a driver there is nothing left to train for."""
    try:
        ray.get(gate.tell.remote(to_text(record)))
    except RayActorError as error:
        raise WorkerLost("the driver of this trial is gone") from error


class _Silent:
    """What workers other than the first report to."""

    def started(self, output_dimension: int) -> None:
        """Nothing to note."""

    def epoch(self, row: EpochRow) -> None:
        """Nothing to note."""
