"""Fixtures for every test: fixed seeds, one thread, and the way to the real data."""

import importlib
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray.cloudpickle
import torch


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A process per core, at most four, for all tests; none more for a few or for those on Ray."""
    options = config.option
    is_whole = not getattr(options, "file_or_dir", True) and "not ray" in options.markexpr
    return min(4, len(os.sched_getaffinity(0))) if is_whole else 0


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    """Seed every global generator; our code must not need it, third-party code may."""
    torch.manual_seed(0)
    np.random.seed(0)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True, scope="session")
def scene_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep rendered scenes in a folder of this session, not in the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASKGROUP_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True, scope="session")
def one_way_into_ray() -> Iterator[None]:
    """Start every Ray without tokens: a process keeps the first way that it used.

    ``ray.init`` turns tokens on where nothing is said, a cluster of several raylets does not; the
    one would refuse the other. The main job, run on its own, uses Ray's default.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        yield


@pytest.fixture
def short_gradient_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check gradients along few directions, in tests of everything else."""
    check = "taskgroup.evaluation.verdict.gradient_check"
    monkeypatch.setattr(f"{check}.DIRECTIONS", 2)
    monkeypatch.setattr(f"{check}.FEWEST_POINTS", 2)
    monkeypatch.setattr(f"{check}.COARSE_STEPS", {})


@pytest.fixture
def short_quick(monkeypatch: pytest.MonkeyPatch, short_gradient_check: None) -> None:
    """Attack in few steps where suite ``quick`` is asked for, in tests of all but its strength."""
    suites = "taskgroup.evaluation.suites"
    few = {"dense": "tempered", "classification": "apgd_targeted", "regression": "apgd_metrics"}
    for kind, attack in few.items():
        monkeypatch.setitem(importlib.import_module(f"{suites}.strong").QUICK, kind, ((attack, 9),))
    catalogue = importlib.import_module(f"{suites}.catalogue")
    monkeypatch.setattr(catalogue, "SWEEP_STEPS", 2)
    for steps in (catalogue.TASKS_STEPS, catalogue.QUERIES):
        monkeypatch.setitem(steps, "quick", 3)


@pytest.fixture
def left_out(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """``left_out()`` tells which damaged files were named since the last time."""

    def told() -> list[str]:
        said = [record.getMessage() for record in caplog.records]
        caplog.clear()
        assert all("\n" not in message for message in said)
        return [message.removeprefix("left out: ") for message in said]

    return told


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded generator."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data packs; the test is skipped where TASKGROUP_DATA is unset."""
    root = os.environ.get("TASKGROUP_DATA")
    if not root:
        pytest.skip("TASKGROUP_DATA is not set")
    return Path(root)


WORKER = """
import os, sys, ray.cloudpickle
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
while sys.stdin.buffer.peek(1):
    ray.cloudpickle.load(sys.stdin.buffer)()
    print("done", file=answers, flush=True)
os._exit(0)  # without the seconds in which Python tidies up
"""
"""Runs one function after another from its input, and says so after each; ends with its input."""


class WorkerProcesses:
    """Processes that are a gloo group; they stay, for each takes seconds to import torch.

    Args:
        folder: Where a group's store and results lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []

    def __call__(self, size: int, function: Callable[[], Any]) -> list[Any]:
        """What ``function`` returns in each of ``size`` processes.

        None for a process that ended without returning.
        """
        while len(self.processes) < size:
            self.processes.append(_process())
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        processes = self.processes[:size]
        for rank, process in enumerate(processes):
            result = folder / f"result-{rank}"
            work = partial(_work, function, rank, size, folder / "store", result)
            process.stdin.write(ray.cloudpickle.dumps(work))
            process.stdin.flush()
        answers = [process.stdout.readline() for process in processes]
        if not all(answers):  # somebody has ended
            self.end()
        results = [folder / f"result-{rank}" for rank in range(size)]
        return [pickle.loads(r.read_bytes()) if r.exists() else None for r in results]

    def end(self) -> None:
        """End every process, none of which may have failed."""
        ended, self.processes = self.processes, []
        for process in ended:
            process.stdin.close()
        codes = [process.wait(timeout=60) for process in ended]
        for process in ended:
            process.stdout.close()
        assert codes == [0] * len(codes)


def _process() -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", WORKER]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _work(function: Callable[[], Any], rank: int, size: int, store: Path, result: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=size
    )
    result.write_bytes(ray.cloudpickle.dumps(function()))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="session")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., list[Any]]]:
    """``workers(size, function)`` calls a function in every process of a group."""
    processes = WorkerProcesses(tmp_path_factory.mktemp("workers"))
    yield processes
    processes.end()


LITTLE_SPACE: Mapping[str, Any] = {
    "name": "little",
    "dataset": {"name": "scenes", "image_size": 32, "train": 64, "validation": 16, "test": 16},
    "model": {"backbone": "resnet_small", "width": 8},
    "main_task": "segmentation",
    "auxiliary_tasks": {"subset": ["depth", "normals", "edges"]},
    "loss_weights": {"loguniform": [0.01, 1.0]},
    "adversary": {
        "attack": "pgd",
        "epsilon": {"choice": ["2/255", "4/255"]},
        "steps": {"randint": [1, 3]},
    },
    "training": {"epochs": 4, "learning_rate": {"loguniform": [1e-3, 1e-2]}},
    "objectives": [{"maximize": "segmentation/robust/miou"}],
    "search": {"trials": 8, "sampler": "random"},
}


@pytest.fixture
def values() -> dict[str, Any]:
    """Plain data of a small space, fresh for every test."""
    return deepcopy(dict(LITTLE_SPACE))
