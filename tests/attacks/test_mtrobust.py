"""MTRobust's Cityscapes attacks: right by default, in the published wrong box where asked."""

import pytest
import torch

from taskgroup.attacks.base import ATTACKS, AttackBudget, Evaluation
from taskgroup.attacks.mtrobust import MEAN, STD
from taskgroup.draws import Draws
from taskgroup.errors import ConfigError

NAMES = ("mtrobust_pgd", "mtrobust_mim")
BUDGET = AttackBudget(epsilon=4 / 255, steps=20, step_size=1 / 255, random_start=True, keep="last")
SEED = BUDGET.model_copy(update={"seed_compatible": True})


def run(name, objective, images, budget, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return ATTACKS[name](objective, images, budget=budget, draws=Draws(generator))


@pytest.mark.parametrize(("name", "other"), [("mtrobust_pgd", "pgd"), ("mtrobust_mim", "mim")])
def test_by_default_they_are_the_standard_attacks(name, other, objective, images):
    ours, standard = (run(attack, objective, images, BUDGET) for attack in (name, other))
    assert torch.equal(ours, standard)


def naive(objective, images, budget, decay):
    """The published loop, pixel by pixel in its own units, with its two clips in their order."""
    mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (MEAN, STD))
    x = (images - mean) / std
    radius, step = 2 * budget.epsilon, 2 * budget.step_size
    upper, lower = (x + radius).clamp(max=1), (x - radius).clamp(min=-1)

    def clip(values, low, high):
        values = torch.where(values > high, high, values)
        return torch.where(values < low, low, values)

    noise = 2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) - 1
    y, total = clip(x + radius * noise, upper, lower), torch.zeros_like(x)
    for _ in range(budget.steps):
        y.requires_grad_()
        (gradient,) = torch.autograd.grad(objective(y * std + mean, 0).loss.sum(), y)
        total = decay * total + gradient
        y = clip(y.detach() + step * total.sign(), lower, upper)
    return y * std + mean


@pytest.mark.parametrize(("name", "decay"), [("mtrobust_pgd", 0.0), ("mtrobust_mim", 0.5)])
def test_the_wrong_box_agrees_with_the_published_loop(name, decay, objective, images):
    attacked = run(name, objective, images, SEED)
    torch.testing.assert_close(attacked, naive(objective, images, SEED, decay))


@pytest.mark.parametrize("name", NAMES)
def test_the_start_is_no_draw(name, objective, images):
    first, second = (run(name, objective, images, SEED, seed=seed) for seed in (0, 1))
    assert torch.equal(first, second)


def test_most_pixels_of_a_random_image_leave_the_attack_no_choice(objective_from):
    """The shares that were found by running the published code on uniform images."""
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    rising, falling = (
        run("mtrobust_pgd", objective_from(lambda x, s=s: s * x.sum((1, 2, 3))), images, SEED)
        for s in (1, -1)
    )
    change = (rising - images).abs().maximum((falling - images).abs())
    fixed = torch.isclose(rising, falling, atol=1e-6)
    assert 0.55 < fixed.float().mean() < 0.65
    assert 0.08 < (change > 4 / 255 + 1e-4).float().mean() < 0.12
    assert 30 / 255 < change.max() < 37 / 255
    std = torch.tensor(STD).view(1, 3, 1, 1).expand_as(images)
    inside = ~fixed & (change < 4 / 255)
    free = inside & ((images - 0.3).abs() < 0.05)
    torch.testing.assert_close(change[free], (8 / 255 * std)[free])
    assert rising.min() >= 0
    assert rising.max() <= 1


def test_houdini_takes_the_published_loss(images):
    asked = []

    class Exchangeable:
        predicts = "class_map"
        scores = ("rmse", "mae")

        def with_loss(self, loss, **options):
            asked.append(loss)
            return self

        def logit_gap(self, images):
            return torch.ones(len(images))

        def __call__(self, images, progress):
            loss = images.sum((1, 2, 3))
            return Evaluation(loss, loss.detach(), -loss.detach())

        def select(self, index):
            return self

    run("mtrobust_houdini", Exchangeable(), images, SEED)
    run("mtrobust_houdini", Exchangeable(), images, BUDGET)
    assert asked == ["houdini_seed", "houdini"]


@pytest.mark.parametrize("name", NAMES)
def test_the_published_box_is_one_of_linf(name, objective, images):
    budget = AttackBudget(norm="l2", epsilon=0.5, seed_compatible=True)
    with pytest.raises(ConfigError, match=r"seed_compatible must go with norm linf, got l2"):
        run(name, objective, images, budget)
