"""What goes wrong in a week: each is recorded with its reason, and the study goes on."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray.cloudpickle

from taskgroup.cluster.resources import running_ray
from taskgroup.errors import ResourceError, StorageError
from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.results.storage.single_files import write_place
from taskgroup.search.answer.live_table import Listener, Show, shown
from taskgroup.search.answer.progress import Progress
from taskgroup.search.answer.result import SearchResult
from taskgroup.search.run import search

pytestmark = pytest.mark.ray
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
DAY = 86_400.0
SCORES = {"segmentation/robust/miou": 0.1, "segmentation/clean/miou": 0.5}


def pretend(config: Any, reporter: Any, *, checkpoint: Any = None, resume: Any = None) -> None:
    reporter.started(7)
    for epoch in range(1, config.training.epochs + 1):
        reporter.epoch(EpochRow(epoch, SCORES, 0.01, 1000))


def hang_without_auxiliaries(config: Any, reporter: Any, **paths: Any) -> None:
    if not config.auxiliary_tasks:
        reporter.started(7)
        time.sleep(DAY)
    pretend(config, reporter, **paths)


def want_too_much_memory(config: Any, reporter: Any, **paths: Any) -> None:
    if not config.auxiliary_tasks:
        np.empty(2**55)
    pretend(config, reporter, **paths)


def leave_a_megabyte(config: Any, reporter: Any, *, checkpoint: Path, resume: Any = None) -> None:
    checkpoint.write_bytes(bytes(2**20))
    pretend(config, reporter, checkpoint=checkpoint, resume=resume)


def set_the_clock(config: Any, reporter: Any, *, days: int, **paths: Any) -> None:
    now = time.time
    time.time = lambda: now() + days * DAY
    try:
        pretend(config, reporter, **paths)
    finally:
        time.time = now


def be_killed_without_auxiliaries(config: Any, reporter: Any, **paths: Any) -> None:
    """As the kernel does it to a process that takes the last memory."""
    if not config.auxiliary_tasks:
        reporter.started(7)
        reporter.epoch(EpochRow(1, SCORES, 0.01, 1000))
        os.kill(os.getpid(), signal.SIGKILL)
    pretend(config, reporter, **paths)


def save_too_much_without_auxiliaries(
    config: Any, reporter: Any, *, checkpoint: Path, resume: Any = None
) -> None:
    write_place(checkpoint, bytes(2**18 if config.auxiliary_tasks else 2**23))
    pretend(config, reporter)


def lose_the_disk_without_auxiliaries(
    config: Any, reporter: Any, *, checkpoint: Path, resume: Any = None
) -> None:
    """The disk of this machine becomes read-only: nothing of this trial can be written there."""
    move = os.replace

    def refuse(source: Any, target: Any) -> None:
        if checkpoint.stem in str(target):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        move(source, target)

    if not config.auxiliary_tasks:
        os.replace = refuse  # type: ignore[assignment]
    pretend(config, reporter)


@pytest.fixture(scope="module")
def engine() -> Iterator[None]:
    with running_ray(cpus=2, gpus=0):
        yield


@pytest.fixture
def run_search(values: dict[str, Any], tmp_path: Path) -> Callable[..., SearchResult]:
    def run(
        *fixes: str, train: Any = pretend, runs: Path = tmp_path, show: Show = shown
    ) -> SearchResult:
        fixes = ("search.trials=6", "search.sampler=random", *fixes)
        return search(values, fixes=fixes, runs=runs, train=train, show=show)

    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield folder
    while folder.is_mount():  # a test that failed may have left another on top
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)


def test_hanging_worker_is_ended_and_recorded(
    engine: None, run_search: Callable[..., SearchResult]
) -> None:
    result = run_search(
        "search.epoch_timeout=4", "search.max_retries=0", train=hang_without_auxiliaries
    )
    hung = [trial for trial in result.study.trials if not trial.auxiliary_tasks]
    others = [trial for trial in result.study.trials if trial.auxiliary_tasks]
    assert {trial.status for trial in hung} == {"failed"}
    assert all("said nothing for 4 s" in (trial.reason or "") for trial in hung)
    assert others
    assert {trial.status for trial in others} == {"complete"}


def test_trial_out_of_memory_is_recorded(
    engine: None, run_search: Callable[..., SearchResult]
) -> None:
    result = run_search(train=want_too_much_memory)
    failed = [trial for trial in result.study.trials if trial.status == "failed"]
    assert failed
    assert not any(trial.auxiliary_tasks for trial in failed)
    assert all("Unable to allocate" in (trial.reason or "") for trial in failed)
    assert len(failed) < len(result.study.trials) == 6


def test_killed_trial_is_recorded_with_its_epochs(
    engine: None, run_search: Callable[..., SearchResult]
) -> None:
    result = run_search("search.max_retries=0", train=be_killed_without_auxiliaries)
    killed = [trial for trial in result.study.trials if not trial.auxiliary_tasks]
    assert {(trial.status, trial.reason, len(trial.epochs)) for trial in killed} == {
        ("failed", "the worker process died after epoch 1 (killed, out of memory, or its machine "
         "was lost); attempt 1", 1)
    }  # fmt: skip
    check_others(result, killed)


def check_others(result: SearchResult, failed: Sequence[TrialResult]) -> None:
    """The study went on after some trials failed, and its records say so."""
    others = [trial for trial in result.study.trials if trial not in failed]
    assert len(others) >= 2
    assert {trial.status for trial in others} == {"complete"}
    assert not result.is_interrupted
    assert tuple(result.run.trials()) == result.study.trials


@pytest.mark.parametrize("days", [-1, 1])
def test_clock_that_jumps_changes_no_duration_and_ends_nothing(
    engine: None,
    run_search: Callable[..., SearchResult],
    monkeypatch: pytest.MonkeyPatch,
    days: int,
) -> None:
    now = time.time

    def jump() -> None:
        monkeypatch.setattr(time, "time", lambda: now() + days * DAY)

    limits = ("search.max_seconds=900", "search.epoch_timeout=300")
    train = partial(set_the_clock, days=days)
    result = run_search(*limits, train=train, show=calling(jump, after=2))
    assert time.time() == pytest.approx(now() + days * DAY, abs=60), "the driver's clock jumped"
    check_others(result, ())
    assert all(0 <= trial.seconds < DAY / 2 for trial in result.study.trials)
    assert all(0 <= overhead < DAY / 2 for overhead in result.study.overheads)


def calling(function: Callable[[], None], *, after: int) -> Show:
    """Shows nothing; calls a function in the driver once so many trials are complete."""

    @contextmanager
    def show(progress: Progress) -> Iterator[Listener]:
        waits = [function]

        def update(record: TrialResult) -> None:
            progress.update(record)
            if waits and progress.num_ended >= after:
                waits.pop()()

        yield update

    return show


def test_checkpoint_that_does_not_fit_ends_the_search_and_fails_nothing(
    engine: None, run_search: Callable[..., SearchResult], small_disk: Path
) -> None:
    train = save_too_much_without_auxiliaries
    full = r"\.pt must be writable: no space left on device; free space there, then resume with: "
    with pytest.raises(StorageError, match=full + "taskgroup search --resume"):
        run_search(train=train, runs=small_disk)
    finished = finished_below(small_disk)
    (folder,) = small_disk.iterdir()
    others = [t for t in RunDirectory.open(folder).trials() if t not in finished]
    assert {trial.status for trial in others} == {"interrupted"}
    assert any("no space left on device; free space" in str(trial.reason) for trial in others)
    remount(small_disk, "size=64m")
    check_goes_on(small_disk, finished, train=train)


def test_trial_whose_machine_cannot_write_ends_the_search_and_fails_nothing(
    engine: None, run_search: Callable[..., SearchResult], tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    with pytest.raises(StorageError, match=r"must be writable: read-only file system; .* resume"):
        run_search(train=lose_the_disk_without_auxiliaries, runs=runs)
    check_goes_on(runs, finished_below(runs), train=pretend)


def test_run_directory_that_vanishes_ends_the_search_in_one_line(
    engine: None, run_search: Callable[..., SearchResult], tmp_path: Path
) -> None:
    runs = tmp_path / "runs"

    def vanish() -> None:
        shutil.rmtree(runs)

    with pytest.raises(StorageError, match=r"run directory .* but it is gone; bring it back"):
        run_search(runs=runs, show=calling(vanish, after=1))
    assert not runs.exists()


def test_disk_that_becomes_read_only_loses_nothing_that_finished(
    engine: None, run_search: Callable[..., SearchResult], small_disk: Path
) -> None:
    def seal() -> None:
        subprocess.run(["mount", "--bind", str(small_disk), str(small_disk)], check=True)
        remount(small_disk, "bind,ro")

    with pytest.raises(ResourceError, match="must be writable: read-only file system"):
        run_search(runs=small_disk, show=calling(seal, after=2))
    finished = finished_below(small_disk)
    assert 2 <= len(finished) < 6
    subprocess.run(["umount", str(small_disk)], check=True)
    check_goes_on(small_disk, finished, train=pretend)


def test_full_disk_loses_nothing_that_finished(
    engine: None, run_search: Callable[..., SearchResult], small_disk: Path
) -> None:
    with pytest.raises(ResourceError, match="free space"):
        run_search(train=leave_a_megabyte, runs=small_disk)
    finished = finished_below(small_disk)
    assert finished
    remount(small_disk, "size=64m")
    check_goes_on(small_disk, finished, train=leave_a_megabyte)


def finished_below(disk: Path) -> list[TrialResult]:
    """The complete trials of the only run on a disk."""
    (folder,) = disk.iterdir()
    return [trial for trial in RunDirectory.open(folder).trials() if trial.status == "complete"]


def check_goes_on(disk: Path, finished: Sequence[TrialResult], *, train: Any) -> None:
    """The run ends once its disk is well again, and what had finished is what it was."""
    (folder,) = disk.iterdir()
    result = search(resume=folder, train=train)
    assert {trial.status for trial in result.study.trials} == {"complete"}
    assert len(result.study.trials) == 6
    assert all(result.study.trials[trial.number] == trial for trial in finished)
    assert not result.is_interrupted


def test_read_only_directory_is_told_before_anything_starts(
    run_search: Callable[..., SearchResult], small_disk: Path
) -> None:
    remount(small_disk, "ro")
    with pytest.raises(ResourceError, match="read-only file system; change"):
        run_search(runs=small_disk)
