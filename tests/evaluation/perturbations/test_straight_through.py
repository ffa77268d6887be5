"""Gradients pass what has none, or a wrong one; predictions stay as they are."""

import pytest
import torch
from torch.autograd import Function

from taskgroup.attacks.base import AttackBudget, ThreatModel
from taskgroup.evaluation.perturbations.attack import NetworkAttack
from taskgroup.evaluation.perturbations.base import BatchSeed, NetworkUnderTest
from taskgroup.evaluation.perturbations.straight_through import (
    StraightThrough,
    StraightThroughAttack,
)


class Spoilt(Function):
    """The images, with the opposite gradient."""

    @staticmethod
    def forward(ctx, images):
        return images.clone()

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


def spoilt_by_hook(images):
    images = images.clone()
    if images.requires_grad:
        images.register_hook(lambda gradient: -gradient)
    return images


def masked(images):
    """Bright pixels only; the gradient knows nothing of the others."""
    return images * (images > 0.4)


TRICKS = {
    "rounding": lambda images: (8 * images).round() / 8,
    "floor": lambda images: torch.floor(8 * images) / 8,
    "detach": lambda images: images.detach(),
    "gradient of grey": lambda images: (
        images.mean(1, keepdim=True) + (images - images.mean(1, keepdim=True)).detach()
    ),
    "threshold": lambda images: (images >= 0.5).float(),
    "dark": lambda images: (images < 0.5).float(),
    "mask": masked,
    "own function": lambda images: Spoilt.apply(images),
    "hook": spoilt_by_hook,
}


def gradient(model, images, tasks):
    probe = images.clone().requires_grad_()
    model(probe, tasks)["segmentation"].square().sum().backward()
    return probe.grad


@pytest.mark.parametrize("name", TRICKS)
def test_the_gradient_is_that_of_leaving_images_alone(behind, name, trained, batch):
    model = behind(trained, TRICKS[name])
    with torch.no_grad():
        seen = TRICKS[name](batch.images)
        expected = model(batch.images, ["segmentation"])["segmentation"]
        copied = StraightThrough(model)(batch.images, ["segmentation"])["segmentation"]
    assert torch.equal(copied, expected)
    followed = StraightThrough(model)(batch.images.clone().requires_grad_(), ["segmentation"])
    torch.testing.assert_close(followed["segmentation"].detach(), expected)
    sign = -1 if name == "dark" else 1  # the picture is a negative
    own = sign * gradient(trained, seen, ["segmentation"])
    passed = gradient(StraightThrough(model), batch.images, ["segmentation"])
    torch.testing.assert_close(passed, own, rtol=1e-4, atol=1e-3)


def test_nothing_is_left_behind(behind, trained, batch):
    before = Function.__dict__["apply"]
    gradient(StraightThrough(behind(trained, Spoilt.apply)), batch.images, ["segmentation"])
    assert Function.__dict__["apply"] is before
    with pytest.raises(ZeroDivisionError):
        gradient(StraightThrough(behind(trained, lambda _: 1 / 0)), batch.images, ["segmentation"])
    assert Function.__dict__["apply"] is before


def test_an_attack_gets_through(behind, trained, tasks, batch):
    """Rounding leaves plain gradients at zero; its copy shows the way."""
    budget = AttackBudget(epsilon=16 / 255, steps=10)
    plain = NetworkAttack("pgd", budget, ("segmentation",))
    attack = StraightThroughAttack(plain)
    model = behind(trained, TRICKS["rounding"]).eval().requires_grad_(False)
    network = NetworkUnderTest(model, tasks)

    def right(perturbation):
        (images,) = perturbation.apply(network, batch, BatchSeed(0, 0)).values()
        assert (images - batch.images).abs().max() <= 16 / 255 + 1e-6
        target = batch.targets["segmentation"]
        found = model(images, ["segmentation"])["segmentation"].argmax(1) == target.values
        return float(found[target.valid].float().mean())

    assert right(attack) < right(plain) - 0.05
    assert attack.work != plain.work
    assert attack.row() == plain.row()
    assert attack.is_inside(ThreatModel(epsilon=16 / 255))
    assert not attack.is_inside(ThreatModel(epsilon=8 / 255))
