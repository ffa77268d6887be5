"""Runs of the published SEA code on a toy network (github.com/nmndeep/Robust-Segmentation).

Both images start at the image itself. The steps follow the sign of a gradient, so rounding may
move a run: accuracies may differ by 0.02 and cross-entropies by 5e-3.
"""

import zlib
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from taskgroup.attacks.apgd import climb
from taskgroup.attacks.base import ATTACKS, AttackBudget, Evaluation, ThreatModel
from taskgroup.attacks.losses.base import LOSSES, Setting
from taskgroup.attacks.phases import climb_phases
from taskgroup.draws import Draws

THREAT = ThreatModel(epsilon=8 / 255)
FIRST_MOVES = (8.0, 10.0, 12.0, 12.0, 16.0, 7.2, 7.5, 15.98)
"""Largest move of image 0 in each iteration, in 1/255 (masked cross-entropy)."""
FIRST_ACCURACIES = (0.90234375, 0.74609375, 0.7734375, 0.7890625, 0.80078125, 0.76953125)
LAST_ACCURACIES = (0.74609375, 0.734375)
CORNER = (0.0, 0.1369419, 0.3172150, 0.0)
"""First pixels of image 0 at the end of every run."""
TRAINING = {2: (1.4625912, 0.8203125, 0.01526475), 5: (1.4626752, 0.8183594, 0.01550583)}
"""Steps of the attack in training; cross-entropy, accuracy and mean move that it ends with."""


class ToyObjective:
    """Raises a named loss, tracks cross-entropy, scores pixel accuracy; remembers the iterates."""

    def __init__(self, network: nn.Module, classes: Tensor, loss: str) -> None:
        self.network, self.classes, self.loss = network, classes, loss
        self.seen: list[Tensor] = []
        self.accuracies: list[Tensor] = []

    def __call__(self, images: Tensor, progress: float) -> Evaluation:
        logits = self.network(images)
        everywhere = torch.ones_like(self.classes, dtype=torch.bool)
        loss = LOSSES[self.loss](logits, self.classes, everywhere, Setting(progress))
        tracked = cross_entropy(logits, self.classes, reduction="none").mean((1, 2)).detach()
        accuracy = (logits.argmax(1) == self.classes).float().mean((1, 2))
        self.seen.append(images.detach().clone())
        self.accuracies.append(accuracy)
        return Evaluation(loss, tracked, accuracy)

    def select(self, index: Tensor) -> "ToyObjective":
        raise AssertionError("no image is finished here")


def fill(key: str, shape: torch.Size) -> Tensor:
    """The stored runs' weights, drawn from the name of the parameter."""
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    drawn = torch.randn(shape, generator=generator)
    return 0.1 * drawn if len(shape) == 1 else drawn / (shape.numel() / shape[0]) ** 0.5


@pytest.fixture
def toy():
    """Network, two images of 16 x 16, their classes: about 91 % of the pixels are right."""
    network = nn.ModuleDict({"c1": nn.Conv2d(3, 8, 3, padding=1), "c2": nn.Conv2d(8, 5, 1)})
    state = {key: fill(key, value.shape) for key, value in network.state_dict().items()}
    network.load_state_dict(state)
    whole = nn.Sequential(network["c1"], nn.ReLU(), network["c2"]).requires_grad_(False)
    seeded = [torch.Generator().manual_seed(seed) for seed in (3, 4, 5)]
    images = torch.rand(2, 3, 16, 16, generator=seeded[0])
    wrong = torch.rand(2, 16, 16, generator=seeded[1]) < 0.1
    drawn = torch.randint(0, 5, (2, 16, 16), generator=seeded[2])
    return whole, images, torch.where(wrong, drawn, whole(images).argmax(1))


def test_the_network_is_the_stored_one(toy):
    network, images, classes = toy
    logits = network(images)
    assert float(logits.sum()) == pytest.approx(205.45425, abs=1e-3)
    expected = (0.0622602, 0.0234988, -0.2473928, 0.0680644, -0.0408748)
    assert logits[0, :, 0, 0].tolist() == pytest.approx(expected, abs=1e-6)
    predicted = logits.argmax(1)
    assert torch.bincount(predicted.flatten(), minlength=5).tolist() == [264, 34, 180, 34, 0]
    assert (predicted == classes).float().mean((1, 2)).tolist() == [0.90234375, 0.91015625]


def test_masked_cross_entropy_run(toy):
    network, images, classes = toy
    objective = ToyObjective(network, classes, "masked_cross_entropy")
    end = climb(objective, images, images, threat=THREAT, steps=20)
    assert len(objective.seen) == 21
    assert end.score.tolist() == pytest.approx(LAST_ACCURACIES, abs=0.02)
    assert end.tracked.tolist() == pytest.approx((1.46945, 1.46940), abs=5e-3)
    first = [float(accuracy[0]) for accuracy in objective.accuracies[:6]]
    assert first == pytest.approx(FIRST_ACCURACIES, abs=0.02)
    moves = [255 * (b - a)[0].abs().max().item() for a, b in pairwise(objective.seen)]
    assert moves[:8] == pytest.approx(FIRST_MOVES, abs=0.1)
    # The steps were halved until these moves were left.
    assert moves[-2:] == pytest.approx((0.11, 0.14), abs=0.02)
    assert objective.accuracies[-1].tolist() == pytest.approx(LAST_ACCURACIES, abs=0.02)
    change = (end.best - images).abs()
    assert change.mean((1, 2, 3)).tolist() == pytest.approx((0.0309779, 0.0309881), abs=1e-3)
    assert end.best[0, 0, 0, :4].tolist() == pytest.approx(CORNER, abs=1e-3)
    best = objective(end.best, 1.0)
    assert best.score.tolist() == pytest.approx((0.74609375, 0.73828125), abs=0.02)


def test_jensen_shannon_run_with_shrinking_radii(toy):
    network, images, classes = toy
    objective = ToyObjective(network, classes, "jensen_shannon")
    end = climb_phases(
        objective,
        images,
        threat=THREAT,
        steps=30,
        draws=Draws(torch.Generator()),
        random_start=False,
        stop_at=0.0,
    )
    assert len(objective.seen) == 33
    assert end.score.tolist() == pytest.approx((0.7421875, 0.73828125), abs=0.02)
    again = objective(end.lowest, 1.0)
    assert again.score.tolist() == end.score.tolist()
    assert again.tracked.tolist() == pytest.approx((1.47122, 1.47114), abs=5e-3)
    change = (end.lowest - images).abs()
    assert change.max().item() == pytest.approx(8 / 255, abs=1e-6)
    assert change.mean((1, 2, 3)).tolist() == pytest.approx((0.03028, 0.03084), abs=1e-3)
    assert end.lowest[0, 0, 0, :4].tolist() == pytest.approx(CORNER, abs=1e-3)


def test_cospgd_run(toy):
    network, images, classes = toy
    objective = ToyObjective(network, classes, "cospgd")
    end = climb(objective, images, images, threat=THREAT, steps=20)
    assert end.score.tolist() == pytest.approx((0.73828125, 0.73046875), abs=0.02)
    assert end.tracked.tolist() == pytest.approx((1.47113, 1.47106), abs=5e-3)
    change = (end.lowest - images).abs()
    assert change.mean((1, 2, 3)).tolist() == pytest.approx((0.0304268, 0.0307305), abs=1e-3)
    assert end.lowest[0, 0, 0, :4].tolist() == pytest.approx(CORNER, abs=1e-3)


@pytest.mark.parametrize("steps", TRAINING)
def test_the_attack_of_its_training(steps, toy):
    """Steps of 0.01 from the image itself, epsilon 4/255, the last iterate."""
    network, images, classes = toy
    objective = ToyObjective(network, classes, "cross_entropy")
    budget = AttackBudget(
        epsilon=4 / 255, steps=steps, step_size=0.01, random_start=False, keep="last"
    )
    found = ATTACKS["pgd"](objective, images, budget=budget, draws=Draws(torch.Generator()))
    loss, accuracy, mean = TRAINING[steps]
    end = objective(found, 1.0)
    assert float(end.tracked.mean()) == pytest.approx(loss, abs=1e-4)
    assert float(end.score.mean()) == pytest.approx(accuracy, abs=4 / 512)
    change = (found - images).abs()
    assert 255 * float(change.max()) == pytest.approx(4.0, abs=1e-4)
    assert float(change.mean()) == pytest.approx(mean, abs=1e-5)
    expected = (0.0, 0.1212556, 0.3015288, 0.01126855)
    assert found[0, 0, 0, :4].tolist() == pytest.approx(expected, abs=1e-6)
