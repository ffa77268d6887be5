"""Logits and classes of the stored values, and a target that fits each loss."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from taskgroup.attacks.losses.base import LOSSES, Setting
from taskgroup.errors import ConfigError


def takes_classes(name: str) -> bool:
    """Whether a loss compares logits with classes, or else numbers with numbers: it refuses one."""
    logits, classes = torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64)
    setting = Setting(class_weights=(1.0,) * 4, towards=classes)
    try:
        LOSSES[name](logits, classes, torch.ones(1, dtype=torch.bool), setting)
    except ConfigError:
        return False
    return True


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def logits() -> Tensor:
    """Two images of 8 x 8 pixels, five classes."""
    return 2 * torch.randn(2, 5, 8, 8, generator=seeded(0))


@pytest.fixture
def classes(logits) -> Tensor:
    """About 64 % of the pixels are right."""
    drawn = torch.randint(0, 5, (2, 8, 8), generator=seeded(1))
    right = torch.rand(2, 8, 8, generator=seeded(2)) < 0.6
    return torch.where(right, logits.argmax(1), drawn)


@pytest.fixture
def setting() -> Setting:
    """Everything that any loss needs, for maps of 2 x 8 x 8."""
    towards = torch.randint(0, 5, (2, 8, 8), generator=seeded(6))
    return Setting(0.25, (0.1, 0.5, 1.0, 2.0, 0.25), towards)


@pytest.fixture
def target_of(logits, classes) -> Callable[[str], Tensor]:
    """Classes, or unit vectors for the losses of numbers."""

    def make(name: str) -> Tensor:
        if takes_classes(name):
            return classes
        return torch.nn.functional.normalize(torch.randn(logits.shape, generator=seeded(9)), dim=1)

    return make
