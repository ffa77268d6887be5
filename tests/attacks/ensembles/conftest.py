"""A small network of class maps as an objective, and images to attack."""

import pytest
import torch
from torch import Tensor, nn

from taskgroup.attacks.base import Evaluation
from taskgroup.attacks.losses.base import LOSSES, Setting
from taskgroup.attacks.losses.logits import logit_gap


class MapObjective:
    """Losses of a class map by name; the score is the share of valid pixels that are right."""

    predicts = "class_map"
    scores = ("rmse", "mae")

    def __init__(self, network, target, valid, loss="cross_entropy", **options):
        self.network, self.target, self.valid = network, target, valid
        self.loss, self.options = loss, options
        self.sizes: list[int] = []

    def __call__(self, images: Tensor, progress: float) -> Evaluation:
        self.sizes.append(len(images))
        logits = self.network(images)
        own = LOSSES["cross_entropy"](logits, self.target, self.valid)
        scale = self.options.get("temperature")
        scaled = logits if scale is None else logits / scale[:, None, None, None]
        setting = Setting(class_weights=(0.1, 0.2, 0.3, 0.4))
        loss = LOSSES[self.loss](scaled, self.target, self.valid, setting)
        tracked = loss if self.options.get("tracks") == "raised" else own
        right = (logits.argmax(1) == self.target) & self.valid
        score = right.sum((1, 2)) / self.valid.sum((1, 2))
        return Evaluation(loss, tracked.detach(), score)

    def select(self, index: Tensor) -> "MapObjective":
        scale = self.options.get("temperature")
        options = self.options if scale is None else {**self.options, "temperature": scale[index]}
        chosen = MapObjective(
            self.network, self.target[index], self.valid[index], self.loss, **options
        )
        chosen.sizes = self.sizes
        return chosen

    def with_loss(self, loss: str, **options) -> "MapObjective":
        return MapObjective(self.network, self.target, self.valid, loss, **options)

    def logit_gap(self, images: Tensor) -> Tensor:
        return logit_gap(self.network(images).detach(), self.valid)


@pytest.fixture
def maps(images) -> MapObjective:
    """A network that is right at nine of ten pixels; some have no label."""
    torch.manual_seed(5)
    network = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.Tanh(), nn.Conv2d(12, 4, 3, padding=1)
    ).eval()
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        target = network(images).argmax(1)
    other = torch.rand(target.shape, generator=generator) < 0.1
    valid = torch.rand(target.shape, generator=generator) < 0.8
    return MapObjective(network, torch.where(other, (target + 1) % 4, target), valid)
