"""Tasks and the scenes' targets fit together."""

import pytest
import torch

import taskgroup.tasks
from taskgroup.data.base import Batch
from taskgroup.data.scenes import SceneConfig
from taskgroup.tasks.base import build_task

assert taskgroup.tasks
CONFIG = SceneConfig(image_size=32, train=4, validation=6, confirm=4, test=4)


@pytest.fixture(scope="module")
def batch() -> Batch:
    return CONFIG.open("validation", tuple(CONFIG.tasks())).batch(range(6))


@pytest.mark.parametrize("name", sorted(CONFIG.tasks()))
def test_targets_are_what_the_task_expects(name: str, batch: Batch) -> None:
    task = build_task(CONFIG.tasks()[name])
    target = batch.targets[name]
    spatial = (32, 32) if task.output == "map" else ()
    assert target.valid.shape == (6, *spatial)
    assert target.valid.any()
    if task.info.num_classes is not None:
        assert target.values.shape == (6, *spatial)
        assert target.values[target.valid].max() < task.channels
        return
    assert target.values.shape == (6, task.channels, 32, 32)
    assert target.values.dtype == torch.float32
    largest = target.values.abs().amax()
    assert 0.05 < largest < 30, "targets are of order one, depth in metres"


@pytest.mark.parametrize("name", sorted(CONFIG.tasks()))
def test_losses_start_within_one_order_of_magnitude(name: str, batch: Batch) -> None:
    task = build_task(CONFIG.tasks()[name])
    spatial = (32, 32) if task.output == "map" else ()
    prediction = torch.zeros(6, task.channels, *spatial)
    loss = task.loss(prediction, batch.targets[name]).mean().item()
    assert 0.01 < loss < 6
