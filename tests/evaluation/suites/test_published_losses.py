"""Attacks on several tasks with MTRobust's losses are those of its code.

The loops below are written from a description of that code and share nothing with ours but the
network.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional

from taskgroup.attacks.base import ATTACKS, ThreatModel
from taskgroup.config import parse
from taskgroup.draws import Draws
from taskgroup.evaluation.objective.task_objective import TaskObjective
from taskgroup.evaluation.suites.catalogue import suite_conditions
from taskgroup.tasks.base import Target, TaskInfo, build_task
from taskgroup.tasks.options import TaskOptions, with_options

MEAN = (0.29010095242892997, 0.32808144844279574, 0.28696394422942517)
STD = (0.1829540508368939, 0.18656561047509476, 0.18447508988480435)
WEIGHTS = (0.54241, 9.16744, 7.33099)
STEPS, RADIUS, STEP = 3, 4 / 255, 1 / 255
CITYSCAPES = {
    "segmentation": {},
    "depth": {},
    "autoencoding": {"loss": "mse", "std": list(STD)},
}
TASKONOMY = {
    "segmentation": {"class_weights": list(WEIGHTS)},
    "normals": {"loss": "l1"},
    "autoencoding": {"std": [0.5, 0.5, 0.5]},
}
CHANNELS = {"segmentation": 3, "depth": 1, "normals": 3, "autoencoding": 3}


class Heads(nn.Module):
    """Two layers and a head per task."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 5, padding=2)
        self.heads = nn.ModuleDict({n: nn.Conv2d(8, c, 3, padding=1) for n, c in CHANNELS.items()})

    def forward(self, images, names):
        features = torch.tanh(8 * self.first(images - 0.4))
        return {name: self.heads[name](features) for name in names}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Heads().eval()


@pytest.fixture
def images():
    return torch.rand(3, 3, 12, 10, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def labels(images):
    """Classes, depth and unit vectors for every pixel."""
    generator = torch.Generator().manual_seed(2)
    return {
        "segmentation": torch.randint(0, 3, (3, 12, 10), generator=generator),
        "depth": 10 * torch.rand(3, 1, 12, 10, generator=generator),
        "normals": functional.normalize(torch.randn(3, 3, 12, 10, generator=generator), dim=1),
        "autoencoding": images,
    }


def attacked(name, options, network, images, labels):
    """What three steps of the suite's condition ``name`` give."""
    count = {"segmentation": 3}
    tasks = [
        build_task(with_options(TaskInfo(n, count.get(n)), parse(TaskOptions, o)))
        for n, o in options.items()
    ]
    whole = torch.ones(3, 12, 10, dtype=torch.bool)
    threat = ThreatModel(epsilon=RADIUS)
    listed = suite_conditions("mtrobust_seed", threat, tasks[0], list(options), num_pixels=360)
    (condition,) = [c for c in listed if c.name == name]
    budget = condition.perturbation.budget.model_copy(update={"steps": STEPS})
    assert budget.step_size == pytest.approx(STEP)
    objective = TaskObjective(
        network,
        tasks,
        {task: Target(labels[task], whole) for task in options},
        main_task=None,
        attacked_tasks=condition.perturbation.attacked_tasks,
    )
    draws = Draws(torch.Generator().manual_seed(0))
    return ATTACKS[condition.perturbation.attack](objective, images, budget=budget, draws=draws)


def sign_ascent(start, lower, upper, step, loss):
    """``x <- clip(x + step * sign(gradient))``, three times."""
    x = start
    for _ in range(STEPS):
        x = x.detach().requires_grad_()
        loss(x).backward()
        x = clip((x + step * x.grad.sign()).detach(), lower, upper)
    return x


def clip(values, low, high):
    """From above and then from below, as the code has it."""
    values = torch.where(values > high, high, values)
    return torch.where(values < low, low, values)


def seed_on_cityscapes(network, images, labels):
    """Normalised images that are taken for images in [-1, 1]."""
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (MEAN, STD))
    clean = (images - mean) / std
    upper, lower = (clean + 2 * RADIUS).clamp(max=1), (clean - 2 * RADIUS).clamp(min=-1)

    def loss(x):
        found = network(x * std + mean, list(CITYSCAPES))
        picture = (found["autoencoding"] - mean) / std  # what a head of theirs predicts
        return (
            functional.cross_entropy(found["segmentation"], labels["segmentation"])
            + (found["depth"] - labels["depth"]).abs().mean()
            + functional.mse_loss(picture, clean)
        )

    noise = 2 * torch.rand(clean.shape, generator=torch.Generator().manual_seed(3)) - 1
    start = clip(clean + 2 * RADIUS * noise, upper, lower)  # the bounds are swapped there
    return sign_ascent(start, lower, upper, 2 * STEP, loss) * std + mean


def seed_on_taskonomy(network, images, labels):
    """Images in [-1, 1] from their upper corner; every loss is a mean over all elements."""
    clean = 2 * images - 1
    upper, lower = (clean + 2 * RADIUS).clamp(max=1), (clean - 2 * RADIUS).clamp(min=-1)
    priors = torch.tensor(WEIGHTS)[labels["segmentation"]]

    def loss(x):
        found = network((x + 1) / 2, list(TASKONOMY))
        entropy = functional.cross_entropy(
            found["segmentation"], labels["segmentation"], reduction="none"
        )
        return (
            (entropy * priors).mean()
            + (found["normals"] - labels["normals"]).abs().mean()
            + ((2 * found["autoencoding"] - 1) - clean).abs().mean()
        )

    return (sign_ascent(upper, lower, upper, 2 * STEP, loss) + 1) / 2


CASES = [
    ("mtrobust_pgd_tasks", CITYSCAPES, seed_on_cityscapes),
    ("pgd_seed_tasks", TASKONOMY, seed_on_taskonomy),
]


def share_apart(ours, theirs):
    """Share of numbers that differ by more than a tenth of a step."""
    return ((ours - theirs).abs() > STEP / 100).float().mean()


@pytest.mark.parametrize(("name", "options", "seed"), CASES)
def test_three_steps_agree_with_the_published_loop(name, options, seed, network, images, labels):
    ours = attacked(name, options, network, images, labels)
    theirs = seed(network, images, labels)
    assert (ours - images).abs().max() > STEP
    assert share_apart(ours, theirs) < 0.002  # a sign may turn where a gradient is rounding


@pytest.mark.parametrize(("name", "options", "seed"), CASES)
def test_without_the_options_they_do_not(name, options, seed, network, images, labels):
    ours = attacked(name, {task: {} for task in options}, network, images, labels)
    assert share_apart(ours, seed(network, images, labels)) > 0.02
