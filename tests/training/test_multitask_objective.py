"""The training objective of Mao et al. (ECCV 2020), and what its inner maximisation raises.

The objective is (1/|P|) sum of main losses + (lambda/|A|) sum of auxiliary losses. With one main
task P it is ``loss_weights: {shared: lambda}``.
"""

import pytest
import torch

from taskgroup.draws import Draws
from taskgroup.search.plan.draw import Middle, draw
from taskgroup.search.plan.grid import grid_points
from taskgroup.search.space.search_space import read_space
from taskgroup.training.adversary import TrainingAttack, build_adversary
from taskgroup.training.fit import prepare
from taskgroup.training.steps.losses import TaskSums, mean_losses

SPACE = {
    "name": "objective",
    "dataset": {"name": "scenes", "image_size": 32, "train": 16, "validation": 8, "test": 8},
    "model": {"backbone": "resnet_small", "width": 8},
    "main_task": "segmentation",
    "auxiliary_tasks": ["autoencoding", "depth", "edges"],
    "adversary": {"attack": "pgd", "epsilon": 4 / 255, "steps": 2},
    "objectives": [{"maximize": "segmentation/robust/miou"}],
    "search": {"sampler": "grid"},
}


def step(config):
    """One training step: the total and the task losses by name."""
    state, _ = prepare(config)
    batch = config.dataset.open("train", config.task_set).batch(range(8))
    sums = TaskSums(state.model, state.tasks)(batch.targets, Draws.seeded(0, "views"), batch.images)
    losses = mean_losses(sums)
    return state.weighting(losses), dict(zip(config.task_set, losses, strict=True))


@pytest.mark.parametrize("shared", [0.001, 0.1, 1.0])
def test_shared_weight_is_the_published_objective(shared):
    space = read_space({**SPACE, "loss_weights": {"shared": {"choice": [shared]}}}, source="here")
    total, losses = step(draw(space, Middle()).config)
    auxiliary = [losses[name] for name in SPACE["auxiliary_tasks"]]
    expected = losses["segmentation"] + shared / len(auxiliary) * sum(auxiliary)
    torch.testing.assert_close(total.detach(), expected)


def test_several_main_tasks_are_the_objective_times_their_number():
    """(Ls + Ld)/2 + lambda La is half of Ls + Ld + 2 lambda La: a second main task weighs 1."""
    weights = {"autoencoding": 2 * 0.1, "depth": 1.0}
    space = {**SPACE, "auxiliary_tasks": list(weights), "loss_weights": weights}
    total, losses = step(draw(read_space(space, source="here"), Middle()).config)
    published = (losses["segmentation"] + losses["depth"]) / 2 + 0.1 * losses["autoencoding"]
    torch.testing.assert_close(total.detach() / 2, published)


def test_which_tasks_are_attacked_is_searched():
    options = ["main", "all", ["depth", "edges"]]
    adversary = {**SPACE["adversary"], "attacked_tasks": {"choice": options}}
    space = read_space({**SPACE, "adversary": adversary}, source="here")
    found = []
    for point in grid_points(space):
        state, _ = prepare(point.config)
        attack = build_adversary(point.config, state.model, state.tasks, precision=None)
        assert isinstance(attack, TrainingAttack)
        found.append(tuple(attack.attacked_tasks))
    everything = ("segmentation", "autoencoding", "depth", "edges")
    assert found == [("segmentation",), everything, ("depth", "edges")]
