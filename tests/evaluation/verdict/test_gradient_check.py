"""Gradients that do not describe the network are found out, whatever they look like."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

from taskgroup.attacks.base import ThreatModel
from taskgroup.evaluation.verdict.gradient_check import (
    GradientCheck,
    check_gradients,
    checked_images,
)
from taskgroup.tasks.base import Target

THREAT = ThreatModel(norm="linf", epsilon=8 / 255)
main_tasks = pytest.mark.parametrize("main_task", ["segmentation", "depth", "classification"])


class After(nn.Module):
    """A function of every prediction of a network."""

    def __init__(self, network, function):
        super().__init__()
        self.network, self.function = network, function

    def forward(self, images, tasks=None):
        return {name: self.function(p) for name, p in self.network(images, tasks).items()}


def straight_through(forward):
    """What ``forward`` gives, with the gradient of leaving images alone."""
    return lambda images: images + (forward(images) - images).detach()


def blurred(images):
    return interpolate(avg_pool2d(images, 4), scale_factor=4, mode="nearest")


def rounded(images):
    return (images * 6).round() / 6


def through_grey(images):
    """The images, with the gradient of their grey value only."""
    grey = images.mean(1, keepdim=True).expand_as(images)
    return grey + (images - grey).detach()


def through_mean(images):
    """Rounded images, with the gradient of their mean only."""
    mean = images.mean((2, 3), keepdim=True).expand_as(images)
    return mean + (rounded(images) - mean).detach()


class Flipped(torch.autograd.Function):
    """The images, with the opposite gradient at every sixteenth pixel of each row."""

    @staticmethod
    def forward(ctx, images):
        return images.clone()

    @staticmethod
    def backward(ctx, gradient):
        changed = gradient.clone()
        changed[..., ::4] *= -1
        return changed


class SmallFlipped(torch.autograd.Function):
    """The images, with the opposite sign of every gradient entry below the median."""

    @staticmethod
    def forward(ctx, images):
        return images.clone()

    @staticmethod
    def backward(ctx, gradient):
        sizes = gradient.abs()
        return gradient.where(sizes > sizes.median(), -gradient)


class WrongWhere(torch.autograd.Function):
    """The images, with noise for the gradient of those that a test picks."""

    @staticmethod
    def forward(ctx, images, is_wrong):
        ctx.save_for_backward(is_wrong(images).view(-1, 1, 1, 1))
        return images.clone()

    @staticmethod
    def backward(ctx, gradient):
        (is_wrong,) = ctx.saved_tensors
        noise = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(3))
        return torch.where(is_wrong, noise * gradient.abs().mean(), gradient), None


def at_the_border(images):
    """Whether a number of an image is 0 or 1, as attacks leave it."""
    return ((images <= 0) | (images >= 1)).flatten(1).any(1)


def in_bfloat16(images):
    return torch.full((len(images),), torch.is_autocast_enabled("cpu"))


def rippled(images, gain, period):
    """A fine wave on the images: it moves them little and their slope a lot."""
    wave = 2 * torch.pi / period
    return images + gain / wave * torch.sin(wave * images)


FRAUDS = {
    "ripple of 3/255": lambda images: rippled(images, 3, 3 / 255),
    "ripple of 2/255": lambda images: rippled(images, 8, 2 / 255),
    "ripple of 6/255": lambda images: rippled(images, 4, 6 / 255),
    "low-pass": straight_through(blurred),
    "rounding": straight_through(rounded),
    "grey": through_grey,
    "mean": through_mean,
    "flipped": Flipped.apply,
    "small entries flipped": SmallFlipped.apply,
    "nothing": lambda images: images.detach(),
}
HONEST = {
    "nothing": lambda images: images,
    "low-pass": blurred,
    "scaled": lambda images: 3 * images - 1,
    "clamped": lambda images: images.clamp(0, 1),
    "squeezed": lambda images: torch.sigmoid(8 * (images - 0.5)),
}


def check(network, tasks, batch, main_task, **changed):
    return check_gradients(
        network, tasks, batch, main_task=main_task, threat=THREAT, **{"at_once": 32, **changed}
    )


@main_tasks
@pytest.mark.parametrize("name", FRAUDS)
def test_wrong_gradients_are_found(behind, name, network, tasks, batch, main_task):
    """Random weights see fine detail; those of the trained one see little but brightness."""
    found = check(behind(network, FRAUDS[name]), tasks, batch, main_task)
    assert found.is_failed
    assert found.share > 0.25


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_the_gradient_of_the_attacks_own_format_is_checked(
    behind, precision, trained, tasks, batch
):
    for is_wrong, is_failed in ((in_bfloat16, precision is not None), (at_the_border, True)):
        model = behind(trained, lambda images, rule=is_wrong: WrongWhere.apply(images, rule))
        light = replace(batch, images=(3 * batch.images - 1).clamp(0, 1))
        found = check(model, tasks, light, "segmentation", precision=precision)
        assert found.is_failed == is_failed
    assert not check(trained, tasks, batch, "segmentation", precision=precision).is_failed


@pytest.mark.parametrize(("share", "is_failed"), [(0.0, False), (0.125, False), (0.16, True)])
def test_more_than_one_image_in_eight_is_too_many(share, is_failed):
    """Each could keep its clean score in vain."""
    assert GradientCheck(share).is_failed == is_failed


def test_images_are_spread_over_all_that_are_scored(make_loaded, make_images, trained):
    """Wrong gradients of the later ones would else go unseen."""
    loaded = make_loaded([trained], make_images(20))
    assert loaded.spread(0, 20, 6).index.tolist() == [0, 3, 6, 10, 13, 16]
    assert loaded.spread(0, 5, 6).index.tolist() == [0, 1, 2, 3, 4]


@main_tasks
@pytest.mark.parametrize("name", HONEST)
def test_right_gradients_pass(behind, name, network, honest, tasks, batch, main_task):
    for honest_one in (network, *honest):
        found = check(behind(honest_one, HONEST[name]), tasks, batch, main_task)
        assert not found.is_failed
        assert not found.is_undecided
        assert found.share < 0.1


@main_tasks
def test_gradients_of_few_pixels_are_right(behind, network, tasks, batch, generator, main_task):
    """Behind a maximum most pixels have no gradient, and nearly no slope."""
    grainy = replace(batch, images=torch.rand(batch.images.shape, generator=generator))
    network_behind = behind(network, lambda images: max_pool2d(images, 3, stride=1, padding=1))
    assert not check(network_behind, tasks, grainy, main_task).is_failed


@main_tasks
@pytest.mark.parametrize("factor", [1e-3, 10.0])
def test_the_scale_of_logits_does_not_matter(factor, trained, tasks, batch, main_task):
    found = check(After(trained, lambda p: factor * p), tasks, batch, main_task)
    assert found.share < 0.2


@main_tasks
def test_differences_below_rounding_are_taken_in_double(behind, trained, tasks, batch, main_task):
    hidden = After(trained, lambda p: p * 1e-3 + 100.0)
    found = check(hidden, tasks, batch, main_task)
    assert found.share < 0.1
    fraud = After(behind(trained, FRAUDS["rounding"]), lambda p: p * 1e-3 + 100.0)
    assert check(fraud, tasks, batch, main_task).is_failed


def test_a_network_that_knows_float32_alone_is_undecided(behind, trained, tasks, batch):
    hidden = After(behind(trained, lambda x: x.float()), lambda p: p * 1e-4 + 1000.0)
    found = check(hidden, tasks, batch, "segmentation")
    assert found.is_undecided
    assert not found.is_failed


@main_tasks
def test_one_gradient_that_is_not_finite_is_enough(behind, trained, tasks, batch, main_task):
    def spoilt(images):
        images = images.clone()
        if images.requires_grad:
            images.register_hook(
                lambda gradient: gradient.index_fill(3, torch.tensor(0), torch.nan)
            )
        return images

    found = check(behind(trained, spoilt), tasks, batch, main_task)
    assert not found.is_finite
    assert found.is_failed


def test_only_labelled_images_count(trained, tasks, batch):
    targets = {
        name: Target(target.values, target.valid.clone()) for name, target in batch.targets.items()
    }
    for target in targets.values():
        target.valid[1:] = False
    one = replace(batch, targets=targets)
    assert check(trained, tasks, one, "segmentation").share == 0.0
    for target in targets.values():
        target.valid[:] = False
    assert check(trained, tasks, one, "segmentation").is_undecided


def test_the_network_is_left_as_it_was(trained, tasks, batch):
    trained.train()
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    check(trained, tasks, batch, "segmentation")
    assert trained.training
    assert all(parameter.requires_grad for parameter in trained.parameters())
    for name, value in trained.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_other_balls_are_looked_at_too(behind, norm, network, tasks, batch):
    ball = ThreatModel(norm=norm, epsilon=0.5 if norm == "l2" else 5.0)
    for function, is_failed in ((FRAUDS["grey"], True), (HONEST["nothing"], False)):
        network_behind = behind(network, function)
        found = check_gradients(
            network_behind, tasks, batch, main_task="segmentation", threat=ball, at_once=32
        )
        assert found.is_failed == is_failed


def test_few_images_at_once_are_enough(behind, network, tasks, batch):
    sizes = []

    class Counted(behind):
        def forward(self, images, tasks=None):
            sizes.append(len(images))
            return super().forward(images, tasks)

    for function, is_failed in ((FRAUDS["grey"], True), (HONEST["nothing"], False)):
        found = check(Counted(network, function), tasks, batch, "segmentation", at_once=3)
        assert found.is_failed == is_failed
    assert max(sizes) == 3


def test_large_images_are_fewer():
    assert [checked_images(size**2) for size in (32, 128, 224, 512)] == [32, 32, 10, 8]
