"""Every registered task keeps the contract: a new one is tested as soon as it exists."""

from collections.abc import Callable

import pytest
import torch

import taskgroup.tasks
from taskgroup.errors import ConfigError
from taskgroup.tasks.base import TASKS, Task, TaskInfo, build_task

assert taskgroup.tasks  # the import above fills the registry


def make(name: str) -> Task:
    """The task, of five classes if it needs to know how many there are."""
    task = build_task(TaskInfo(name))
    try:
        assert task.channels
    except ConfigError:
        return build_task(TaskInfo(name, num_classes=5))
    return task


@pytest.mark.parametrize("name", TASKS.names())
def test_task_keeps_the_contract(
    name: str, check: Callable[[Task, torch.Generator], None], generator: torch.Generator
) -> None:
    check(make(name), generator)


@pytest.mark.parametrize("name", TASKS.names())
def test_task_describes_itself(name: str) -> None:
    task = make(name)
    assert task.name == name
    assert task.channels >= 1
    assert task.output in ("map", "vector")
    assert task.direction in ("maximize", "minimize")
    assert type(task).__doc__


def test_names_are_those_of_the_design() -> None:
    assert set(TASKS) == {
        "albedo",
        "autoencoding",
        "classification",
        "curvature",
        "depth",
        "depth_euclidean",
        "edges",
        "keypoints2d",
        "keypoints3d",
        "normals",
        "occlusion_edges",
        "parts",
        "reshading",
        "saliency",
        "segmentation",
        "superclass",
    }


def test_label_free_tasks() -> None:
    assert {name for name in TASKS if TASKS[name].label_free} == {
        "autoencoding",
        "edges",
        "keypoints2d",
    }


@pytest.mark.parametrize(
    ("name", "channels"),
    [("depth", 1), ("normals", 3), ("curvature", 2), ("albedo", 3), ("autoencoding", 3)],
)
def test_channels(name: str, channels: int) -> None:
    assert make(name).channels == channels
