"""Losses of a step against naive sums; several workers are in test_group."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from taskgroup.draws import Draws
from taskgroup.errors import ConfigError
from taskgroup.metrics.base import NoScore
from taskgroup.tasks.base import LossSums, Target, Task, TaskInfo, build_task
from taskgroup.training.divergence import softmax_divergence
from taskgroup.training.steps.losses import TaskSums, TradesSums, mean_losses

SEGMENTATION = build_task(TaskInfo("segmentation", num_classes=3))
DEPTH = build_task(TaskInfo("depth"))
TASKS = (SEGMENTATION, DEPTH)


DRAWS = Draws.seeded(0, "views")


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


def plain(net, images, targets):
    sums = TaskSums(net, TASKS)(targets, DRAWS, images)
    return mean_losses(sums), sums


def trades(net, beta):
    return TradesSums(net, TASKS, main_task="segmentation", beta=beta)


def test_losses_are_means_over_valid_pixels(batch):
    images, targets = batch
    net = Net()
    losses, sums = plain(net, images, targets)
    valid = targets["depth"].valid
    logits = net(images, ["segmentation"])["segmentation"].permute(0, 2, 3, 1)[valid]
    depth = net(images, ["depth"])["depth"][:, 0][valid]
    cross_entropy = F.cross_entropy(logits, targets["segmentation"].values[valid])
    absolute = (depth - targets["depth"].values[:, 0][valid]).abs().mean()
    torch.testing.assert_close(losses, torch.stack([cross_entropy, absolute]))
    assert sums[:, 1].tolist() == [valid.sum(), valid.sum()]


def test_one_task_alone_gives_its_row(batch):
    images, targets = batch
    net = Net()
    whole = TaskSums(net, TASKS)(targets, DRAWS, images)
    alone = TaskSums(net, TASKS)(targets, DRAWS, images, "depth")
    torch.testing.assert_close(alone, whole[1:])


def test_nothing_valid_is_zero_loss_and_zero_gradient(batch):
    images, targets = batch
    empty = {name: target.invalid() for name, target in targets.items()}
    net = Net()
    losses, sums = plain(net, images, empty)
    assert sums.abs().sum() == 0
    gradients = torch.autograd.grad(losses.sum(), list(net.parameters()), allow_unused=True)
    assert all(g is None or g.abs().sum() == 0 for g in gradients)


def test_no_image_at_all_is_zero_loss(batch):
    images, targets = batch
    none = {name: Target(t.values[:0], t.valid[:0]) for name, t in targets.items()}
    assert TaskSums(Net(), TASKS)(none, DRAWS, images[:0]).abs().sum() == 0
    assert trades(Net(), 6.0)(none, DRAWS, images[:0], images[:0]).abs().sum() == 0


def test_trades_without_a_perturbation_is_the_clean_loss(batch):
    images, targets = batch
    net = Net()
    twins = mean_losses(trades(net, 6.0)(targets, DRAWS, images, images))
    torch.testing.assert_close(twins, plain(net, images, targets)[0])


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
    losses = mean_losses(trades(net, 6.0)(targets, DRAWS, images, moved))
    expected = plain(net, images, targets)[0] + 6.0 * torch.stack([reference, reference * 0])
    torch.testing.assert_close(losses, expected)


class TwoViews(Task):
    """Asks that an image and its mirror image are embedded alike: a loss over the whole batch."""

    views = 2
    output = "vector"
    channels = 4

    def view(self, images, number, draws):
        return images.flip(-1) if number else images

    def loss(self, prediction, target):
        return LossSums(prediction.square().sum(1), target.valid.float())

    def training_loss(self, outputs, target, gather):
        first, second = (F.normalize(output, dim=1) for output in outputs)
        similarity = first @ gather(second).T
        rows = torch.arange(len(first))
        losses = F.cross_entropy(similarity, rows, reduction="none")
        return LossSums(losses.masked_fill(~target.valid, 0.0), target.valid.float())

    def metric(self):
        return NoScore()


class Embedder(Net):
    """The same network with one vector per image for the task of two views."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 4)
        self.passes = []

    def forward(self, images, tasks):
        self.passes.append(tuple(tasks))
        maps = super().forward(images, [name for name in tasks if name != "twins"])
        # Columns weighed unevenly, so that a mirror image is embedded differently.
        slope = torch.linspace(0, 1, images.shape[-1])
        vectors = self.embed((images * slope).mean((2, 3)))
        return {**maps, **({"twins": vectors} if "twins" in tasks else {})}


def test_a_task_of_two_views_sees_both_and_the_others_share_one_pass(batch):
    images, targets = batch
    valid = torch.tensor([True, True, False, True])
    targets = {**targets, "twins": Target(torch.zeros(4), valid)}
    task, net = TwoViews(TaskInfo("twins")), Embedder()
    sums = TaskSums(net, [*TASKS, task])(targets, DRAWS, images)
    assert net.passes == [("segmentation", "depth"), ("twins",), ("twins",)]
    first, second = (
        F.normalize(net(x, ["twins"])["twins"], dim=1) for x in (images, images.flip(-1))
    )
    expected = F.cross_entropy(first @ second.T, torch.arange(4), reduction="none")[valid]
    torch.testing.assert_close(sums[2, 0], expected.sum())
    assert sums[2, 1] == 3
    torch.testing.assert_close(sums[:2], TaskSums(net, TASKS)(targets, DRAWS, images))


def test_a_task_without_a_score_cannot_be_the_main_task():
    with pytest.raises(ConfigError, match="main_task must have a score, but 'twins' has a loss"):
        _ = TwoViews(TaskInfo("twins")).main_score


def test_divergence_is_finite_at_a_large_logit_gap_and_zero_where_invalid():
    clean = torch.tensor([[200.0, 0.0, -200.0], [200.0, 0.0, -200.0]])
    divergence = softmax_divergence(clean, -clean, torch.tensor([True, False]))
    torch.testing.assert_close(divergence, torch.tensor([400.0, 0.0]))
