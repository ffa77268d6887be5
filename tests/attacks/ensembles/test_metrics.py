"""A member for every reported score: each is the strongest against its own."""

import pytest
import torch
from torch import nn

import taskgroup.tasks  # noqa: F401  (fills the registry)
from taskgroup.attacks.base import ATTACKS, AttackBudget
from taskgroup.attacks.ensembles.metrics import losses_of
from taskgroup.draws import Draws
from taskgroup.errors import ConfigError
from taskgroup.evaluation.objective.task_objective import TaskObjective
from taskgroup.tasks.base import Target, TaskInfo, build_task

BUDGET = AttackBudget(epsilon=0.03, steps=20)
CHANNELS = {"depth": 1, "normals": 3, "edges": 1, "saliency": 1}


class Maps(nn.Module):
    """A small network of one task; depths are about 1.6 metres."""

    def __init__(self, task: str, factor: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.task, self.factor = task, factor
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, CHANNELS[task], 3, padding=1)
        )

    def forward(self, images, names):
        found = self.layers(images)
        if self.task == "depth":
            found = found.exp() + 0.6
        return {self.task: found * self.factor}


def objective(name, images, factor=1.0):
    network = Maps(name, factor).eval().requires_grad_(False)
    task = build_task(TaskInfo(name))
    generator = torch.Generator().manual_seed(7)
    answers = Maps(name)(images, ())[name].detach()
    noise = torch.randn(answers.shape, generator=generator)
    values = {
        "depth": answers * (0.15 * noise).exp(),
        "normals": nn.functional.normalize(answers + 0.05 * noise, dim=1),
        "edges": answers + 0.1 * noise,
        "saliency": (answers + 0.05 * noise > 0).float(),
    }[name]
    valid = torch.rand(len(images), 8, 8, generator=generator) < 0.9
    targets = {name: Target(values, valid)}
    return TaskObjective(network, (task,), targets, main_task=None, attacked_tasks=(name,))


def members(raised, images, budget=BUDGET):
    draws = Draws(torch.Generator().manual_seed(0))
    return dict(ATTACKS["apgd_metrics"].members(raised, images, budget=budget, draws=draws))


def scores(raised, images):
    (task,), (target,) = raised.tasks, raised.targets.values()
    metric, prediction = task.metric(), raised.model(images, ())[task.name]
    sums = metric.per_image(prediction, target.values, target.valid).sum(0)
    return {name: float(value) for name, value in metric.score(sums).items()}


@pytest.mark.parametrize(
    ("task", "aims"),
    [
        ("depth", {"abs_rel": "abs_rel", "mse": "rmse", "delta1": "delta1", "l1": "mae"}),
        ("normals", {"angular": "angular_error", "within_11_25": "within_11_25", "l1": None}),
        ("edges", {"l1": "mae"}),
        ("saliency", {"binary_margin": "accuracy", "task_loss": None}),
    ],
)
def test_each_member_is_the_strongest_against_its_score(task, aims, images):
    raised = objective(task, images)
    found = members(raised, images)
    assert list(found) == list(aims)
    left, clean = (
        {name: scores(raised, seen) for name, seen in found.items()},
        scores(raised, images),
    )
    directions = raised.tasks[0].metric().directions
    for member, score in aims.items():
        if score is None:
            continue
        sign = 1 if directions[score] == "minimize" else -1
        damage = {name: sign * values[score] for name, values in left.items()}
        assert damage[member] > sign * clean[score]
        assert damage[member] >= max(damage.values()) - 1e-6


def test_the_near_share_falls_further_than_under_the_absolute_error(images):
    raised = objective("depth", images)
    found = members(raised, images)
    assert scores(raised, found["delta1"])["delta1"] < scores(raised, found["l1"])["delta1"] - 0.01


def test_as_one_attack_it_gives_the_worst_by_the_main_score(images):
    raised = objective("depth", images)
    found = members(raised, images)
    draws = Draws(torch.Generator().manual_seed(0))
    whole = ATTACKS["apgd_metrics"](raised, images, budget=BUDGET, draws=draws)
    main = raised.with_loss("abs_rel", tracks="raised")
    worst = torch.stack([main(seen, 1).loss for seen in found.values()]).amax(0)
    torch.testing.assert_close(main(whole, 1).loss, worst)


@pytest.mark.parametrize("factor", [10.0, 1e-3])
def test_the_scale_of_a_two_class_map_does_not_matter(factor, images):
    wide = BUDGET.model_copy(update={"epsilon": 0.2})
    plain = members(objective("saliency", images), images, wide)["binary_margin"]
    scaled = members(objective("saliency", images, factor), images, wide)["binary_margin"]
    raised = objective("saliency", images)
    accuracy = scores(raised, plain)["accuracy"]
    assert accuracy < scores(raised, images)["accuracy"] - 0.1
    assert abs(accuracy - scores(raised, scaled)["accuracy"]) <= 0.005


def test_a_score_that_nothing_aims_at_is_attacked_through_the_own_loss():
    assert losses_of(("mae", "my_score")) == ("l1", "task_loss")
    assert losses_of(()) == ("task_loss",)


def test_classes_are_refused(objective, images):
    with pytest.raises(ConfigError, match=r"'apgd_metrics' needs numbers, .* choose autoattack"):
        ATTACKS["apgd_metrics"](
            objective, images, budget=BUDGET, draws=Draws(torch.Generator().manual_seed(0))
        )
