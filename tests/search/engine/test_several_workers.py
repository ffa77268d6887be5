"""A search whose trials have two workers each: Ray Train inside Ray Tune, gloo on CPUs."""

import math
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray.cloudpickle
import torch
from ray.util import placement_group

from taskgroup.cluster.resources import running_ray
from taskgroup.errors import DataError
from taskgroup.results.records import EpochRow
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.engine.several_workers import _Gate, start_caretaker
from taskgroup.search.run import search
from taskgroup.training.fit import fit
from taskgroup.training.parallel.group import ALONE, WorkerGroup
from taskgroup.training.parallel.ray_train import MARK

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
ROBUST, CLEAN = "segmentation/robust/miou", "segmentation/clean/miou"
MIDDLE = math.sqrt(1e-3 * 1e-2)
"""Learning rate of baselines."""


def train_in(folder: Path) -> Callable[..., None]:
    """A training that differs by kind of trial; every process leaves its id in ``folder``.

    The natural baseline trains for real. In the adversarial one worker 1 fails alone. Of the other
    two the second to arrive is bad, and reports when the first has.
    """

    def train(
        config: Any, reporter: Any, *, group: WorkerGroup = ALONE, **paths: Path | None
    ) -> None:
        (folder / f"pid-{os.getpid()}").touch()
        if config.adversary.attack == "none":
            fit(config, reporter, group=group, **paths)
        elif not math.isclose(config.training.learning_rate, MIDDLE):
            pretend(config, reporter, group)
        elif group.rank == 1:
            raise DataError("image 7 is missing on this machine")
        else:
            group.sum(torch.zeros(1))  # waits for the others

    def pretend(config: Any, reporter: Any, group: WorkerGroup) -> None:
        if group.is_first:
            reporter.started(7)
        is_good = group.from_first(arrives_first() if group.is_first else None)
        for epoch in range(1, config.training.epochs + 1):
            score = float(group.sum(torch.tensor(0.4 if is_good else 0.1)))
            if group.is_first:
                reporter.epoch(EpochRow(epoch, {ROBUST: score, CLEAN: 0.5}, 0.01, 1000))
                (folder / "measured").touch()

    def arrives_first() -> bool:
        try:
            (folder / "arrived").touch(exist_ok=False)
        except FileExistsError:
            wait_for((folder / "measured").exists)
            return False
        return True

    return train


def wait_for(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 400
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Starting:
    """A trial's process that asks for its workers' cores."""

    def __init__(self, caretaker: Any) -> None:
        self._caretaker, self._gate = caretaker, ray.remote(num_cpus=0)(_Gate).remote()

    def claim(self) -> bool:
        """Take a core for each of two workers."""
        mark = ray.get(self._caretaker.watch.remote(self._gate))
        self._place = placement_group([{"CPU": 1, MARK: mark}] * 2)
        return bool(self._place.wait(60))

    def end(self) -> None:
        """Say that the workers have ended."""
        ray.get(self._gate.close.remote())


@pytest.mark.ray
def test_a_trial_that_dies_while_its_workers_start_leaves_their_cores() -> None:
    def free_cores() -> float:
        return float(ray.available_resources().get("CPU", 0))

    with running_ray(cpus=4, gpus=0):
        caretaker = start_caretaker()
        killed, ended = (ray.remote(num_cpus=0)(Starting).remote(caretaker) for _ in range(2))
        assert ray.get([killed.claim.remote(), ended.claim.remote()]) == [True, True]
        wait_for(lambda: free_cores() == 0)
        ray.kill(killed)
        wait_for(lambda: free_cores() == 2)
        time.sleep(2)
        assert free_cores() == 2, "the other trial keeps its own"
        ray.get(ended.end.remote())
        wait_for(lambda: free_cores() == 4)


@pytest.mark.ray
@pytest.mark.timeout(900)
def test_trials_of_two_workers_complete_fail_and_stop(
    values: dict[str, Any], tmp_path: Path
) -> None:
    values["search"] = {"trials": 4, "sampler": "random", "scheduler": "asha", "grace_epochs": 1}
    values |= {"auxiliary_tasks": [], "resources": {"workers": 2}, "validation": {"steps": 1}}
    marks, run = tmp_path / "marks", tmp_path / "run"
    marks.mkdir()
    with running_ray(cpus=4, gpus=0):
        result = search(values, run=run, train=train_in(marks))
        pids = [int(mark.name.removeprefix("pid-")) for mark in marks.glob("pid-*")]
        assert len(pids) == 4 * 2
        wait_for(lambda: ray.available_resources().get("CPU") == 4)
        wait_for(lambda: not any(lives(pid) for pid in pids))
    natural, failed, *others = result.study.trials
    assert natural.status == "complete"
    assert [row.epoch for row in natural.epochs] == [1, 2, 3, 4]
    assert (run / "checkpoints" / "00000.pt").exists()
    assert (failed.status, failed.reason) == ("failed", "image 7 is missing on this machine")
    complete, pruned = sorted(others, key=lambda trial: trial.status)
    assert (complete.status, pruned.status) == ("complete", "pruned")
    assert [row.epoch for row in pruned.epochs] == [1]
    assert pruned.epochs[0].metrics[ROBUST] == pytest.approx(0.2), "a sum over two workers"
    assert tuple(RunDirectory.open(run).trials()) == result.study.trials, "nobody wrote afterwards"


def hang_in(folder: Path) -> Callable[..., None]:
    """A training whose worker 1 never comes to the second epoch, so that worker 0 waits for it."""

    def train(
        config: Any, reporter: Any, *, group: WorkerGroup = ALONE, **paths: Path | None
    ) -> None:
        (folder / f"pid-{os.getpid()}").touch()
        if group.is_first:
            reporter.started(7)
            reporter.epoch(EpochRow(1, {ROBUST: 0.1, CLEAN: 0.5}, 0.01, 1000))
        else:
            time.sleep(86_400)
        group.sum(torch.zeros(1))  # waits for the others

    return train


@pytest.mark.ray
def test_workers_that_hang_are_ended_together(values: dict[str, Any], tmp_path: Path) -> None:
    """Where the machine is so busy that they do not even start within the limit, that is a hang."""
    search_of_one = {"trials": 1, "sampler": "random", "epoch_timeout": 25, "max_retries": 0}
    values |= {"search": search_of_one, "resources": {"workers": 2}}
    with running_ray(cpus=2, gpus=0):
        result = search(values, run=tmp_path / "run", train=hang_in(tmp_path))
        wait_for(lambda: ray.available_resources().get("CPU") == 2)
        pids = [int(mark.name.removeprefix("pid-")) for mark in tmp_path.glob("pid-*")]
        wait_for(lambda: not any(lives(pid) for pid in pids))
    (hung,) = result.study.trials
    assert hung.status == "failed"
    assert "(ended: it had said nothing for 25 s, search.epoch_timeout)" in str(hung.reason)
    assert not result.is_interrupted


def die_in(folder: Path) -> Callable[..., None]:
    """A training whose worker 1 is killed in the second epoch, while worker 0 waits for it."""

    def train(
        config: Any, reporter: Any, *, group: WorkerGroup = ALONE, **paths: Path | None
    ) -> None:
        if group.is_first:
            reporter.started(7)
            reporter.epoch(EpochRow(1, {ROBUST: 0.1, CLEAN: 0.5}, 0.01, 1000))
        group.sum(torch.zeros(1))
        if not group.is_first:
            (folder / "killed").write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)
        group.sum(torch.zeros(1))

    return train


@pytest.mark.ray
def test_a_killed_worker_ends_its_trial_with_the_reason_within_a_minute(
    values: dict[str, Any], tmp_path: Path
) -> None:
    values["search"] = {"trials": 1, "sampler": "random", "max_retries": 0}
    values["resources"] = {"workers": 2}
    with running_ray(cpus=2, gpus=0):
        result = search(values, run=tmp_path / "run", train=die_in(tmp_path))
        seconds = time.time() - float((tmp_path / "killed").read_text())
        wait_for(lambda: ray.available_resources().get("CPU") == 2)
    (lost,) = result.study.trials
    assert lost.status == "failed"
    assert [row.epoch for row in lost.epochs] == [1]
    assert "died" in str(lost.reason)
    assert seconds < 60
