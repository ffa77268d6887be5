"""SEA on a real network: what it costs, and what its published code does wrong."""

import zlib
from dataclasses import replace

import pytest
import torch
from torch import nn

from taskgroup.attacks.apgd import climb
from taskgroup.attacks.base import ATTACKS, AttackBudget, ThreatModel
from taskgroup.attacks.compatibility import NEEDS
from taskgroup.attacks.ensembles.sea import SEA_LOSSES, sea
from taskgroup.data.base import Batch
from taskgroup.draws import Draws
from taskgroup.evaluation.objective.network import fixed_network
from taskgroup.evaluation.objective.task_objective import TaskObjective
from taskgroup.tasks.base import Target, TaskInfo, build_task

BUDGET = AttackBudget(epsilon=8 / 255, steps=10)
WEAK = AttackBudget(epsilon=2 / 255, steps=300)


class Counted(nn.Module):
    """Counts the forward passes, and the backward passes through the images."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.forwards = self.backwards = 0

    def forward(self, images, tasks=None):
        self.forwards += 1
        if images.requires_grad:
            images.register_hook(self._count)
        return self.model(images, tasks)

    def _count(self, gradient):
        self.backwards += 1


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def segmentation(model, tasks, batch, **options):
    return TaskObjective(
        model,
        tasks,
        batch.targets,
        main_task="segmentation",
        attacked_tasks=("segmentation",),
        **options,
    )


def test_each_loss_takes_303_forward_and_300_backward_passes(trained, tasks, batch):
    counted = Counted(trained)
    objective = segmentation(counted, tasks, batch.select(torch.arange(2)))
    with fixed_network(counted):
        members = sea.members(objective, batch.images[:2], budget=WEAK, draws=Draws(seeded()))
        for number, _ in enumerate(members, 1):
            assert (counted.forwards, counted.backwards) == (303 * number, 300 * number)
    assert number == len(SEA_LOSSES)


def test_pixel_accuracy_leads_from_phase_to_phase(trained, tasks, batch):
    accuracy = segmentation(trained, tasks, batch, score="accuracy")(batch.images, 0).score
    target = batch.targets["segmentation"]
    right = (trained(batch.images)["segmentation"].argmax(1) == target.values) & target.valid
    expected = right.sum((1, 2)) / target.valid.sum((1, 2))
    torch.testing.assert_close(accuracy, expected)
    part = segmentation(trained, tasks, batch).with_loss("cross_entropy", score="accuracy")
    few = torch.tensor([5, 2])
    torch.testing.assert_close(part.select(few)(batch.images[few], 0).score, expected[few])


@pytest.mark.parametrize(
    "name", [name for name in ATTACKS if NEEDS.get(name, "class_map") == "class_map"]
)
def test_images_without_a_valid_pixel_are_left_alone(name, trained, tasks, batch):
    target = batch.targets["segmentation"]
    nothing = Target(target.values, torch.zeros_like(target.valid))
    blind = replace(batch, targets={**batch.targets, "segmentation": nothing})
    objective = segmentation(trained, tasks, blind)
    with fixed_network(trained):
        attacked = ATTACKS[name](objective, batch.images, budget=BUDGET, draws=Draws(seeded()))
    assert attacked.isfinite().all()
    assert (attacked - batch.images).abs().amax() <= 8 / 255 + 1e-6


# The published code on a toy network; see tests/attacks/test_apgd_golden.py for its weights.


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 5, 1)
        for key, parameter in self.named_parameters():
            drawn = torch.randn(parameter.shape, generator=seeded(zlib.crc32(key.encode())))
            scale = (parameter.numel() / len(parameter)) ** 0.5 if drawn.dim() > 1 else 10
            parameter.data = drawn / scale

    def forward(self, images, tasks=None):
        return {"segmentation": self.c2(torch.relu(self.c1(images)))}


@pytest.fixture
def toy():
    """A network, two images and their classes, of which the four upper rows are ignored."""
    network = Toy().requires_grad_(False)
    images = torch.rand(2, 3, 16, 16, generator=seeded(3))
    wrong = torch.rand(2, 16, 16, generator=seeded(4)) < 0.1
    drawn = torch.randint(0, 5, (2, 16, 16), generator=seeded(5))
    classes = torch.where(wrong, drawn, network(images)["segmentation"].argmax(1))
    valid = torch.ones_like(classes, dtype=torch.bool)
    valid[:, :4] = False
    target = Target(classes.where(valid, 255), valid)
    return network, Batch(images, {"segmentation": target}, torch.arange(2))


def toy_run(toy, score):
    network, batch = toy
    task = build_task(TaskInfo("segmentation", num_classes=5))
    objective = segmentation(network, [task], batch, loss="masked_cross_entropy", score=score)
    threat = ThreatModel(epsilon=8 / 255)
    end = climb(objective, batch.images, batch.images, threat=threat, steps=20)
    judged = segmentation(network, [task], batch, score="accuracy")
    return end, [judged(images, 0).score.tolist() for images in (end.lowest, end.best)]


def test_the_published_code_gives_clean_images_back_where_pixels_are_ignored(toy):
    end, (lowest, best) = toy_run(toy, "seed_accuracy")
    assert end.score.tolist() == pytest.approx([0.6796875, 0.67578125], abs=1e-6)
    assert torch.equal(end.lowest, toy[1].images)
    assert lowest == pytest.approx([0.90625, 0.9010417], abs=1e-6)
    assert best == pytest.approx([0.7552083, 0.7291667], abs=0.02)


def test_valid_pixels_alone_correct_that(toy):
    end, (lowest, _) = toy_run(toy, "accuracy")
    assert end.score.tolist() == lowest
    assert max(lowest) < 0.77


def test_seed_compatible_reproduces_it_in_all_three_losses(toy):
    network, batch = toy
    task = build_task(TaskInfo("segmentation", num_classes=5))
    budget = BUDGET.model_copy(update={"random_start": False, "steps": 30})
    for seed_compatible, is_left in ((True, True), (False, False)):
        reproducing = budget.model_copy(update={"seed_compatible": seed_compatible})
        with fixed_network(network):
            found = list(
                sea.members(
                    segmentation(network, [task], batch),
                    batch.images,
                    budget=reproducing,
                    draws=Draws(seeded()),
                )
            )
        assert all(torch.equal(images, batch.images) == is_left for _, images in found)
        assert (found[-1][0] == "jensen_shannon_seed") == is_left
