"""The record of one trial, without Ray."""

import errno
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from taskgroup.errors import CheckpointError, DataError, DivergedError, StorageError
from taskgroup.models.checkpoint import Checkpoint, save_checkpoint
from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.results.records.plain import to_plain
from taskgroup.results.run_directory import RunDirectory
from taskgroup.results.storage.single_files import write_place
from taskgroup.search.engine.recording import (
    TrialRecorder,
    WorkerClock,
    has_given_up,
    record_trial,
)
from taskgroup.search.plan.baselines import plan_baselines
from taskgroup.search.plan.planning import from_text, to_text
from taskgroup.search.space.search_space import SearchSpace

Make = Callable[..., SearchSpace]
SPACE = "main_task: segmentation\nobjectives: [{maximize: segmentation/robust/miou}]\n"


@pytest.fixture
def planned(make_space: Make) -> TrialResult:
    return plan_baselines(make_space())[1]


def test_record_survives_the_way_between_processes(planned: TrialResult) -> None:
    record = replace(planned, epochs=(EpochRow(1, {"a/b/c": 0.5}, 1.0, 7),), overhead_seconds=0.1)
    assert from_text(to_text(record)) == record


def test_what_another_version_wrote_survives_the_way_and_the_resumption(
    run: RunDirectory, planned: TrialResult, pretend: Any
) -> None:
    """Also where the checkpoint has an epoch that the record lacks, and another version's rows."""
    waited = {"waited": pa.scalar(0.5, pa.float32())}
    known = EpochRow(1, {"segmentation/clean/miou": 0.5}, 1.0, 7, extra=waited)
    mood = {"mood": pa.scalar("good")}
    run.write_trial(replace(planned, epochs=(known,), attempts=1, extra=mood))
    rows = (replace(known, extra={}), EpochRow(2, {}, 1.0, 8))
    recorder = TrialRecorder(
        run, from_text(to_text(run.trials()[0])), clock=WorkerClock(), emit=lambda _: None
    )
    recorder.restore(rows)
    recorder.epoch(EpochRow(3, {}, 1.0, 9))
    (stored,) = run.trials()
    assert [row.epoch for row in stored.epochs] == [1, 2, 3]
    assert stored.extra == mood
    assert stored.epochs[0].extra == waited
    assert [row.extra["waited"].as_py() for row in stored.epochs] == [0.5, None, None]
    assert stored.epochs[0].extra["waited"].type == pa.float32()


def test_every_epoch_is_on_disk_before_it_is_told(
    run: RunDirectory, planned: TrialResult, pretend: Any
) -> None:
    told = []

    def emit(record: TrialResult) -> None:
        assert run.trials() == [record]
        told.append((len(record.epochs), record.status))

    record = record_trial(pretend(), run, planned, clock=WorkerClock(), emit=emit)
    assert told == [(1, "interrupted"), (2, "interrupted"), (3, "interrupted"), (4, "complete")]
    assert record.reason is None
    assert record.output_dimension == 7
    assert record.peak_memory == 1000
    assert {"python", "torch", "taskgroup"} <= set(record.versions)
    assert record.started.endswith("+00:00")


def test_overhead_is_counted_from_the_previous_record(
    run: RunDirectory, planned: TrialResult, pretend: Any
) -> None:
    clock = WorkerClock()
    first, second = (
        record_trial(pretend(), run, replace(planned, number=n), clock=clock, emit=lambda _: None)
        for n in (0, 1)
    )
    assert first.overhead_seconds is None
    assert second.overhead_seconds is not None
    assert 0 <= second.overhead_seconds < 5


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DivergedError("the loss became NaN in epoch 3"), "the loss became NaN in epoch 3"),
        (RuntimeError("CUDA out\nof memory"), "RuntimeError: CUDA out of memory"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_failure_is_recorded_with_its_reason(
    run: RunDirectory, planned: TrialResult, pretend: Any, error: Exception, reason: str
) -> None:
    told: list[TrialResult] = []
    training = pretend({3: error})
    record = record_trial(training, run, planned, clock=WorkerClock(), emit=told.append)
    assert (record.status, record.reason, len(record.epochs)) == ("failed", reason, 2)
    assert told[-1] == record
    assert run.trials() == [record]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StorageError("00000.pt must be writable: no space left on device"), None),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "a disk must be writable: no space left on device; free space there",
        ),
    ],
)
def test_a_full_disk_interrupts_a_trial(
    run: RunDirectory, planned: TrialResult, pretend: Any, error: Exception, reason: str | None
) -> None:
    told: list[TrialResult] = []
    record = record_trial(pretend({3: error}), run, planned, clock=WorkerClock(), emit=told.append)
    assert (record.status, len(record.epochs)) == ("interrupted", 2)
    assert record.reason == (reason or str(error))
    assert [has_given_up(one) for one in told] == [False, False, True]
    assert run.trials() == [record] == told[-1:]
    again = record_trial(pretend(), run, record, clock=WorkerClock(), emit=lambda _: None)
    assert (again.status, again.reason) == ("complete", None)


def test_a_run_directory_that_vanishes_interrupts_a_trial_and_is_not_made_anew(
    run: RunDirectory, planned: TrialResult
) -> None:
    def training(config: Any, reporter: Any, *, checkpoint: Path, **_: Any) -> None:
        reporter.started(1)
        shutil.rmtree(run.path)
        write_place(checkpoint, b"weights")

    for train in (training, training):
        record = record_trial(train, run, planned, clock=WorkerClock(), emit=lambda _: None)
        assert has_given_up(record)
        assert "is gone" in str(record.reason)
        assert not run.path.exists()


def test_training_that_ends_early_without_a_word_failed(
    run: RunDirectory, planned: TrialResult
) -> None:
    def lazy(config: Any, reporter: Any, **_: Any) -> None:
        reporter.started(1)

    record = record_trial(lazy, run, planned, clock=WorkerClock(), emit=lambda _: None)
    assert record.status == "failed"
    assert record.reason == "training ended after epoch 0 without a word"


def test_stop_from_outside_passes_through_and_leaves_the_trial_interrupted(
    run: RunDirectory, planned: TrialResult, pretend: Any
) -> None:
    def stop(record: TrialResult) -> None:
        if len(record.epochs) == 2:
            raise SystemExit

    with pytest.raises(SystemExit):
        record_trial(pretend(), run, planned, clock=WorkerClock(), emit=stop)
    (record,) = run.trials()
    assert (record.status, len(record.epochs)) == ("interrupted", 2)


def test_damaged_checkpoint_means_a_fresh_start(
    run: RunDirectory, planned: TrialResult, pretend: Any
) -> None:
    run.checkpoint_path(planned.number).write_bytes(b"torn")
    resumed: list[Path | None] = []

    def training(config: Any, reporter: Any, *, checkpoint: Any, resume: Path | None) -> None:
        resumed.append(resume)
        pretend()(config, reporter)

    begun = replace(planned, epochs=(EpochRow(1, {}, 1.0, 1),), seconds=100.0)
    record = record_trial(training, run, begun, clock=WorkerClock(), emit=lambda _: None)
    assert resumed == [None]
    assert [row.epoch for row in record.epochs] == [1, 2, 3, 4]
    assert record.seconds < 100
    assert record.status == "complete"


def test_a_checkpoint_that_cannot_be_resumed_means_a_fresh_start(
    run: RunDirectory, planned: TrialResult, pretend: Any
) -> None:
    """Its rows can be read, but not what else it holds."""
    state = {"optimizer": {}, "weighting": {}, "rows": [to_plain(EpochRow(1, {}, 1.0, 1))]}
    path = run.checkpoint_path(planned.number)
    save_checkpoint(Checkpoint({}, (), {}, 1, state), path)
    resumed: list[Any] = []

    def training(config: Any, reporter: Any, *, checkpoint: Any, resume: Any) -> None:
        resumed.append(resume)
        if resume is not None:
            raise CheckpointError("it does not fit")
        pretend()(config, reporter)

    record = record_trial(training, run, planned, clock=WorkerClock(), emit=lambda _: None)
    assert resumed == [path, None]
    assert [row.epoch for row in record.epochs] == [1, 2, 3, 4]
    assert record.status == "complete"


def test_missing_data_is_told_in_its_own_words(
    run: RunDirectory, planned: TrialResult, pretend: Any
) -> None:
    training = pretend({1: DataError("camvid must hold train.txt; set TASKGROUP_DATA")})
    record = record_trial(training, run, planned, clock=WorkerClock(), emit=lambda _: None)
    assert record.reason == "camvid must hold train.txt; set TASKGROUP_DATA"


def test_the_record_counts_attempts_and_says_what_a_score_costs(
    run: RunDirectory, planned: TrialResult
) -> None:
    assert planned.fidelity["epochs"] == planned.planned_epochs
    assert planned.fidelity["attack_steps"] > 0
    recorder = TrialRecorder(run, planned, clock=WorkerClock(), emit=lambda record: None)
    again = TrialRecorder(run, recorder.record, clock=WorkerClock(), emit=lambda record: None)
    assert (planned.attempts, recorder.record.attempts, again.record.attempts) == (0, 1, 2)


def keep_checkpoints(
    run: RunDirectory, planned: TrialResult, *scores: float | None
) -> list[dict[str, str]]:
    """Train one epoch a score, None is not scored; the checkpoints that lie there after each."""
    listed = []

    def training(config: Any, reporter: Any, *, checkpoint: Path, resume: Path | None) -> None:
        for epoch, score in enumerate(scores, 1):
            write_place(checkpoint, f"epoch {epoch}".encode())
            metrics = {} if score is None else {"segmentation/robust/miou": score}
            reporter.epoch(EpochRow(epoch, metrics, 1.0, 1))
            files = sorted((run.path / "checkpoints").iterdir())
            listed.append({path.name: path.read_text() for path in files})

    planned = replace(planned, planned_epochs=len(scores))
    record_trial(training, run, planned, clock=WorkerClock(), emit=lambda _: None)
    return listed


@pytest.mark.parametrize(
    ("direction", "scores", "best"),
    [
        ("maximize", (0.1, 0.3, 0.2, 0.25), (1, 2, 2, 2)),
        ("minimize", (0.3, 0.1, 0.2, 0.05), (1, 2, 2, 4)),
        ("maximize", (None, 0.3, None, 0.3), (None, 2, 2, 4)),
        ("maximize", (math.nan, 0.3, math.nan, 0.2), (None, 2, 2, 2)),
    ],
)
def test_newest_and_best_checkpoint_are_kept_and_no_other(
    tmp_path: Path,
    planned: TrialResult,
    direction: str,
    scores: tuple[float | None, ...],
    best: tuple[int | None, ...],
) -> None:
    space = SPACE.replace("maximize", direction)
    listed = keep_checkpoints(RunDirectory.create(tmp_path, "little", space), planned, *scores)
    assert listed == [
        {"00001.pt": f"epoch {epoch}"} | ({"00001.best.pt": f"epoch {kept}"} if kept else {})
        for epoch, kept in enumerate(best, 1)
    ]


def test_best_checkpoint_of_a_trial_that_starts_anew_is_forgotten(
    tmp_path: Path, planned: TrialResult
) -> None:
    run = RunDirectory.create(tmp_path, "little", SPACE)
    for which in ("newest", "best"):
        run.storage.write(run.checkpoint_name(planned.number, which), b"torn")  # type: ignore[arg-type]
    listed = keep_checkpoints(run, replace(planned, attempts=1), None, 0.1)
    assert listed == [
        {"00001.pt": "epoch 1"},
        {"00001.pt": "epoch 2", "00001.best.pt": "epoch 2"},
    ]
