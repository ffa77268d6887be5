"""What goes wrong in a week: each is recorded with its reason, and the study goes on."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray.cloudpickle

from taskgroup.errors import ResourceError
from taskgroup.results.records import EpochRow
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.run import search
from taskgroup.search.summary import StudyResult
from taskgroup.search.tuner.cluster import running_ray

pytestmark = pytest.mark.ray
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
DAY = 86_400.0


def pretend(config: Any, reporter: Any, *, checkpoint: Any = None, resume: Any = None) -> None:
    reporter.started(7)
    for epoch in range(1, config.training.epochs + 1):
        metrics = {"segmentation/robust/miou": 0.1 * epoch, "segmentation/clean/miou": 0.5}
        reporter.epoch(EpochRow(epoch, metrics, 0.01, 1000))


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


def turn_the_clock_back(config: Any, reporter: Any, **paths: Any) -> None:
    now = time.time
    time.time = lambda: now() - DAY
    try:
        pretend(config, reporter, **paths)
    finally:
        time.time = now


@pytest.fixture(scope="module")
def engine() -> Iterator[None]:
    with running_ray(cpus=2, gpus=0):
        yield


@pytest.fixture
def run_search(values: dict[str, Any], tmp_path: Path) -> Callable[..., StudyResult]:
    def run(*fixes: str, train: Any = pretend, runs: Path = tmp_path) -> StudyResult:
        fixes = ("search.trials=6", "search.sampler=random", *fixes)
        return search(values, fixes=fixes, runs=runs, train=train)

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
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)


def test_hanging_worker_is_ended_and_recorded(
    engine: None, run_search: Callable[..., StudyResult]
) -> None:
    result = run_search(
        "search.epoch_timeout=4", "search.max_retries=0", train=hang_without_auxiliaries
    )
    hung = [trial for trial in result.trials if not trial.auxiliary_tasks]
    others = [trial for trial in result.trials if trial.auxiliary_tasks]
    assert {trial.status for trial in hung} == {"failed"}
    assert all("said nothing for 4 s" in (trial.reason or "") for trial in hung)
    assert others
    assert {trial.status for trial in others} == {"complete"}


def test_trial_out_of_memory_is_recorded(
    engine: None, run_search: Callable[..., StudyResult]
) -> None:
    result = run_search(train=want_too_much_memory)
    failed = [trial for trial in result.trials if trial.status == "failed"]
    assert failed
    assert not any(trial.auxiliary_tasks for trial in failed)
    assert all("Unable to allocate" in (trial.reason or "") for trial in failed)
    assert len(failed) < len(result.trials) == 6


def test_clock_that_jumps_back_changes_no_duration(
    engine: None, run_search: Callable[..., StudyResult]
) -> None:
    result = run_search(train=turn_the_clock_back)
    assert {trial.status for trial in result.trials} == {"complete"}
    assert all(0 <= trial.seconds < DAY / 2 for trial in result.trials)
    assert all(0 <= overhead < DAY / 2 for overhead in result.overheads)


def test_full_disk_loses_nothing_that_finished(
    engine: None, run_search: Callable[..., StudyResult], small_disk: Path
) -> None:
    with pytest.raises(ResourceError, match="free space"):
        run_search(train=leave_a_megabyte, runs=small_disk)
    (folder,) = small_disk.iterdir()
    before = {trial.number: trial for trial in RunDirectory.open(folder).trials()}
    finished = {n: trial for n, trial in before.items() if trial.status == "complete"}
    assert finished
    remount(small_disk, "size=64m")
    result = search(resume=folder, train=leave_a_megabyte)
    after = {trial.number: trial for trial in result.trials}
    assert len(after) == 6
    assert all(asdict(after[n]) == asdict(trial) for n, trial in finished.items())
    assert not result.is_interrupted


def test_read_only_directory_is_told_before_anything_starts(
    run_search: Callable[..., StudyResult], small_disk: Path
) -> None:
    remount(small_disk, "ro")
    with pytest.raises(ResourceError, match="read-only file system; change"):
        run_search(runs=small_disk)
