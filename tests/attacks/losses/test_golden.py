"""Values and gradients of the published SEA code (github.com/nmndeep/Robust-Segmentation).

Its numbers for the logits and classes of ``conftest.py``: loss of both images, and the length and
the sum of absolute values of the gradient of their sum; loss of two pixels, one entry of the
gradient, and how many pixels have one; scores. Tolerance 1e-4 absolute, 1e-3 relative. Ignored are
the first row of image 0 and the last column of image 1.
"""

import pytest
import torch

from taskgroup.attacks.losses.base import LOSSES, Setting
from taskgroup.metrics.confusion import ConfusionMetric

BALANCE = (0.1, 0.5, 1.0, 2.0, 0.25)
STORED = [
    ("cross_entropy", 0.0, (1.4697865, 1.7253339), 0.14213166, 2.2303293),
    ("masked_cross_entropy", 0.0, (0.3594840, 0.2572328), 0.06817725, 0.9044275),
    ("masked_balanced_cross_entropy", 0.0, (0.3584937, 0.1751825), 0.07574257, 0.7864698),
    ("jensen_shannon", 0.0, (0.3052927, 0.2979510), 0.02200726, 0.3589499),
    ("cospgd", 0.0, (0.5484734, 0.4649737), 0.05999285, 0.9823205),
    ("segpgd", 0.0, (0.3594840, 0.2572328), 0.06817725, 0.9044275),
    ("segpgd", 0.5, (0.5471886, 0.5599499), 0.05988870, 1.0097960),
    ("segpgd", 0.9, (0.6973522, 0.8021235), 0.06749517, 1.0940909),
    ("masked_spherical", 0.0, (-0.3512438, -0.3934939), 0.03395034, 0.4631397),
    ("spherical", 0.0, (-0.3311046, -0.3383611), 0.04509789, 0.7227695),
    ("margin", 0.0, (0.1973228, 0.2532020), 0.25, 4.0),
]
STORED_WITH_IGNORED = [
    ("masked_cross_entropy", 0.0, (0.3408517, 0.2362774), 0.06608452, 0.8439309),
    ("jensen_shannon", 0.0, (0.2624404, 0.2334868), 0.02107562, 0.3245148),
]
PIXELS = [  # loss at image 0, row 3, column 4 and at 1, 2, 1; gradient at 0, class 2, 3, 4; pixels
    ("cross_entropy", 0.0, 0.1305543, 0.001486626, 2.082529e-4, 128),
    ("masked_cross_entropy", 0.0, 0.1305543, 0.001486626, 2.082529e-4, 82),
    ("masked_balanced_cross_entropy", 0.0, 0.01305543, 1.486626e-4, 2.082529e-5, 82),
    ("jensen_shannon", 0.0, 0.04441351, 5.151366e-4, 6.950108e-5, 128),
    ("cospgd", 0.0, 0.1056002, 0.001092390, 1.684475e-4, 128),
    ("segpgd", 0.0, 0.1305543, 0.001486626, 2.082529e-4, 82),
    ("segpgd", 0.5, 0.09791575, 0.001114970, 1.561897e-4, 128),
    ("segpgd", 0.9, 0.07180489, 8.176445e-4, 1.145391e-4, 128),
    ("masked_spherical", 0.0, -0.6252750, -0.8975979, -6.968250e-4, 82),
    ("spherical", 0.0, -0.6252750, -0.8975979, -6.968250e-4, 128),
    ("margin", 0.0, -2.203326, -7.139376, 0.0, 128),
]
SCORES = {"mean_accuracy": 0.6406849, "accuracy": 0.640625, "miou": 0.4740970}
SCORES_WITH_IGNORED = {"mean_accuracy": 0.6779436, "accuracy": 0.6785714, "miou": 0.5159318}


def ignored():
    valid = torch.ones(2, 8, 8, dtype=torch.bool)
    valid[0, 0] = False
    valid[1, :, 7] = False
    return valid


def compare(name, progress, images, length, total, logits, classes, valid):
    logits = logits.requires_grad_()
    values = LOSSES[name](logits, classes, valid, Setting(progress, BALANCE))
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    assert values.tolist() == pytest.approx(images, abs=1e-4, rel=1e-3)
    assert gradient.norm().item() == pytest.approx(length, abs=1e-6, rel=1e-3)
    assert gradient.abs().sum().item() == pytest.approx(total, abs=1e-6, rel=1e-3)


@pytest.mark.parametrize(("name", "progress", "images", "length", "total"), STORED)
def test_all_pixels_valid(name, progress, images, length, total, logits, classes):
    assert int(classes.sum()) == 250
    valid = torch.ones(2, 8, 8, dtype=torch.bool)
    compare(name, progress, images, length, total, logits, classes, valid)


@pytest.mark.parametrize(("name", "progress", "images", "length", "total"), STORED_WITH_IGNORED)
def test_some_pixels_ignored(name, progress, images, length, total, logits, classes):
    valid = ignored()
    compare(name, progress, images, length, total, logits, classes.where(valid, 255), valid)


@pytest.mark.parametrize(("name", "progress", "first", "second", "slope", "pushed"), PIXELS)
def test_pixel_by_pixel(name, progress, first, second, slope, pushed, logits, classes):
    setting = Setting(progress, BALANCE)
    for (image, row, column), expected in (((0, 3, 4), first), ((1, 2, 1), second)):
        valid = torch.zeros(2, 8, 8, dtype=torch.bool)
        valid[image, row, column] = True
        found = 64 * LOSSES[name](logits, classes, valid, setting)[image]
        assert found.item() == pytest.approx(expected, abs=1e-6, rel=1e-3)
    logits = logits.requires_grad_()
    values = LOSSES[name](logits, classes, torch.ones_like(classes, dtype=torch.bool), setting)
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    assert gradient[0, 2, 3, 4].item() == pytest.approx(slope, abs=1e-8, rel=1e-3)
    assert int((gradient != 0).any(1).sum()) == pushed


def test_pixels_with_a_gradient_where_some_are_ignored(logits, classes):
    valid, logits = ignored(), logits.requires_grad_()
    for name, pushed in (("masked_cross_entropy", 76), ("jensen_shannon", 112)):
        values = LOSSES[name](logits, classes.where(valid, 255), valid)
        (gradient,) = torch.autograd.grad(values.sum(), logits)
        assert int((gradient != 0).any(1).sum()) == pushed


def test_scores(logits, classes):
    metric = ConfusionMetric(5)
    everywhere = torch.ones_like(classes, dtype=torch.bool)
    for valid, expected in ((everywhere, SCORES), (ignored(), SCORES_WITH_IGNORED)):
        sums = metric.per_image(logits, classes.where(valid, 255), valid)
        scores = {name: float(value) for name, value in metric.score(sums.sum(0)).items()}
        assert scores == pytest.approx(expected, abs=1e-6)
