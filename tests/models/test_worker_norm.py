"""Norms over the images of several workers (gloo) against one norm over all images."""

import sys

import pytest
import ray.cloudpickle
import timm.layers
import torch
import torch.distributed as dist
from torch import nn

from taskgroup.models.worker_norm import (
    WorkerBatchNorm,
    convert_batch_norms,
    has_sync_batch_norm,
    images_counted,
)

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
CPU = torch.device("cpu")
KINDS = {
    "plain": lambda: nn.BatchNorm2d(3),
    "no affine": lambda: nn.BatchNorm2d(3, affine=False),
    "average": lambda: nn.BatchNorm2d(3, momentum=None),
    "no statistics": lambda: nn.BatchNorm2d(3, track_running_stats=False),
    "with activation": lambda: timm.layers.BatchNormAct2d(3),
}


def network(kind):
    torch.manual_seed(4)
    norm = KINDS[kind]()
    if norm.affine:
        nn.init.uniform_(norm.weight)
        nn.init.uniform_(norm.bias)
    return nn.Sequential(nn.Conv2d(3, 3, 1), norm)


def run(model, rows, dtype=torch.float32):
    """Output, gradients of the input and of the first layer, and the gradient of a gradient."""
    torch.manual_seed(5)
    images = (3 + torch.randn(5, 3, 4, 4)).to(dtype)[rows].clone().requires_grad_()
    weights = torch.randn(5, 3, 4, 4)[rows]
    output = model(images)
    loss = (output.float().square() * weights).sum()
    (slope,) = torch.autograd.grad(loss, images, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.float().square().sum(), images)
    return {"output": output.detach(), "slope": slope.detach(), "curvature": curvature}


def by_two(model=None):
    rank = dist.get_rank()
    found = {}
    for kind in KINDS:
        swapped = convert_batch_norms(network(kind), CPU)
        found[kind] = (run(swapped, slice(rank, None, 2)), swapped.state_dict())
    ghost = convert_batch_norms(nn.Sequential(nn.BatchNorm2d(2)), CPU)
    features = torch.full((1, 2, 2, 2), 9.0) if rank == 1 else torch.zeros(3, 2, 2, 2)
    with images_counted(ghost, rank != 1):
        ghost(features)
    found["ghost"] = ghost[0].running_mean
    return found


@pytest.fixture(scope="module")
def two(workers):
    return workers(2, by_two)


@pytest.mark.parametrize("kind", KINDS)
def test_two_workers_see_what_one_norm_over_all_images_gives(two, kind):
    whole = network(kind)
    expected = run(whole, slice(None))
    for rank, found in enumerate(two):
        ours, state = found[kind]
        for name, value in ours.items():
            torch.testing.assert_close(value, expected[name][rank::2], rtol=1e-4, atol=1e-4)
        for name, value in whole.state_dict().items():
            torch.testing.assert_close(state[name], value)


@pytest.mark.parametrize("kind", KINDS)
def test_state_dict_keys_stay(kind):
    plain = network(kind)
    keys = list(plain.state_dict())
    assert list(convert_batch_norms(plain, CPU).state_dict()) == keys


def test_parameters_stay_the_same_objects():
    plain = network("plain")
    before = list(plain.parameters())
    after = list(convert_batch_norms(plain, CPU).parameters())
    assert all(one is other for one, other in zip(before, after, strict=True))


def test_images_that_do_not_count_leave_no_trace(two):
    assert torch.equal(two[0]["ghost"], two[1]["ghost"])
    assert two[0]["ghost"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("kind", KINDS)
def test_in_evaluation_mode_it_is_the_norm_it_was(kind):
    plain = network(kind).eval()
    images = torch.randn(2, 3, 4, 4)
    expected = plain(images)
    if kind == "no statistics":
        return  # such a norm takes the batch's own statistics even then
    assert torch.equal(convert_batch_norms(plain, CPU)(images), expected)


def test_norms_for_gpus_are_known_to_have_no_second_derivative():
    assert not has_sync_batch_norm(network("plain"))
    assert has_sync_batch_norm(convert_batch_norms(network("plain"), torch.device("cuda")))
    assert not any(isinstance(m, WorkerBatchNorm) for m in network("plain").modules())
