import math

import pytest
import torch

from taskgroup.training.weighting.base import WEIGHTINGS, WeightedTask
from taskgroup.training.weighting.gradients import GradientWeighting

TASKS = (
    WeightedTask("segmentation", 1.0, is_classification=True),
    WeightedTask("depth", 0.3, is_classification=False),
    WeightedTask("normals", 0.05, is_classification=False),
)
LOSSES = torch.tensor([1.7, 0.4, 0.9])


def trained(name, tasks, losses, steps=5):
    """A weighting after some steps on constant losses."""
    weighting = WEIGHTINGS[name](tasks)
    if list(weighting.parameters()):
        optimizer = torch.optim.SGD(weighting.parameters(), lr=0.1)
        for _ in range(steps):
            optimizer.zero_grad()
            weighting(losses).backward()
            optimizer.step()
    return weighting


@pytest.mark.parametrize("name", WEIGHTINGS)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e6])
def test_weights_are_one_finite_number_per_task(name, scale):
    weights = trained(name, TASKS, LOSSES).weights(scale * LOSSES)
    assert weights.shape == (3,)
    assert weights.isfinite().all()
    assert (weights > 0).all()
    assert not weights.requires_grad


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_weighting_is_equivariant_to_the_order_of_tasks(name):
    order = [2, 0, 1]
    plain = trained(name, TASKS, LOSSES)
    permuted = trained(name, [TASKS[i] for i in order], LOSSES[order])
    torch.testing.assert_close(permuted.weights(LOSSES[order]), plain.weights(LOSSES)[order])
    torch.testing.assert_close(permuted(LOSSES[order]), plain(LOSSES))


JACOBIAN = torch.tensor([[1.0, 0.5, 0.0], [-0.8, 0.6, 0.1], [0.2, -0.3, 0.4]])
"""Gradients of three losses by three parameters; the first two conflict."""
OF_GRADIENTS = [name for name in WEIGHTINGS if issubclass(WEIGHTINGS[name], GradientWeighting)]


@pytest.mark.parametrize("name", OF_GRADIENTS)
def test_the_direction_of_gradients_does_not_depend_on_the_order_of_tasks(name):
    order = [2, 0, 1]
    aggregator = WEIGHTINGS[name](TASKS).aggregator
    torch.testing.assert_close(aggregator(JACOBIAN[order]), aggregator(JACOBIAN))


@pytest.mark.parametrize("name", OF_GRADIENTS)
def test_the_direction_of_equal_gradients_is_theirs(name):
    equal = JACOBIAN[:1].expand(3, 3)
    torch.testing.assert_close(WEIGHTINGS[name](TASKS).aggregator(equal), JACOBIAN[0])


def test_upgrad_lets_no_loss_rise_where_their_mean_does():
    mean, upgrad = (WEIGHTINGS[name](TASKS).aggregator for name in ("mean", "upgrad"))
    torch.testing.assert_close(mean(JACOBIAN), JACOBIAN.mean(0))
    opposed = torch.tensor([[1.0, 0.2], [-3.0, 0.2]])
    assert (opposed @ mean(opposed)).min() < 0
    assert (opposed @ upgrad(opposed)).min() >= -1e-5


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_gradient_of_the_loss_is_the_weights(name):
    weighting = trained(name, TASKS, LOSSES)
    losses = LOSSES.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(weighting(losses), losses)
    torch.testing.assert_close(gradient, weighting.weights(LOSSES))


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_one_task_works(name):
    weighting = WEIGHTINGS[name](TASKS[:1])
    assert weighting(LOSSES[:1]).shape == ()


def test_fixed_is_the_weighted_sum():
    weighting = WEIGHTINGS["fixed"](TASKS)
    assert float(weighting(LOSSES)) == pytest.approx(1.7 + 0.3 * 0.4 + 0.05 * 0.9)


def test_uncertainty_starts_at_kendalls_formula():
    weighting = WEIGHTINGS["uncertainty"](TASKS)
    assert weighting(LOSSES).item() == pytest.approx(1.7 + 0.5 * (0.3 * 0.4 + 0.05 * 0.9))


def test_uncertainty_finds_the_best_variances():
    """d/ds of a exp(-s) L + s / 2 vanishes at s = log(2 a L), whatever the loss weight."""
    weighting = trained("uncertainty", TASKS, LOSSES, steps=4000)
    best = [math.log(2 * 1.7), math.log(0.4), math.log(0.9)]
    torch.testing.assert_close(
        weighting.log_variances.detach(), torch.tensor(best), atol=2e-3, rtol=0
    )
