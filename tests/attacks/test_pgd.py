"""PGD and FGSM: own properties, and agreement with a loop written out; noise is weaker."""

import pytest
import torch

from taskgroup.attacks.base import ATTACKS, AttackBudget, Evaluation
from taskgroup.attacks.iterates import input_gradient
from taskgroup.draws import Draws
from taskgroup.errors import ConfigError

pgd, fgsm, noise = ATTACKS["pgd"], ATTACKS["fgsm"], ATTACKS["noise"]
BUDGET = AttackBudget(epsilon=8 / 255, steps=5)


def seeded():
    return torch.Generator().manual_seed(7)


def test_pgd_agrees_with_a_naive_loop(objective, images):
    budget = BUDGET.model_copy(update={"random_start": False, "keep": "last"})
    x = images.clone()
    for _ in range(5):
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(objective(x, 0).loss.sum(), x)
        x = x.detach() + 2.5 * budget.epsilon / 5 * gradient.sign()
        x = torch.max(torch.min(x, images + budget.epsilon), images - budget.epsilon).clamp(0, 1)
    torch.testing.assert_close(pgd(objective, images, budget=budget, draws=Draws(seeded())), x)


def test_more_restarts_never_hurt_the_attacker(objective, images):
    losses = [
        objective(
            pgd(
                objective,
                images,
                budget=BUDGET.model_copy(update={"restarts": restarts, "steps": 1}),
                draws=Draws(seeded()),
            ),
            1,
        ).loss
        for restarts in (1, 2, 5)
    ]
    assert (losses[1] >= losses[0]).all()
    assert (losses[2] >= losses[1]).all()
    assert (losses[2] > losses[0]).any()


def test_best_is_at_least_last(objective, images):
    best = pgd(objective, images, budget=BUDGET, draws=Draws(seeded()))
    budget = BUDGET.model_copy(update={"keep": "last"})
    last = pgd(objective, images, budget=budget, draws=Draws(seeded()))
    assert (objective(best, 1).loss >= objective(last, 1).loss).all()


def test_best_finds_the_peak_between_two_steps(objective_from, images):
    grey = torch.full_like(images, 0.5)
    peak = objective_from(lambda x: -(x - 0.53).abs().sum((1, 2, 3)))
    budget = AttackBudget(epsilon=0.1, steps=7, step_size=0.03, random_start=False)
    best = pgd(peak, grey, budget=budget, draws=Draws(seeded()))
    torch.testing.assert_close(best, torch.full_like(grey, 0.53))


def test_the_iterate_that_breaks_the_network_is_kept(objective_from, images):
    grey = torch.full_like(images, 0.5)

    def loss(x):
        mean = x.mean((1, 2, 3))
        return torch.where(mean > 0.55, torch.nan, mean)

    budget = AttackBudget(epsilon=0.1, steps=10, random_start=False)
    attacked = pgd(objective_from(loss), grey, budget=budget, draws=Draws(seeded()))
    assert (attacked.mean((1, 2, 3)) > 0.55).all()


@pytest.mark.parametrize(("keep", "calls"), [("best", 2 * 5 + 2 + 1), ("last", 2 * 5)])
def test_pgd_costs_what_it_says(keep, calls, objective, images):
    budget = BUDGET.model_copy(update={"restarts": 2, "keep": keep})
    pgd(objective, images, budget=budget, draws=Draws(seeded()))
    assert objective.calls == calls


def test_fgsm_is_a_signed_step(objective, images):
    budget = AttackBudget(epsilon=4 / 255, random_start=False, keep="last", steps=50)
    gradient, _ = input_gradient(objective, images, 0)
    attacked = fgsm(objective, images, budget=budget, draws=Draws(seeded()))
    torch.testing.assert_close(attacked, (images + 4 / 255 * gradient.sign()).clamp(0, 1))
    assert objective.calls == 2


def test_fgsm_starts_at_random_when_asked(objective, images):
    budget = AttackBudget(epsilon=4 / 255, random_start=True, keep="last")
    first, second = (
        fgsm(objective, images, budget=budget, draws=Draws(torch.Generator().manual_seed(seed)))
        for seed in (1, 2)
    )
    assert not torch.equal(first, second)


def test_a_linear_loss_is_raised_to_its_maximum(objective_from, images):
    weight = torch.randn(1, 3, 8, 8)
    linear = objective_from(lambda x: (x * weight).sum((1, 2, 3)))
    budget = AttackBudget(epsilon=4 / 255)
    expected = (images + 4 / 255 * weight.sign()).clamp(0, 1)
    for attack in (fgsm, pgd):
        attacked = attack(linear, images, budget=budget, draws=Draws(seeded()))
        kept = budget.model_copy(update={"random_start": False})
        exact = attack(linear, images, budget=kept, draws=Draws(seeded()))
        torch.testing.assert_close(exact, expected)
        assert (linear(attacked, 1).loss <= linear(expected, 1).loss + 1e-4).all()


def test_noise_asks_for_no_gradient_and_is_weaker(objective, images):
    drawn = noise(objective, images, budget=BUDGET, draws=Draws(seeded()))
    attacked = pgd(objective, images, budget=BUDGET, draws=Draws(seeded()))
    assert objective(drawn, 1).loss.mean() < objective(attacked, 1).loss.mean()


def test_an_objective_may_combine_gradients_itself(objective, images):
    class Downhill(type(objective)):
        def gradient(self, images, progress):
            zeros = torch.zeros(len(images))
            return -torch.ones_like(images), Evaluation(zeros, zeros, zeros)

    downhill = Downhill(objective.network, objective.labels)
    budget = BUDGET.model_copy(update={"keep": "last", "random_start": False})
    attacked = pgd(downhill, images, budget=budget, draws=Draws(seeded()))
    torch.testing.assert_close(attacked, (images - BUDGET.epsilon).clamp(0, 1))


def test_an_unknown_attack_names_the_known_ones():
    with pytest.raises(ConfigError, match="unknown attack 'pgdd'; did you mean 'pgd'"):
        ATTACKS["pgdd"]
