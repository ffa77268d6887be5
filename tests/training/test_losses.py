"""Losses of a step against naive sums; several workers are in test_group."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from taskgroup.tasks.base import Target, TaskInfo, build_task
from taskgroup.training.losses import TradesLoss, TrainingLoss, softmax_divergence
from taskgroup.training.weighting.base import WEIGHTINGS, WeightedTask

SEGMENTATION = build_task(TaskInfo("segmentation", num_classes=3))
DEPTH = build_task(TaskInfo("depth"))
TASKS = (SEGMENTATION, DEPTH)


class Net(nn.Module):
    """One convolution per task."""

    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleDict(
            {"segmentation": nn.Conv2d(3, 3, 1), "depth": nn.Conv2d(3, 1, 1)}
        )

    def forward(self, images, tasks):
        return {name: self.heads[name](images) for name in tasks}


@pytest.fixture
def batch(generator):
    images = torch.rand(4, 3, 5, 6, generator=generator)
    valid = torch.rand(4, 5, 6, generator=generator) < 0.7
    valid[1] = False
    classes = torch.randint(3, (4, 5, 6), generator=generator).where(valid, 255)
    depth = 1 + torch.rand(4, 1, 5, 6, generator=generator)
    return images, {"segmentation": Target(classes, valid), "depth": Target(depth, valid)}


def weighting(name="fixed"):
    return WEIGHTINGS[name](
        [WeightedTask("segmentation", 1.0, True), WeightedTask("depth", 0.3, False)]
    )


def trades(net, beta):
    return TradesLoss(net, TASKS, weighting(), main_task="segmentation", beta=beta)


def some(targets, rows):
    return {name: t.map(lambda tensor: tensor[rows]) for name, t in targets.items()}


def test_total_is_the_weighted_mean_over_valid_pixels(batch):
    images, targets = batch
    net = Net()
    result = TrainingLoss(net, TASKS, weighting())(targets, images)
    valid = targets["depth"].valid
    logits = net(images, ["segmentation"])["segmentation"].permute(0, 2, 3, 1)[valid]
    depth = net(images, ["depth"])["depth"][:, 0][valid]
    cross_entropy = F.cross_entropy(logits, targets["segmentation"].values[valid])
    absolute = (depth - targets["depth"].values[:, 0][valid]).abs().mean()
    torch.testing.assert_close(result.total, cross_entropy + 0.3 * absolute)
    torch.testing.assert_close(
        result.sums[:, 0] / result.sums[:, 1], torch.stack([cross_entropy, absolute]).detach()
    )
    assert result.sums[:, 1].tolist() == [valid.sum(), valid.sum()]
    assert not result.sums.requires_grad


@pytest.mark.parametrize("rule", WEIGHTINGS)
def test_nothing_valid_is_zero_loss_and_zero_gradient(batch, rule):
    images, targets = batch
    empty = {name: Target(t.values, torch.zeros_like(t.valid)) for name, t in targets.items()}
    net = Net()
    result = TrainingLoss(net, TASKS, weighting(rule))(empty, images)
    assert result.sums.abs().sum() == 0
    gradients = torch.autograd.grad(result.total, list(net.parameters()), allow_unused=True)
    assert all(g is None or g.abs().sum() == 0 for g in gradients)


def test_trades_without_a_perturbation_is_the_clean_loss(batch):
    images, targets = batch
    net = Net()
    plain = TrainingLoss(net, TASKS, weighting())(targets, images)
    twins = trades(net, 6.0)(targets, images, images)
    torch.testing.assert_close(twins.total, plain.total)


def test_trades_adds_beta_times_the_mean_divergence(batch):
    images, targets = batch
    moved = images.flip(0)
    net = Net()
    clean, attacked = (net(x, ["segmentation"])["segmentation"] for x in (images, moved))
    valid = targets["segmentation"].valid
    reference = F.kl_div(
        attacked.log_softmax(1).permute(0, 2, 3, 1)[valid],
        clean.softmax(1).permute(0, 2, 3, 1)[valid],
        reduction="batchmean",
    )
    plain = TrainingLoss(net, TASKS, weighting())(targets, images).total
    total = trades(net, 6.0)(targets, images, moved).total
    torch.testing.assert_close(total, plain + 6.0 * reference)


def test_divergence_is_finite_at_a_large_logit_gap_and_zero_where_invalid():
    clean = torch.tensor([[200.0, 0.0, -200.0], [200.0, 0.0, -200.0]])
    divergence = softmax_divergence(clean, -clean, torch.tensor([True, False]))
    torch.testing.assert_close(divergence, torch.tensor([400.0, 0.0]))
