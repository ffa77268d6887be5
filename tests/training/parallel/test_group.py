"""What a group of workers computes equals what one process computes from all images (gloo)."""

import os
import sys

import pytest
import ray.cloudpickle
import torch
import torch.nn.functional as F
from torch import nn

from taskgroup.tasks.base import Target, TaskInfo, build_task
from taskgroup.training.losses import TradesLoss, TrainingLoss
from taskgroup.training.parallel.group import ALONE, WorkerGroup, WorkerLost
from taskgroup.training.parallel.norms import joint_norms
from taskgroup.training.parallel.sharing import Share, WholeDraws, deal, whole_batch_draws
from taskgroup.training.weighting.base import WEIGHTINGS, WeightedTask

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def rows_of(group, values):
    return values[group.rank :: group.size]


def nt_xent(embeddings, anchors, positives, temperature=0.5):
    """Sum over some anchors of NT-Xent against all embeddings ``(N, D)``."""
    unit = F.normalize(embeddings, dim=1)
    similarity = unit[anchors] @ unit.T / temperature
    similarity = similarity.scatter(1, anchors[:, None], -torch.inf)
    return F.cross_entropy(similarity, positives, reduction="sum")


def contrast(group):
    """Loss and gradient of a layer whose loss compares every image with every other one."""
    torch.manual_seed(3)
    layer = nn.Linear(6, 4)
    images = torch.randn(7, 6)
    own = rows_of(group, torch.arange(7))
    gathered = group.gather(layer(images[own]))
    total = group.share(nt_xent(gathered, own, (own + 1) % 7))
    total.backward()
    group.sum_gradients(layer.parameters())
    return total.item(), layer.weight.grad, gathered.detach()


def normalise(group, dtype=torch.float32):
    """A batch norm over 5 images (3 and 2), with the gradient of a loss that sees the statistics"""
    torch.manual_seed(4)
    norm = nn.BatchNorm2d(3)
    nn.init.uniform_(norm.weight)
    features = (3 + torch.randn(5, 3, 4, 4)).to(dtype)
    features = features.contiguous(memory_format=torch.channels_last)
    weights = torch.randn(5, 3, 4, 4)
    own = rows_of(group, features).clone().requires_grad_()
    with joint_norms(group):
        normalised = norm(own)
    (normalised.float().square() * rows_of(group, weights)).sum().backward()
    group.sum_gradients(norm.parameters())
    return {
        "output": group.gather(normalised.detach().float()),
        "images": group.gather(own.grad.float()),
        "weight": norm.weight.grad,
        "bias": norm.bias.grad,
        "mean": norm.running_mean,
        "var": norm.running_var,
    }


def second_order(group):
    """A gradient penalty through the sum over workers."""
    own = rows_of(group, torch.arange(1.0, 5.0)).clone().requires_grad_()
    total = group.sum((own**3).sum())
    (gradient,) = torch.autograd.grad(total, own, create_graph=True)
    (penalty,) = torch.autograd.grad(gradient.square().sum(), own)
    return group.gather(gradient.detach()), group.gather(penalty)


class Net(nn.Module):
    """One convolution per task."""

    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleDict(
            {"segmentation": nn.Conv2d(3, 3, 1), "depth": nn.Conv2d(3, 1, 1)}
        )

    def forward(self, images, tasks):
        return {name: self.heads[name](images) for name in tasks}


def step(group, method, rule):
    """Loss and gradients where workers see different numbers of valid pixels; image 1 has none."""
    torch.manual_seed(6)
    tasks = (build_task(TaskInfo("segmentation", num_classes=3)), build_task(TaskInfo("depth")))
    weighting = WEIGHTINGS[rule](
        [WeightedTask("segmentation", 1.0, True), WeightedTask("depth", 0.3, False)]
    )
    net, images = Net(), torch.rand(5, 3, 5, 6)
    valid = torch.rand(5, 5, 6) < 0.7
    valid[1::2] = False
    classes = torch.randint(3, (5, 5, 6)).where(valid, 255)
    depth, own = 1 + torch.rand(5, 1, 5, 6), torch.arange(5)[group.rank :: group.size]
    targets = {
        "segmentation": Target(classes[own], valid[own]),
        "depth": Target(depth[own], ~valid[own]),
    }
    if method == "plain":
        losses = TrainingLoss(net, tasks, weighting, group=group)(targets, images[own])
    else:
        wrapped = TradesLoss(net, tasks, weighting, main_task="segmentation", beta=2.0, group=group)
        losses = wrapped(targets, images[own], images.flip(3)[own])
    losses.total.backward()
    group.sum_gradients(net.parameters())
    own_gradients = [p.grad for p in weighting.parameters()]
    return [losses.total.detach(), losses.sums, *[p.grad for p in net.parameters()], *own_gradients]


METHODS = [(method, rule) for method in ("plain", "trades") for rule in WEIGHTINGS]


def everything():
    group = WorkerGroup.current()
    unlabelled = nn.BatchNorm2d(2)
    features = torch.full((1, 2, 2, 2), 9.0) if group.rank == 1 else torch.randn(3, 2, 2, 2)
    with joint_norms(group, counts=group.rank != 1):
        unlabelled(features.requires_grad_()).square().sum().backward()
    group.align(unlabelled)
    return {
        "rank": (group.rank, group.size, group.is_first),
        "contrast": contrast(group),
        "norm": normalise(group),
        "bfloat16": normalise(group, torch.bfloat16),
        "second": second_order(group),
        "largest": group.largest(10 + group.rank),
        "first": group.from_first({"from": group.rank}),
        "large": group.sum(torch.full((2**20 + 1,), float(group.rank + 1))),
        "unlabelled": unlabelled.running_mean,
        "steps": {names: step(group, *names) for names in METHODS},
    }


def lose_a_worker():
    """Worker 1 dies between worker 0's forward and backward pass."""
    group = WorkerGroup.current()
    values = torch.ones(3, requires_grad=True)
    total = group.sum(values).sum()
    if group.rank == 1:
        os._exit(0)
    try:
        total.backward()
    except Exception:
        return "an Exception, which a record would take for the reason"
    except WorkerLost as error:
        return str(error)
    return "nothing"


def test_lost_worker_is_noticed_and_never_taken_for_the_reason(workers):
    survivor, lost = workers(2, lose_a_worker)
    assert survivor.startswith("a worker of this trial is gone: ")
    assert lost is None


@pytest.fixture(scope="module")
def two(workers):
    """What each of two workers found."""
    return workers(2, everything)


def test_workers_know_their_place(two):
    assert [found["rank"] for found in two] == [(0, 2, True), (1, 2, False)]
    assert [found["largest"] for found in two] == [11, 11]
    assert [found["first"] for found in two] == [{"from": 0}, {"from": 0}]
    assert all(bool((found["large"] == 3).all()) for found in two)


def test_one_process_is_a_group_of_one():
    assert WorkerGroup.current() == ALONE
    values = torch.rand(3)
    for same in (ALONE.sum, ALONE.share, ALONE.gather, ALONE.from_first):
        assert same(values) is values
    assert ALONE.largest(7) == 7
    ALONE.barrier()
    ALONE.align(nn.Linear(2, 2))


def test_contrastive_loss_over_gathered_rows_is_that_of_the_whole_batch(two):
    total, gradient, embeddings = contrast(ALONE)
    for found in two:
        torch.testing.assert_close(found["contrast"][0], total)
        torch.testing.assert_close(found["contrast"][1], gradient)
        torch.testing.assert_close(found["contrast"][2], embeddings)


def test_batch_norm_sees_the_images_of_all_workers(two):
    whole = normalise(ALONE)
    for found in two:
        for name, value in whole.items():
            torch.testing.assert_close(
                found["norm"][name], value, msg=lambda m, n=name: f"{n}: {m}"
            )


def test_batch_norm_of_bfloat16_features_has_float32_statistics(two):
    whole = normalise(ALONE, torch.bfloat16)
    for name, value in whole.items():
        torch.testing.assert_close(two[0]["bfloat16"][name], value, rtol=0.02, atol=0.02)
    for name in ("mean", "var"):
        torch.testing.assert_close(two[0]["bfloat16"][name], whole[name])


def test_unlabelled_batch_leaves_no_trace_in_statistics(two):
    assert torch.equal(two[0]["unlabelled"], two[1]["unlabelled"])
    assert bool((two[0]["unlabelled"].abs() < 0.2).all()), (
        "the unlabelled's nines would give 0.3 and more"
    )


def test_workers_agree_bit_for_bit(two):
    for name in ("mean", "var", "weight", "bias", "images"):
        assert torch.equal(two[0]["norm"][name], two[1]["norm"][name])
    assert torch.equal(two[0]["contrast"][1], two[1]["contrast"][1])


@pytest.mark.parametrize("names", METHODS)
def test_losses_and_gradients_are_those_of_all_pixels(two, names):
    whole = step(ALONE, *names)
    for found in two:
        torch.testing.assert_close(found["steps"][names], whole)


def test_sum_can_be_differentiated_twice(two):
    values = torch.arange(1.0, 5.0)
    for found in two:
        torch.testing.assert_close(found["second"][0], 2 * 3 * values**2)
        torch.testing.assert_close(found["second"][1], 2 * 2 * 2 * 3 * values**2 * 6 * values)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize(("images", "batch"), [(10, 4), (8, 4), (1, 4), (7, 3)])
def test_shares_cover_every_image_once(size, images, batch):
    groups = [WorkerGroup(rank, size) for rank in range(size)]
    dealt = [
        start + row
        for group in groups
        for start, share in deal(group, images, batch)
        for row in share.rows
    ]
    assert sorted(dealt) == list(range(images))
    for shares in zip(*(deal(group, images, batch) for group in groups), strict=True):
        lengths = [len(share) for _, share in shares]
        assert max(lengths) - min(lengths) <= 1
        assert sum(lengths) == shares[0][1].whole


@pytest.mark.parametrize("count", range(7))
def test_rest_of_a_share_keeps_its_places_in_the_rest_of_the_batch(count):
    for rank in range(3):
        share = Share(7, range(rank, 7, 3))
        rest = share.without_first(count)
        assert share.first(count) + len(rest) == len(share)
        assert [row + count for row in rest.rows] == [row for row in share.rows if row >= count]
        assert rest.whole == 7 - count


@pytest.mark.parametrize("draw", [torch.rand, torch.randn])
def test_each_image_gets_the_number_of_the_whole_batch(draw):
    def drawn(share, *sizes):
        generator = torch.Generator().manual_seed(5)
        with whole_batch_draws(share):
            return draw(*sizes, generator=generator)

    whole = drawn(Share(7, range(7)), 7, 2, 3)
    for rank in range(3):
        share = Share(7, range(rank, 7, 3))
        own = drawn(share, (len(share), 2, 3))
        assert torch.equal(own, whole[rank::3])
        assert torch.equal(drawn(share, len(share), 2, 3), own)
    assert drawn(Share(7, range(0)), 1, 2).shape == (1, 2), "a unlabelled batch draws for itself"


def test_other_draws_are_left_alone():
    with WholeDraws(Share(7, range(0, 7, 2))):
        assert torch.rand(3).shape == (3,)
        assert torch.rand(()).shape == ()
        assert torch.zeros(4).shape == (4,)
