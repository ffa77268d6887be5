"""The spaces that repeat the study of Mao et al. (ECCV 2020)."""

from collections import Counter

import pytest

from taskgroup.data.base import DATASETS
from taskgroup.models.build import build_model
from taskgroup.search.baselines import plan_baselines
from taskgroup.search.find import list_spaces
from taskgroup.search.grid import grid_points
from taskgroup.search.space import load_space
from taskgroup.tasks.base import TaskInfo, build_task


@pytest.mark.parametrize("name", ["mtrobust_scenes"])
def test_a_trial_can_be_drawn_and_its_network_built(name: str) -> None:
    space = load_space(name)
    assert space.search.sampler == "grid"
    config = grid_points(space)[-1].config
    infos = [
        TaskInfo(task, num_classes=17 if task == "segmentation" else None)
        for task in config.task_set
    ]
    model = build_model(config.model, [build_task(info) for info in infos], seed=0)
    assert set(model.heads) == set(config.task_set)
    assert config.dataset.name in DATASETS
    assert name in list_spaces()


def test_scenes_train_every_task_set_in_three_ways_with_three_seeds() -> None:
    points = [point.config for point in grid_points(load_space("mtrobust_scenes"))]
    ways = Counter(
        (bool(p.auxiliary_tasks), p.adversary.attack, p.adversary.attacked_tasks) for p in points
    )
    assert ways == {
        (False, "none", "main"): 3,
        (True, "none", "main"): 3 * 3,
        (False, "pgd", "main"): 3,
        (True, "pgd", "main"): 3 * 3,
        (True, "pgd", "all"): 3 * 3,
    }
    totals = {round(sum(p.loss_weights.values()), 9) for p in points if p.auxiliary_tasks}
    assert totals == {1.0}


def test_baselines_of_the_scenes_are_points_of_the_grid() -> None:
    space = load_space("mtrobust_scenes")
    points = [point.config.model_dump(mode="json") for point in grid_points(space)]
    assert all(planned.config in points for planned in plan_baselines(space))
