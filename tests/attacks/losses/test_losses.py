"""Each loss's own properties."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from taskgroup.attacks.losses.base import LOSSES, Setting
from taskgroup.attacks.losses.logits import is_right
from taskgroup.errors import ConfigError

EVERYWHERE = torch.ones(2, 8, 8, dtype=torch.bool)
ONE = torch.ones(1, dtype=torch.bool)


def gradient_of(name, logits, classes, valid, setting=None):
    logits = logits.clone().requires_grad_()
    values = LOSSES[name](logits, classes, valid, setting or Setting())
    return torch.autograd.grad(values.sum(), logits)[0]


def test_cross_entropy_is_that_of_torch(logits, classes):
    expected = cross_entropy(logits, classes, reduction="none").mean((1, 2))
    torch.testing.assert_close(LOSSES["cross_entropy"](logits, classes, EVERYWHERE), expected)


def test_ignored_pixels_stay_in_the_denominator(logits, classes):
    valid = EVERYWHERE.clone()
    valid[:, 4:] = False
    half = LOSSES["cross_entropy"](logits, classes, valid)
    upper = LOSSES["cross_entropy"](logits[:, :, :4], classes[:, :4], EVERYWHERE[:, :4])
    torch.testing.assert_close(half, upper / 2)


@pytest.mark.parametrize("name", ["cross_entropy", "jensen_shannon"])
@pytest.mark.parametrize("gap", [15.0, 18.0, 40.0, 80.0])
def test_a_confident_pixel_keeps_its_gradient(name, gap):
    logits, classes = torch.tensor([[gap, 1.0, 0.0]]), torch.zeros(1, dtype=torch.int64)
    found = gradient_of(name, logits, classes, ONE)
    others = torch.tensor([1.0, 0.0]).double().exp()
    missing = others.sum() / (others.sum() + math.exp(gap))
    # The derivative of Jensen-Shannon in p is log(p / (1 + p)) / 2.
    slope = 1 if name == "cross_entropy" else 0.5 * math.log((2 - missing) / (1 - missing))
    assert found[0, 0].item() == pytest.approx(-slope * missing.item(), rel=1e-4)
    torch.testing.assert_close(found.double().sum(), torch.tensor(0.0).double(), atol=1e-7, rtol=0)


def test_jensen_shannon_is_the_divergence(logits, classes):
    shares = logits.double().softmax(1)
    truth = one_hot(classes, 5).movedim(-1, 1).double()
    middle = (shares + truth) / 2

    def divergence(p):
        return torch.where(p > 0, p * (p / middle).log(), 0).sum(1)

    expected = (divergence(shares) + divergence(truth)) / 2
    found = LOSSES["jensen_shannon"](logits, classes, EVERYWHERE)
    torch.testing.assert_close(found.double(), expected.mean((1, 2)), atol=1e-6, rtol=1e-5)


def test_jensen_shannon_lies_between_zero_and_log_2():
    classes = torch.zeros(1, dtype=torch.int64)
    for gap in (-200.0, -1.0, 0.0, 1.0, 200.0):
        value = LOSSES["jensen_shannon"](torch.tensor([[gap, 0.0]]), classes, ONE).item()
        assert -1e-6 <= value <= math.log(2) + 1e-6
    even = gradient_of("jensen_shannon", torch.zeros(1, 2), classes, ONE)
    assert even[0, 0] < 0  # undecided pixels are pushed


def test_jensen_shannon_pushes_the_class_down_at_every_gap():
    gaps = torch.cat([torch.arange(-200.0, 201.0), torch.arange(85.0, 110.0, 0.1)])
    logits = torch.stack([gaps, torch.zeros_like(gaps), torch.full_like(gaps, 0.5)], 1)
    classes = torch.zeros(len(gaps), dtype=torch.int64)
    found = gradient_of("jensen_shannon", logits, classes, torch.ones(len(gaps), dtype=torch.bool))
    assert (found[:, 0] <= 0).all()
    assert (found[:, 1:] >= 0).all()
    double = logits.double()
    odds = double[:, 0] - double[:, 1:].logsumexp(1)
    slope = odds.sigmoid() * (-odds).sigmoid() / 2 * -(2 + (-odds).exp()).log()
    # A probability below the smallest number becomes zero, and with it its slope.
    lost = 100 * torch.finfo(torch.float32).tiny
    torch.testing.assert_close(found[:, 0].double(), slope, atol=lost, rtol=1e-3)


@pytest.mark.parametrize(
    "name", ["masked_cross_entropy", "masked_balanced_cross_entropy", "masked_spherical"]
)
def test_masked_losses_push_right_pixels_only(name, logits, classes):
    gradient = gradient_of(name, logits, classes, EVERYWHERE, Setting(0, (1.0,) * 5))
    pushed = gradient.abs().sum(1) > 0
    assert torch.equal(pushed, is_right(logits, classes))


def test_equal_weights_balance_nothing(logits, classes):
    equal = Setting(class_weights=(1.0,) * 5)
    for plain in ("cross_entropy", "masked_cross_entropy"):
        balanced = plain.replace("cross", "balanced_cross")
        torch.testing.assert_close(
            LOSSES[balanced](logits, classes, EVERYWHERE, equal),
            LOSSES[plain](logits, classes, EVERYWHERE),
        )


def test_segpgd_ends_at_half_the_cross_entropy(logits, classes):
    end = LOSSES["segpgd"](logits, classes, EVERYWHERE, Setting(progress=1.0))
    torch.testing.assert_close(end, LOSSES["cross_entropy"](logits, classes, EVERYWHERE) / 2)


def test_cospgd_softmax_agrees_with_a_loop(logits, classes):
    shares = logits.softmax(1)
    pixels = cross_entropy(logits, classes, reduction="none")
    expected = torch.zeros(2)
    for image in range(2):
        for row in range(8):
            for column in range(8):
                at = (image, classes[image, row, column], row, column)
                cosine = shares[at] / shares[image, :, row, column].norm()
                expected[image] += cosine * pixels[image, row, column] / 64
    torch.testing.assert_close(LOSSES["cospgd_softmax"](logits, classes, EVERYWHERE), expected)


def test_dlr_golden():
    logits = torch.tensor([[5.0, 3.0, 1.0, 0.0], [1.0, 5.0, 3.0, 0.0]])
    classes = torch.zeros(2, dtype=torch.int64)
    both = torch.ones(2, dtype=torch.bool)
    found = LOSSES["dlr"](logits, classes, both)
    torch.testing.assert_close(found, torch.tensor([-(5 - 3) / (5 - 1), -(1 - 5) / (5 - 1)]))
    setting = Setting(towards=torch.tensor([2, 3]))
    found = LOSSES["targeted_dlr"](logits, classes, both, setting)
    torch.testing.assert_close(found, torch.tensor([-(5 - 1) / 4.5, -(1 - 0) / 4.5]))


@pytest.mark.parametrize("name", ["dlr", "targeted_dlr"])
def test_dlr_ignores_the_scale_of_logits(name, logits, classes):
    setting = Setting(towards=(classes + 1) % 5)
    first = LOSSES[name](logits, classes, EVERYWHERE, setting)
    torch.testing.assert_close(LOSSES[name](1e4 * logits, classes, EVERYWHERE, setting), first)


def test_houdini_agrees_with_a_loop(logits, classes):
    normal = torch.distributions.Normal(0.0, 1.0)
    predicted = logits.argmax(1)
    valid = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(8)) < 0.7
    for image in range(2):
        chances, overlaps = 0.0, []
        for row in range(8):
            for column in range(8):
                pixel, label = logits[image, :, row, column], classes[image, row, column]
                others = torch.cat([pixel[:label], pixel[label + 1 :]])
                chance = normal.cdf(others.max() - pixel[label])
                chances += chance * valid[image, row, column] / 64
        for label in range(5):
            first = (predicted[image] == label) & valid[image]
            second = (classes[image] == label) & valid[image]
            if (first | second).any():
                overlaps.append((first & second).sum() / (first | second).sum())
        expected = chances * (1 - torch.stack(overlaps).mean())
        found = LOSSES["houdini"](logits, classes, valid)[image]
        torch.testing.assert_close(found, expected)


def test_houdini_begins_at_a_perfect_prediction(logits):
    gradient = gradient_of("houdini", logits, logits.argmax(1), EVERYWHERE)
    assert gradient.abs().amax(1).gt(0).double().mean() > 0.9


def test_angles_golden():
    vectors = torch.tensor([[1.0, 0, 0], [0, 2, 0], [-3, 0, 0], [1, 1, 0], [0, 0, 0]])
    target = torch.tensor([1.0, 0, 0]).expand(5, 3)
    maps = [values.reshape(5, 3, 1, 1) for values in (vectors, target)]
    found = LOSSES["angular"](*maps, torch.ones(5, 1, 1, dtype=torch.bool))
    pi = math.pi
    torch.testing.assert_close(
        found, torch.tensor([0, pi / 2, pi, pi / 4, pi / 2]), atol=1e-5, rtol=0
    )


def test_errors_are_means_over_channels_and_pixels(generator):
    prediction, target = torch.rand(2, 2, 3, 5, 6, generator=generator)
    valid = torch.rand(2, 5, 6, generator=generator) < 0.5
    difference = (prediction - target) * valid[:, None]
    torch.testing.assert_close(
        LOSSES["l1"](prediction, target, valid), difference.abs().mean((1, 2, 3))
    )
    torch.testing.assert_close(
        LOSSES["mse"](prediction, target, valid), difference.square().mean((1, 2, 3))
    )


@pytest.mark.parametrize("name", ["dlr", "targeted_dlr"])
def test_dlr_wants_four_classes(name):
    classes = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ConfigError, match="needs at least 4 classes, got 3; choose cross_entropy"):
        LOSSES[name](torch.rand(1, 3), classes, ONE, Setting(towards=classes))


def test_what_is_missing_is_named(logits, classes):
    with pytest.raises(ConfigError, match="one weight for each of 5 classes, got 0; name"):
        LOSSES["balanced_cross_entropy"](logits, classes, EVERYWHERE)
    with pytest.raises(ConfigError, match="needs a class to go towards, got none; give"):
        LOSSES["targeted_dlr"](logits, classes, EVERYWHERE)


def test_losses_of_depth_scores():
    prediction = torch.tensor([[[[2.0, 1.0, 1.0]]], [[[1.1, -1.0, 0.0]]]])
    target = torch.ones(2, 1, 1, 3)
    valid = torch.tensor([[[True, True, False]], [[True, True, True]]])
    relative = LOSSES["abs_rel"](prediction, 2 * target, valid)
    torch.testing.assert_close(relative, torch.tensor([0.5 / 3, (0.45 + 1.5 + 1.0) / 3]))

    def far(ratio):
        return 1 / (1 + math.exp(-(abs(math.log(ratio)) - math.log(1.25)) / 0.05))

    found = LOSSES["delta1"](prediction, target, valid)
    torch.testing.assert_close(found, torch.tensor([(far(2) + far(1)) / 3, (far(1.1) + 2) / 3]))


def test_losses_that_count_pixels():
    sideways = torch.tensor([[[[1.0, 1.0]], [[0.0, math.tan(math.radians(13.75))]]]])
    ahead = torch.tensor([[[[1.0, 1.0]], [[0.0, 0.0]]]])
    valid = torch.ones(1, 1, 2, dtype=torch.bool)
    expected = (1 / (1 + math.exp(4.5)) + 1 / (1 + math.exp(-1))) / 2
    found = LOSSES["within_11_25"](sideways, ahead, valid)
    torch.testing.assert_close(found, torch.tensor([expected]), atol=1e-5, rtol=1e-4)
    logits, target = torch.tensor([[[[2.0, -1.0]]]]), torch.tensor([[[[1.0, 1.0]]]])
    wrong = (1 / (1 + math.exp(2)) + 1 / (1 + math.exp(-1))) / 2
    torch.testing.assert_close(
        LOSSES["binary_margin"](logits, target, valid), torch.tensor([wrong])
    )


def test_the_sigmoid_margin_counts_wrong_pixels(logits, classes):
    margins = []
    for image, row, column in torch.ones(2, 8, 8).nonzero().tolist():
        values = logits[image, :, row, column].tolist()
        own = values.pop(int(classes[image, row, column]))
        margins.append(1 / (1 + math.exp(own - max(values))))
    expected = torch.tensor(margins).view(2, 64).mean(1)
    found = LOSSES["sigmoid_margin"](logits, classes, EVERYWHERE)
    torch.testing.assert_close(found, expected)
    sharp = LOSSES["sigmoid_margin"](1e4 * logits, classes, EVERYWHERE)
    torch.testing.assert_close(sharp, 1 - is_right(logits, classes).float().mean((1, 2)))
