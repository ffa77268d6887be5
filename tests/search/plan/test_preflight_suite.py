"""A suite that does not fit the main task is refused before anything trains."""

from collections.abc import Iterator
from typing import Any, Literal

import pytest

from taskgroup.data.base import DATASETS
from taskgroup.data.scenes.config import SceneConfig
from taskgroup.errors import ConfigError
from taskgroup.search.plan.preflight import check_names
from taskgroup.search.space.search_space import load_space
from taskgroup.tasks.base import TaskInfo


class OneClass(SceneConfig):
    """Scenes whose pictures are all of one class."""

    name: Literal["one_class"] = "one_class"  # type: ignore[assignment]

    def tasks(self) -> dict[str, TaskInfo]:
        return {**super().tasks(), "classification": TaskInfo("classification", num_classes=1)}


def space(suite: str) -> dict[str, Any]:
    """A search on them with a confirm stage."""
    return {
        "name": "one",
        "dataset": {"name": "one_class", "image_size": 32},
        "model": {"backbone": "resnet_small", "width": 4},
        "main_task": "classification",
        "auxiliary_tasks": {"subset": ["depth"]},
        "training": {"epochs": 1},
        "objectives": [{"maximize": "classification/robust/accuracy"}],
        "search": {"trials": 1, "confirm": {"suite": suite}},
    }


@pytest.fixture(autouse=True)
def one_class() -> Iterator[None]:
    with DATASETS.scratch():
        DATASETS.register("one_class")(OneClass)
        yield


@pytest.mark.parametrize(("suite", "attack"), [("quick", "apgd_targeted"), ("standard", "auto")])
def test_the_suite_of_the_confirm_stage_must_fit_the_main_task(suite: str, attack: str) -> None:
    message = rf"search\.confirm: attack '{attack}.*' needs at least 2 classes, got 1"
    with pytest.raises(ConfigError, match=message):
        check_names(load_space(space(suite)))


def test_without_a_suite_it_is_the_training_that_does_not_fit() -> None:
    with pytest.raises(ConfigError, match="task 'classification' needs at least 2 classes, got 1"):
        check_names(load_space(space("none")))
