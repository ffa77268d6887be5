"""A small network as an objective, and images to attack."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from taskgroup.attacks.base import Evaluation
from taskgroup.attacks.losses.logits import logit_gap


class NetworkObjective:
    """Cross-entropy of a small classifier; counts its calls."""

    def __init__(self, network: nn.Module, labels: Tensor) -> None:
        self.network = network
        self.labels = labels
        self.calls = 0

    def __call__(self, images: Tensor, progress: float) -> Evaluation:
        self.calls += 1
        assert 0 <= progress <= 1
        logits = self.network(images)
        loss = cross_entropy(logits, self.labels, reduction="none")
        score = (logits.argmax(1) == self.labels).float()
        return Evaluation(loss, loss.detach(), score)

    def select(self, index: Tensor) -> "NetworkObjective":
        return NetworkObjective(self.network, self.labels[index])

    predicts = "class"
    scores = ("rmse", "mae")

    def with_loss(self, loss, **options) -> "NetworkObjective":
        return self

    def logits(self, images: Tensor) -> Tensor:
        return self.network(images)

    def logit_gap(self, images: Tensor) -> Tensor:
        return logit_gap(self.network(images), torch.ones(len(images), dtype=torch.bool))


@pytest.fixture
def images() -> Tensor:
    """Six images, some pixels at the edges of the box."""
    drawn = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return (drawn * 1.4 - 0.2).clamp(0, 1)


@pytest.fixture
def network() -> nn.Module:
    """A convolutional classifier with batch norm and dropout, in evaluation mode."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(8 * 64, 4),
    ).eval()


@pytest.fixture
def objective(network: nn.Module, images: Tensor) -> NetworkObjective:
    """The network's loss on its own predictions, so that clean images are all right."""
    with torch.no_grad():
        return NetworkObjective(network, network(images).argmax(1))


@pytest.fixture
def objective_from() -> Callable[[Callable[[Tensor], Tensor]], object]:
    """Makes an objective of any function from images to losses."""

    class FunctionObjective:
        def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
            self.function = function

        def __call__(self, images: Tensor, progress: float) -> Evaluation:
            loss = self.function(images)
            return Evaluation(loss, loss.detach(), -loss.detach())

        def select(self, index: Tensor) -> "FunctionObjective":
            return self

        predicts = "class"
        scores = ("rmse", "mae")

        def with_loss(self, loss, **options) -> "FunctionObjective":
            return self

        def logit_gap(self, images: Tensor) -> Tensor:
            return torch.ones(len(images))

    return FunctionObjective
