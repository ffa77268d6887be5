"""Which networks are scored on another one's attacked images."""

from dataclasses import replace

import pytest

from taskgroup.data.scenes import SceneConfig
from taskgroup.evaluation.loading import transfer_targets
from taskgroup.tasks.base import TaskInfo, build_task


@pytest.fixture
def three(make_loaded, honest, batch):
    """Three networks with the same data set and the same main task."""
    return make_loaded(honest, batch).networks


def test_networks_of_one_data_set_and_main_task_are_scored_on_each_other(three):
    assert transfer_targets(three) == {0: (1, 2), 1: (0, 2), 2: (0, 1)}


@pytest.mark.parametrize(
    "change",
    [
        {"main_task": "depth"},
        {"dataset": SceneConfig(name="scenes", seed=5)},
        {"tasks": (build_task(TaskInfo("segmentation", num_classes=4)),)},
    ],
    ids=["main_task", "dataset", "classes"],
)
def test_a_network_of_another_kind_stays_alone(three, change):
    networks = (three[0], replace(three[1], **change), three[2])
    assert transfer_targets(networks) == {0: (2,), 1: (), 2: (0,)}
