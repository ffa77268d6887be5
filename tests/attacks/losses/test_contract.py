"""What every registered attack loss keeps to: a new one is tested as soon as it exists."""

import pytest
import torch

from taskgroup.attacks.losses.base import LOSSES
from taskgroup.errors import ConfigError

NAMES = {
    "abs_rel",
    "angular",
    "balanced_cross_entropy",
    "binary_margin",
    "cospgd",
    "cospgd_softmax",
    "cross_entropy",
    "delta1",
    "dlr",
    "houdini",
    "houdini_seed",
    "jensen_shannon",
    "jensen_shannon_seed",
    "l1",
    "margin",
    "masked_balanced_cross_entropy",
    "masked_cross_entropy",
    "masked_spherical",
    "mse",
    "segpgd",
    "sigmoid_margin",
    "spherical",
    "targeted_dlr",
    "within_11_25",
}
BREAK = {"jensen_shannon_seed"}
"""Losses that are NaN at confident pixels, as their published form is."""
every_loss = pytest.mark.parametrize("name", list(LOSSES))


def value_and_gradient(name, prediction, target, valid, setting):
    prediction = prediction.clone().requires_grad_()
    values = LOSSES[name](prediction, target, valid, setting)
    (gradient,) = torch.autograd.grad(values.sum(), prediction)
    return values.detach(), gradient


@pytest.fixture
def valid():
    return torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(8)) < 0.7


def test_the_losses_that_ship_are_registered():
    assert set(LOSSES) >= NAMES


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in BREAK])
@pytest.mark.parametrize("gap", [0.0, 200.0])
@pytest.mark.parametrize("strongest", [0, 3])
def test_finite_at_a_large_gap(name, gap, strongest, target_of, setting):
    prediction = torch.zeros(2, 5, 8, 8)
    prediction[:, strongest] = gap
    valid = torch.ones(2, 8, 8, dtype=torch.bool)
    for sign in (1, -1):
        values, gradient = value_and_gradient(
            name, sign * prediction, target_of(name), valid, setting
        )
        assert values.isfinite().all()
        assert gradient.isfinite().all()


@every_loss
def test_one_number_per_image(name, logits, target_of, valid, setting):
    values, gradient = value_and_gradient(name, logits, target_of(name), valid, setting)
    assert values.shape == (2,)
    assert values.dtype == torch.float32
    assert gradient.abs().sum() > 0


@every_loss
def test_ignored_pixels_are_out(name, logits, target_of, valid, setting):
    target = target_of(name)
    values, gradient = value_and_gradient(name, logits, target, valid, setting)
    hidden = (~valid).unsqueeze(1).expand_as(logits)
    assert gradient[hidden].eq(0).all()
    other_logits = torch.where(hidden, 7 * logits.roll(1, 1), logits)
    other_target = (
        torch.where(hidden, 5.0, target) if target.is_floating_point() else target.where(valid, 255)
    )
    others = setting._replace(towards=setting.towards.where(valid, 255))
    again, _ = value_and_gradient(name, other_logits, other_target, valid, others)
    torch.testing.assert_close(again, values)


@every_loss
def test_nothing_valid_is_zero(name, logits, target_of, setting):
    nothing = torch.zeros(2, 8, 8, dtype=torch.bool)
    values, gradient = value_and_gradient(name, logits, target_of(name), nothing, setting)
    assert values.eq(0).all()
    assert gradient.eq(0).all()


@every_loss
def test_an_image_does_not_feel_the_others(name, logits, target_of, valid, setting):
    target = target_of(name)
    whole = LOSSES[name](logits, target, valid, setting)
    alone = setting._replace(towards=setting.towards[1:])
    torch.testing.assert_close(LOSSES[name](logits[1:], target[1:], valid[1:], alone), whole[1:])


@every_loss
def test_vectors_are_maps_of_one_pixel(name, logits, target_of, setting):
    target, towards = target_of(name)[..., 0, 0], setting.towards[..., 0, 0]
    if target.is_floating_point():
        pytest.skip("tasks that predict numbers are maps")
    valid = torch.tensor([True, False])
    vector = LOSSES[name](logits[..., 0, 0], target, valid, setting._replace(towards=towards))
    pixel = LOSSES[name](
        logits[..., :1, :1],
        target[:, None, None],
        valid[:, None, None],
        setting._replace(towards=towards[:, None, None]),
    )
    torch.testing.assert_close(vector, pixel)
    assert vector[1] == 0


@every_loss
def test_a_target_that_does_not_fit_is_refused(name, logits, classes, target_of, valid, setting):
    if target_of(name).is_floating_point():
        with pytest.raises(ConfigError, match="needs numbers of the prediction's shape, got"):
            LOSSES[name](logits, classes, valid, setting)
    else:
        with pytest.raises(ConfigError, match="needs logits of at least 2 classes and class"):
            LOSSES[name](logits[:, :1], logits[:, :1], valid, setting)
