"""The three spaces that repeat the study of Mao et al. (ECCV 2020)."""

from collections import Counter

import pytest

from taskgroup.data.base import DATASETS
from taskgroup.models.build import build_model
from taskgroup.search.plan.baselines import plan_baselines
from taskgroup.search.plan.first_points import draw_first_points
from taskgroup.search.plan.grid import grid_points
from taskgroup.search.space.find import list_spaces
from taskgroup.search.space.search_space import load_space
from taskgroup.tasks.base import TaskInfo, build_task

CITYSCAPES = {  # released segmentation models: auxiliary tasks, lambda
    ("depth",): 0.001,
    ("autoencoding",): 0.1,
    ("autoencoding", "depth"): 0.001,
}
TASKONOMY = {
    "depth": 0.01, "edges": 0.01, "normals": 0.1, "reshading": 0.1, "keypoints2d": 0.01,
    "keypoints3d": 0.01, "depth_euclidean": 0.1, "autoencoding": 0.01, "occlusion_edges": 0.1,
    "curvature": 0.01,
}  # fmt: skip
NEED = {"mtrobust_cityscapes": "cityscapes", "mtrobust_taskonomy": "taskonomy"}


@pytest.mark.parametrize("name", ["mtrobust_scenes", *NEED])
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


def test_cityscapes_begins_with_the_published_weights() -> None:
    points = [drawn.config for drawn in draw_first_points(load_space("mtrobust_cityscapes"))]
    natural = [p for p in points if p.adversary.attack == "none"]
    found = {p.auxiliary_tasks: round(sum(p.loss_weights.values()), 9) for p in natural}
    assert found == CITYSCAPES
    adversarial = [p for p in points if p.adversary.attack == "pgd"]
    assert {round(sum(p.loss_weights.values()), 9) for p in adversarial} == {0.01}
    assert {p.seed for p in points} == {42}


def test_cityscapes_settings_are_the_published_ones() -> None:
    config = load_space("mtrobust_cityscapes").example()
    training = config.training
    assert (config.model.backbone, config.model.untied) == ("drn_d_22", False)
    assert (training.optimizer, training.momentum, training.weight_decay) == ("sgd", 0.9, 1e-4)
    assert (training.epochs, training.learning_rate, training.step_epochs) == (200, 0.01, (140,))


def test_taskonomy_begins_with_the_published_weights() -> None:
    points = [drawn.config for drawn in draw_first_points(load_space("mtrobust_taskonomy"))]
    assert {p.auxiliary_tasks[0]: p.loss_weights[p.auxiliary_tasks[0]] for p in points} == TASKONOMY


def test_taskonomy_settings_are_the_published_ones() -> None:
    config = load_space("mtrobust_taskonomy").example()
    training = config.training
    assert (config.model.backbone, config.dataset.image_size) == ("resnet18", 256)
    assert (training.optimizer, training.weight_decay, training.batch_size) == ("adamw", 0, 32)
    assert (training.epochs, training.learning_rate) == (150, 1e-3)
    assert (training.schedule, training.step_epochs) == ("step", (120, 140))
