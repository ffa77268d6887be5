"""Values and gradients of the published SEA code (github.com/nmndeep/Robust-Segmentation).

Its numbers for the logits and classes of ``conftest.py``: loss of both images, and the length and
the sum of absolute values of the gradient of their sum. Tolerance 1e-4 absolute, 1e-3 relative.
Ignored are the first row of image 0 and the last column of image 1.
"""

import pytest
import torch

from taskgroup.attacks.losses.base import LOSSES, Setting

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
    valid = torch.ones(2, 8, 8, dtype=torch.bool)
    valid[0, 0] = False
    valid[1, :, 7] = False
    compare(name, progress, images, length, total, logits, classes.where(valid, 255), valid)
