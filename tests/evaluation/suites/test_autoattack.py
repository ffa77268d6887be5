"""AutoAttack on a network's own objective, and beside pyautoattack."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate

from taskgroup.attacks.base import ATTACKS, AttackBudget
from taskgroup.data.base import Batch
from taskgroup.draws import Draws
from taskgroup.evaluation.objective.network import fixed_network
from taskgroup.evaluation.objective.task_objective import TaskObjective
from taskgroup.tasks.base import Target, TaskInfo, build_task

CLASSES = 6
TASK = build_task(TaskInfo("classification", num_classes=CLASSES))
LINF = AttackBudget(epsilon=6 / 255, steps=10)
L2 = AttackBudget(norm="l2", epsilon=0.3, steps=10)
balls = pytest.mark.parametrize("budget", [LINF, L2], ids=["linf", "l2"])


class Classifier(nn.Module):
    """Two convolutions and a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, stride=2),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(64, CLASSES),
        )

    def forward(self, images, tasks=None):
        return {"classification": self.layers(images)}


def draw(count, seed):
    """Blurred noise; the class says which corner is brightest in which colour half."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=generator)
    images = interpolate(coarse, size=(16, 16), mode="bilinear")
    corners = nn.functional.adaptive_avg_pool2d(images, 2)
    features = torch.cat([corners.mean(1).flatten(1), corners[:, :2].mean((2, 3))], 1)
    classes = (features + torch.tensor([0, 0, 0, 0, 0.02, 0.02])).argmax(1)
    whole = torch.ones(count, dtype=torch.bool)
    return Batch(images, {"classification": Target(classes, whole)}, torch.arange(count))


def train(seed, epsilon):
    torch.manual_seed(seed)
    network = Classifier()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for step in range(200):
        batch = draw(64, 1000 * seed + step + 7)
        images, classes = batch.images, batch.targets["classification"].values
        if epsilon:
            images.requires_grad_()
            loss = cross_entropy(network.layers(images), classes)
            (gradient,) = torch.autograd.grad(loss, images)
            images = (images + epsilon * gradient.sign()).clamp(0, 1).detach()
        optimizer.zero_grad()
        cross_entropy(network.layers(images), classes).backward()
        optimizer.step()
    return network.eval()


@pytest.fixture(scope="module")
def networks():
    """Natural, adversarially trained, and another natural one."""
    return train(0, 0.0), train(1, 6 / 255), train(2, 2 / 255)


@pytest.fixture(scope="module")
def network(networks):
    return networks[1]


def objective(network, batch):
    return TaskObjective(
        network,
        [TASK],
        batch.targets,
        main_task="classification",
        attacked_tasks=("classification",),
    )


def attack(name, network, batch, budget):
    generator = torch.Generator().manual_seed(0)
    with fixed_network(network):
        found = ATTACKS[name](
            objective(network, batch), batch.images, budget=budget, draws=Draws(generator)
        )
    return found, right(network, found, batch)


@torch.no_grad()
def right(network, images, batch):
    return network.layers(images).argmax(1) == batch.targets["classification"].values


@balls
def test_it_leaves_fewer_images_right_than_each_part(budget, network):
    batch = draw(60, 1)
    clean = right(network, batch.images, batch)
    found, left = attack("autoattack", network, batch, budget)
    assert 0.1 < left.float().mean() < clean.float().mean() - 0.1
    for weaker in ("apgd", "square", "pgd"):
        assert left.sum() <= attack(weaker, network, batch, budget)[1].sum()
    # What it did not fool, and what was wrong already, comes back as it was.
    untouched = left | ~clean
    assert torch.equal(found[untouched], batch.images[untouched])


@balls
def test_a_batch_of_one(budget, network):
    batch = draw(6, 2)
    _, whole = attack("autoattack", network, batch, budget)
    alone = [
        attack("autoattack", network, batch.select(torch.tensor([number])), budget)[1]
        for number in range(len(batch))
    ]
    assert (torch.cat(alone) != whole).sum() <= 1


def test_an_image_without_a_label_is_left_alone(network):
    batch = draw(8, 3)
    labels, seen = batch.targets["classification"]
    seen = seen.clone()
    seen[2] = False
    blind = Batch(batch.images, {"classification": Target(labels, seen)}, batch.index)
    found, _ = attack("autoattack", network, blind, LINF.model_copy(update={"epsilon": 0.5}))
    assert torch.equal(found[2], batch.images[2])
    assert not torch.equal(found, batch.images)


class BreaksWhenBright(nn.Module):
    """Answers NaN for images that are brighter than they came."""

    def __init__(self, network, images):
        super().__init__()
        self.layers, self.limit = network.layers, images.mean() + 0.01

    def forward(self, images, tasks=None):
        logits = self.layers(images)
        bright = images.mean((1, 2, 3), keepdim=False) > self.limit
        return {"classification": torch.where(bright[:, None], torch.nan, logits)}


def test_a_network_that_answers_nan_is_not_robust(network):
    batch = draw(1, 4)
    broken = BreaksWhenBright(network, batch.images)
    budget = AttackBudget(epsilon=0.1, steps=10)
    with fixed_network(broken):
        found = ATTACKS["autoattack"](
            objective(broken, batch),
            batch.images,
            budget=budget,
            draws=Draws(torch.Generator().manual_seed(0)),
        )
        logits = objective(broken, batch).logits(found)
    assert not logits.isfinite().all() or logits.argmax(1) != batch.targets["classification"].values


@pytest.mark.slow
@pytest.mark.timeout(1200)
@balls
def test_it_agrees_with_pyautoattack(budget, networks):
    """On three networks, 200 images each, within half a point: one image."""
    import pyautoattack as package

    batch = draw(200, 6)
    labels = batch.targets["classification"].values
    for network in networks:
        full = budget.model_copy(update={"steps": 100})
        left = attack("autoattack", network, batch, full)[1].sum()
        suite = package.AutoAttack(
            network.layers,
            eps=full.epsilon,
            norm={"linf": "Linf", "l2": "L2"}[full.norm],
            seed=0,
        )
        suite.fab.n_target_classes = suite.apgd_targeted.n_target_classes = CLASSES - 1
        found, *_ = suite.run_standard_evaluation(batch.images, labels, batch_size=200)
        assert abs(int(left) - int(right(network, found, batch).sum())) <= 1
