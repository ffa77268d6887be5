"""Where the MTRobust attacks begin, and momentum as it has it."""

import pytest
import torch

from taskgroup.attacks.base import ATTACKS, AttackBudget
from taskgroup.attacks.geometry import starting_point
from taskgroup.attacks.iterates import input_gradient
from taskgroup.draws import Draws
from taskgroup.errors import ConfigError

SEED = AttackBudget(epsilon=8 / 255, steps=3, step_size=2 / 255, keep="last", seed_compatible=True)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_seed_compatible_start_is_the_upper_corner(images):
    for seed in (1, 2):
        start = starting_point(images, SEED, seeded(seed))
        torch.testing.assert_close(start, (images + 8 / 255).clamp(max=1))
    still = SEED.model_copy(update={"random_start": False})
    assert torch.equal(starting_point(images, still, seeded()), images)


@pytest.mark.parametrize("name", ["pgd", "mim", "mim_seed", "fgsm"])
def test_two_seeds_then_give_the_same_attack(name, objective, images):
    first, second = (
        ATTACKS[name](objective, images, budget=SEED, draws=Draws(seeded(seed))) for seed in (1, 2)
    )
    assert torch.equal(first, second)
    honest = SEED.model_copy(update={"seed_compatible": False})
    assert not torch.equal(
        ATTACKS[name](objective, images, budget=honest, draws=Draws(seeded(1))), first
    )


def test_the_corner_is_one_of_linf(objective, images):
    budget = SEED.model_copy(update={"norm": "l2", "epsilon": 0.5})
    with pytest.raises(ConfigError, match="seed_compatible must go with norm linf, got l2"):
        ATTACKS["pgd"](objective, images, budget=budget, draws=Draws(seeded()))


@pytest.mark.parametrize(("name", "decay"), [("mim", 1.0), ("mim_seed", 0.5)])
def test_momentum_agrees_with_a_loop(name, decay, objective, images):
    budget = AttackBudget(epsilon=8 / 255, steps=4, random_start=False, keep="last")
    point, total = images, torch.zeros_like(images)
    for _ in range(4):
        gradient, _ = input_gradient(objective, point, 0.0)
        if name == "mim":
            gradient = gradient / gradient.abs().sum((1, 2, 3), keepdim=True)
        total = decay * total + gradient
        point = point + 2.5 * budget.epsilon / 4 * total.sign()
        low, high = images - budget.epsilon, images + budget.epsilon
        point = torch.min(torch.max(point, low), high).clamp(0, 1)
    found = ATTACKS[name](objective, images, budget=budget, draws=Draws(seeded()))
    torch.testing.assert_close(found, point)
