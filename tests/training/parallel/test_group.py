"""What a group of workers computes equals what one process computes from all images (gloo)."""

import os
import sys

import pytest
import ray.cloudpickle
import torch
import torch.nn.functional as F
from torch import nn

from taskgroup.training.parallel.group import ALONE, WorkerGroup, WorkerLost

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


def everything():
    group = WorkerGroup.current()
    layer = nn.Linear(2, 2)
    nn.init.constant_(layer.weight, float(group.rank))
    group.align(layer)
    large = torch.full((2**20 + 1,), float(group.rank + 1))
    parts = [large.clone(), torch.ones(2, 3).T * (group.rank + 1)]
    group.sum_in_place(parts)
    return {
        "rank": (group.rank, group.size, group.is_first),
        "contrast": contrast(group),
        "largest": group.largest(10 + group.rank),
        "first": group.from_first({"from": group.rank}),
        "large": group.sum(large),
        "in place": parts,
        "aligned": layer.weight.detach(),
    }


def lose_a_worker():
    """Worker 1 dies between worker 0's forward and backward pass."""
    group = WorkerGroup.current()
    wrapped = group.wrap(nn.Linear(3, 1))
    total = wrapped(torch.ones(2, 3)).sum()
    if group.rank == 1:
        os._exit(0)
    try:
        group.backward(total)
        group.sum(torch.ones(1))
    except Exception:
        return "an Exception, which a record would take for the reason"
    except WorkerLost as error:
        return str(error)
    return "nothing"


def run_out_of_memory():
    """An error of this worker's own is no lost worker."""
    group = WorkerGroup.current()
    values = torch.ones(1, requires_grad=True)
    values.register_hook(_fail)
    try:
        group.backward(values.sum())
    except RuntimeError as error:
        return str(error)
    return "nothing"


def _fail(gradient):
    raise RuntimeError("out of memory")


def test_lost_worker_is_noticed_and_never_taken_for_the_reason(workers):
    survivor, lost = workers(2, lose_a_worker)
    assert survivor.startswith("a worker of this trial is gone: ")
    assert lost is None


def test_an_error_of_its_own_is_told_as_it_is(workers):
    assert workers(1, run_out_of_memory) == ["out of memory"]


@pytest.fixture(scope="module")
def two(workers):
    """What each of two workers found."""
    return workers(2, everything)


def test_workers_know_their_place(two):
    assert [found["rank"] for found in two] == [(0, 2, True), (1, 2, False)]
    assert [found["largest"] for found in two] == [11, 11]
    assert [found["first"] for found in two] == [{"from": 0}, {"from": 0}]
    for found in two:
        assert bool((found["large"] == 3).all())
        assert all(bool((part == 3).all()) for part in found["in place"])
        assert bool((found["aligned"] == 0).all())


def test_one_process_is_a_group_of_one():
    assert WorkerGroup.current() == ALONE
    values = torch.rand(3)
    for same in (ALONE.share, ALONE.gather, ALONE.from_first):
        assert same(values) is values
    assert torch.equal(ALONE.sum(values), values)
    assert ALONE.largest(7) == 7
    layer = nn.Linear(2, 2)
    ALONE.align(layer)
    assert ALONE.wrap(layer) is layer


def test_contrastive_loss_over_gathered_rows_is_that_of_the_whole_batch(two):
    total, gradient, embeddings = contrast(ALONE)
    for found in two:
        torch.testing.assert_close(found["contrast"][0], total)
        torch.testing.assert_close(found["contrast"][1], gradient)
        torch.testing.assert_close(found["contrast"][2], embeddings)


def test_workers_agree_bit_for_bit(two):
    assert torch.equal(two[0]["contrast"][1], two[1]["contrast"][1])


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize(("images", "batch"), [(10, 4), (8, 4), (1, 4), (7, 3)])
def test_shares_cover_every_image_once(size, images, batch):
    groups = [WorkerGroup(rank, size) for rank in range(size)]
    dealt = [
        start + row
        for group in groups
        for start, share in group.deal(images, batch)
        for row in share.rows
    ]
    assert sorted(dealt) == list(range(images))
    for shares in zip(*(group.deal(images, batch) for group in groups), strict=True):
        lengths = [len(share) for _, share in shares]
        assert max(lengths) - min(lengths) <= 1
        assert sum(lengths) == shares[0][1].whole
