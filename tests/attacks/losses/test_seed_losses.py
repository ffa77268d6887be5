"""Losses as published code has them, bugs included."""

import math

import pytest
import torch

from taskgroup.attacks.losses.base import LOSSES

EVERYWHERE = torch.ones(2, 8, 8, dtype=torch.bool)


def value_and_gradient(name, logits, classes, valid):
    logits = logits.clone().requires_grad_()
    values = LOSSES[name](logits, classes, valid)
    return values.detach(), torch.autograd.grad(values.sum(), logits)[0]


def test_the_published_divergence_is_ours_where_it_is_finite(logits, classes):
    first = value_and_gradient("jensen_shannon", logits, classes, EVERYWHERE)
    second = value_and_gradient("jensen_shannon_seed", logits, classes, EVERYWHERE)
    torch.testing.assert_close(second, first, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("gap", "is_finite"), [(100.0, True), (104.0, False), (200.0, False)])
def test_the_published_divergence_breaks_at_confident_pixels(gap, is_finite):
    logits = torch.tensor([[gap, 0.0, 0.0]])
    classes, one = torch.zeros(1, dtype=torch.int64), torch.ones(1, dtype=torch.bool)
    value, gradient = value_and_gradient("jensen_shannon_seed", logits, classes, one)
    assert bool(value.isfinite().all()) == is_finite
    assert bool(gradient.isfinite().all()) == is_finite
    if not is_finite:
        assert gradient.isnan().all()


def by_hand(logits, classes, valid, image):
    """Value, and gradient with respect to the logarithms of the softmax, of one image."""
    scores, labels = logits[image].log_softmax(0), classes[image]
    predicted, total = scores.argmax(0), 0.0
    overlap = 0.0
    for label in range(len(scores)):
        here, there = (predicted == label) & valid[image], (labels == label) & valid[image]
        overlap += float((here & there).sum() / ((here | there).sum() + 1e-7)) / len(scores)
    gradient = torch.zeros_like(scores)
    for row in range(8):
        for column in range(8):
            if not valid[image, row, column]:
                continue
            label, best = int(labels[row, column]), int(predicted[row, column])
            gap = float(scores[label, row, column] - scores[best, row, column])
            total += 0.5 * math.erfc(gap / math.sqrt(2)) / 64
            size = math.exp(-(gap**2) / 2) / math.sqrt(2 * math.pi) / 64
            gradient[best, row, column] = 100 * overlap * size
            gradient[label, row, column] = -100 * overlap * size  # the last word, as published
    return 100 * overlap * total, gradient


def test_houdini_as_published_agrees_with_a_loop(logits, classes):
    valid = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(8)) < 0.7
    values, gradient = value_and_gradient("houdini_seed", logits, classes, valid)
    shares = logits.softmax(1)
    for image in range(2):
        value, inner = by_hand(logits, classes, valid, image)
        assert float(values[image]) == pytest.approx(value, rel=1e-4)
        expected = inner - shares[image] * inner.sum(0)  # through the logarithm of the softmax
        torch.testing.assert_close(gradient[image], expected, atol=1e-6, rtol=1e-4)


def test_houdini_as_published_gives_up_where_all_is_wrong(logits):
    wrong = logits.argmin(1)
    _, gradient = value_and_gradient("houdini_seed", logits, wrong, EVERYWHERE)
    assert gradient.eq(0).all()
    _, corrected = value_and_gradient("houdini", logits, wrong, EVERYWHERE)
    assert corrected.abs().sum() > 0
