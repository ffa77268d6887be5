"""What every registered attack keeps to, in every norm: a new one is tested as soon as it exists.

Attacks that look at something else than an objective's loss are left out of the properties of a
loss: ensembles choose by the score, and those of one class per image follow logits.
"""

import pytest
import torch
from torch import nn

from taskgroup.attacks.base import ATTACKS, AttackBudget, EnsembleAttack
from taskgroup.attacks.compatibility import NEEDS, WITHOUT_L1
from taskgroup.draws import Draws

BUDGETS = [
    AttackBudget(norm="linf", epsilon=8 / 255, steps=4, restarts=2),
    AttackBudget(norm="l2", epsilon=0.5, steps=4, restarts=2),
    AttackBudget(norm="l1", epsilon=6.0, steps=8, restarts=2),
    AttackBudget(norm="linf", epsilon=1.0, steps=2, random_start=False),
    AttackBudget(norm="l2", epsilon=20.0, steps=2, random_start=False),
]
LAST = [budget.model_copy(update={"keep": "last"}) for budget in BUDGETS]
every_attack = pytest.mark.parametrize("name", list(ATTACKS))
ENSEMBLES = [name for name in ATTACKS if isinstance(ATTACKS[name], EnsembleAttack)]
OF_LOSS = [name for name in ATTACKS if name not in ENSEMBLES and NEEDS.get(name) != "class"]
FROM_THE_IMAGE = {"bim"}
"""Attacks that begin at the image whatever the budget says."""
every_loss_attack = pytest.mark.parametrize("name", OF_LOSS)
every_budget = pytest.mark.parametrize("budget", BUDGETS + LAST, ids=str)


def assert_inside(attacked, images, budget):
    change = (attacked - images).double()
    order = {"linf": torch.inf, "l2": 2, "l1": 1}[budget.norm]
    assert change.flatten(1).norm(p=order, dim=1).amax() <= budget.epsilon + 5e-6
    assert attacked.min() >= 0
    assert attacked.max() <= 1


def run(name, objective, images, budget, seed=0):
    if budget.norm == "l1" and name in WITHOUT_L1:
        pytest.skip("it has no step for this ball")
    generator = torch.Generator().manual_seed(seed)
    # A label per image is a map of one pixel: attacks of class maps run on it too.
    objective.predicts = NEEDS.get(name, "class")
    return ATTACKS[name](objective, images, budget=budget, draws=Draws(generator))


@every_attack
@every_budget
def test_stays_in_the_ball_and_the_box(name, budget, objective, images):
    attacked = run(name, objective, images, budget)
    assert_inside(attacked, images, budget)
    assert attacked.shape == images.shape
    assert attacked.dtype == images.dtype
    assert not attacked.requires_grad


@pytest.mark.parametrize("name", ENSEMBLES)
@every_budget
def test_an_ensemble_returns_one_of_its_members_per_image(name, budget, objective, images):
    attacked = run(name, objective, images, budget)
    draws = Draws(torch.Generator().manual_seed(0))
    members = dict(ATTACKS[name].members(objective, images, budget=budget, draws=draws))
    for member in members.values():
        assert_inside(member, images, budget)
    for place, image in enumerate(attacked):
        assert any(torch.equal(image, member[place]) for member in members.values())


@every_loss_attack
@pytest.mark.parametrize("budget", BUDGETS, ids=str)
def test_the_loss_does_not_fall(name, budget, objective, images):
    clean = objective(images, 0).loss
    attacked = objective(run(name, objective, images, budget), 1).loss
    assert (attacked >= clean - 1e-6).all()


@every_loss_attack
def test_a_loss_that_only_falls_gives_the_images_back(name, objective_from, images):
    falling = objective_from(lambda x: -(x - images).abs().sum((1, 2, 3)))
    assert torch.equal(run(name, falling, images, BUDGETS[0]), images)


@every_attack
@every_budget
def test_leaves_the_model_as_it_was(name, budget, objective, network, images):
    network[0].weight.requires_grad_(False)
    network[5].bias.grad = torch.ones(4)
    network[3].train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    copy = images.clone()
    run(name, objective, images, budget)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not network[0].weight.requires_grad
    assert network[5].weight.requires_grad
    assert network[5].weight.grad is None
    assert torch.equal(network[5].bias.grad, torch.ones(4))
    assert torch.equal(images, copy)
    assert not images.requires_grad


@every_attack
@every_budget
def test_leaves_the_global_random_state(name, budget, objective, images):
    before = torch.get_rng_state()
    run(name, objective, images, budget)
    assert torch.equal(torch.get_rng_state(), before)


@every_attack
@every_budget
def test_the_generator_decides(name, budget, objective, images):
    first = run(name, objective, images, budget, seed=5)
    assert torch.equal(first, run(name, objective, images, budget, seed=5))
    if name not in OF_LOSS or name in FROM_THE_IMAGE:
        return
    if name == "noise" or budget.random_start:
        flat = objective.select(torch.arange(6))
        flat.network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
        # Short steps: no attack may reach the same corner from both starts.
        short = {"keep": "last", "step_size": budget.epsilon / 100}
        keep_last = budget.model_copy(update=short)
        draws = [run(name, flat, images, keep_last, seed=seed) for seed in (5, 6)]
        assert not torch.equal(*draws)


@every_attack
def test_no_radius_gives_the_images_back(name, objective, images):
    attacked = run(name, objective, images, AttackBudget(epsilon=0))
    assert torch.equal(attacked, images)
    assert attacked.data_ptr() != images.data_ptr()


@every_attack
@every_budget
def test_an_image_does_not_feel_the_others(name, budget, objective, images):
    others = images.clone()
    others[1:] = 1 - others[1:]
    first = run(name, objective, images, budget)[0]
    second = run(name, objective, others, budget)[0]
    torch.testing.assert_close(first, second)


@every_attack
def test_memory_format_does_not_matter(name, objective, images):
    rows = run(name, objective, images, BUDGETS[0])
    columns = run(name, objective, images.to(memory_format=torch.channels_last), BUDGETS[0])
    torch.testing.assert_close(rows, columns)


@every_loss_attack
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_does_not_crash(name, bad, objective_from, images):
    broken = objective_from(lambda x: x.sum((1, 2, 3)) * bad)
    attacked = run(name, broken, images, BUDGETS[1])
    assert attacked.isfinite().all()


class Dark(nn.Module):
    """A network that gives NaN for dark images."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        dark = images.mean((1, 2, 3)) < 0.2
        return self.network(images) * torch.where(dark, torch.nan, 1.0)[:, None]


@every_attack
@pytest.mark.parametrize("budget", BUDGETS[:3], ids=str)
def test_images_that_break_the_network_keep_no_other_from_being_attacked(
    name, budget, objective, network, images
):
    whole = run(name, objective, images, budget)
    broken = images.clone()
    broken[[1, 4]] *= 0.05
    objective.network = Dark(network)
    attacked = run(name, objective, broken, budget)
    assert_inside(attacked, broken, budget)
    others = [0, 2, 3, 5]
    torch.testing.assert_close(attacked[others], whole[others])


@every_attack
@pytest.mark.parametrize("budget", BUDGETS[:3], ids=str)
def test_a_point_that_breaks_the_network_is_the_worst(name, budget, objective, network, images):
    """Wherever an attack meets one, that is what it returns: NaN counts as fooled."""

    class Brittle(nn.Module):
        def forward(self, points):
            broke = (points - images[: len(points)]).abs().mean((1, 2, 3)) > 1e-4
            return network(points) * torch.where(broke, torch.nan, 1.0)[:, None]

    objective.network = Brittle()
    objective.select = lambda index: objective  # all images break alike, and leave together
    attacked = run(name, objective, images, budget)
    assert not objective.network(attacked).isfinite().all(1).any()


@every_loss_attack
def test_a_loss_that_ignores_the_images_does_not_crash(name, objective_from, images):
    constant = objective_from(lambda x: torch.ones(len(x)))
    assert torch.equal(run(name, constant, images, BUDGETS[0]), images)
