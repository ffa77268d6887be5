"""Attacks on a network: ensembles by member, several tasks in four ways."""

from dataclasses import replace

import pytest
import torch

from taskgroup.attacks.base import AttackBudget, ThreatModel
from taskgroup.errors import ConfigError
from taskgroup.evaluation.objective.combined import combined_objective
from taskgroup.evaluation.objective.network import fixed_network
from taskgroup.evaluation.objective.task_objective import TaskObjective
from taskgroup.evaluation.perturbations.attack import NetworkAttack
from taskgroup.evaluation.perturbations.base import WHOLE, BatchSeed
from taskgroup.evaluation.suites.catalogue import suite_conditions
from taskgroup.tasks.base import Target, TaskInfo, build_task

BALL = AttackBudget(epsilon=8 / 255, steps=4)
BOTH = ("segmentation", "depth")


@pytest.fixture
def network_with_tasks(make_loaded, trained, batch):
    return make_loaded([trained], batch).networks[0]


def attacked(trained, batch, attack):
    return attack.apply(trained.under_test(batch.images.device), batch, BatchSeed(0, 0))


def losses(trained, batch, images, task):
    objective = TaskObjective(
        trained.model, trained.tasks, batch.targets, main_task=None, attacked_tasks=(task,)
    )
    with torch.no_grad():
        return objective(images, 0.0).loss


@pytest.mark.parametrize("way", ["sum", "unit_gradient", "loss_ratio", "worst_task"])
def test_every_way_raises_both_tasks_inside_the_ball(way, network_with_tasks, batch):
    with fixed_network(network_with_tasks.model):
        found = attacked(network_with_tasks, batch, NetworkAttack("apgd", BALL, BOTH, way))
    (images,) = found.values()
    assert (images - batch.images).abs().amax() <= 8 / 255 + 1e-6
    for task in BOTH:
        before = losses(network_with_tasks, batch, batch.images, task).sum()
        assert losses(network_with_tasks, batch, images, task).sum() > before


SEGMENTATION = build_task(TaskInfo("segmentation", num_classes=3))
PUBLISHED = [
    condition
    for condition in suite_conditions(
        "mtrobust_seed", ThreatModel(epsilon=8 / 255), SEGMENTATION, BOTH, num_pixels=768
    )
    if len(condition.perturbation.attacked_tasks) > 1 and condition.perturbation.budget.steps <= 20
]


@pytest.mark.parametrize(
    "condition", PUBLISHED, ids=lambda c: f"{c.name}-{c.perturbation.budget.steps}"
)
def test_published_attacks_see_every_task(condition, network_with_tasks, batch):
    together = condition.perturbation
    alone = replace(together, attacked_tasks=BOTH[:1])
    with fixed_network(network_with_tasks.model):
        images, of_one = (
            attacked(network_with_tasks, batch, each)[WHOLE] for each in (together, alone)
        )
    assert not torch.equal(images, of_one)
    before, after = (
        sum(losses(network_with_tasks, batch, shown, task).sum() for task in BOTH)
        for shown in (batch.images, images)
    )
    assert after > before or condition.role == "known_bugs"  # from a corner, in a wrong box


def gradient_of(trained, batch, way, tasks=BOTH):
    objective = combined_objective(
        trained.model, trained.tasks, batch.targets, batch.images,
        attacked_tasks=tasks, combine=way,
    )  # fmt: skip
    moved = (batch.images + 0.02).clamp(0, 1)
    return objective, *objective.gradient(moved, 0.0)


def test_unit_gradients_have_equal_say(network_with_tasks, batch):
    with fixed_network(network_with_tasks.model):
        _, whole, _ = gradient_of(network_with_tasks, batch, "unit_gradient")
        alone = [gradient_of(network_with_tasks, batch, "unit_gradient", (t,))[1] for t in BOTH]
    for part in alone:
        torch.testing.assert_close(part.flatten(1).norm(dim=1), torch.ones(len(batch)))
    torch.testing.assert_close(whole, alone[0] + alone[1])


def test_the_worst_task_is_followed_alone(network_with_tasks, batch):
    with fixed_network(network_with_tasks.model):
        objective, whole, found = gradient_of(network_with_tasks, batch, "worst_task")
        parts = [gradient_of(network_with_tasks, batch, "worst_task", (t,)) for t in BOTH]
    ratios = torch.stack([part[2].loss for part in parts])
    torch.testing.assert_close(found.loss, ratios.amin(0))
    for image in range(len(batch)):
        torch.testing.assert_close(whole[image], parts[int(ratios[:, image].argmin())][1][image])
    few = objective.select(torch.tensor([2, 5]))
    assert few.before.shape == (2, 2)


def test_loss_ratios_weigh_by_growth(network_with_tasks, batch):
    with fixed_network(network_with_tasks.model):
        _, whole, _ = gradient_of(network_with_tasks, batch, "loss_ratio")
        parts = [gradient_of(network_with_tasks, batch, "loss_ratio", (t,)) for t in BOTH]
    ratios = torch.stack([part[2].loss for part in parts])
    weights = ratios / ratios.mean(0)
    expected = sum(w[:, None, None, None] * p[1] for w, p in zip(weights, parts, strict=True))
    torch.testing.assert_close(whole, expected)


def test_an_ensemble_gives_its_members(network_with_tasks, batch):
    attack = NetworkAttack("sea", replace_steps(12), ("segmentation",))
    with fixed_network(network_with_tasks.model):
        found = attacked(network_with_tasks, batch, attack)
    assert list(found) == [
        "masked_balanced_cross_entropy", "masked_cross_entropy", "jensen_shannon",
    ]  # fmt: skip
    for images in found.values():
        assert (images - batch.images).abs().amax() <= 8 / 255 + 1e-6
        before = losses(network_with_tasks, batch, batch.images, "segmentation").sum()
        assert losses(network_with_tasks, batch, images, "segmentation").sum() > before


def replace_steps(steps):
    return BALL.model_copy(update={"steps": steps})


@pytest.mark.parametrize(
    ("attack", "task", "message"),
    [
        ("sea", "depth", "'sea' needs a class per pixel, but the .* predicts numbers; choose apgd"),
        ("sea", "classification", "one class per image; choose autoattack or apgd"),
        ("segpgd", "depth", "'segpgd' needs a class per pixel"),
        ("cospgd", "classification", "'cospgd' needs a class per pixel"),
        ("cospgd_softmax", "depth", "'cospgd_softmax' needs a class per pixel"),
        ("houdini", "depth", "'houdini' needs a class per pixel"),
        ("autoattack", "segmentation", "'autoattack' needs one class per image.*choose sea or"),
        ("autoattack", "depth", "'autoattack' needs one class per image"),
        ("apgd_targeted", "depth", "'apgd_targeted' needs one class per image"),
        ("tempered", "depth", "'tempered' needs a class per pixel"),
    ],
)
def test_an_attack_that_does_not_fit_is_refused(attack, task, message, network_with_tasks, batch):
    trained = replace(network_with_tasks, main_task=task)
    with pytest.raises(ConfigError, match=message):
        attacked(trained, batch, NetworkAttack(attack, BALL, (task,)))


@pytest.mark.parametrize("way", ["unit_gradient", "loss_ratio", "worst_task"])
def test_a_task_without_a_label_holds_no_image_back(way, network_with_tasks, batch):
    depth = batch.targets["depth"]
    seen = depth.valid.clone()
    seen[3] = False
    blind = replace(batch, targets={**batch.targets, "depth": Target(depth.values, seen)})
    with fixed_network(network_with_tasks.model):
        _, whole, found = gradient_of(network_with_tasks, blind, way)
        _, alone, _ = gradient_of(network_with_tasks, blind, way, ("segmentation",))
    torch.testing.assert_close(whole[3], alone[3])
    assert found.loss[3] > 0
