"""Sockets between workers: what goes through them, and when there are none."""

import os
import sys
import tempfile

import pytest
import ray.cloudpickle
import torch
import torch.distributed as dist

from taskgroup.training.parallel import links as linking
from taskgroup.training.parallel.group import WorkerGroup
from taskgroup.training.parallel.links import MESSAGE_VALUES, Links, connect

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

MESSAGES = [
    lambda rank: torch.arange(5.0) + rank,
    lambda rank: torch.tensor(rank),
    lambda rank: torch.full((2, 3), float(rank), dtype=torch.bfloat16),
    lambda rank: torch.full((2**20,), rank, dtype=torch.float64),  # more than buffers hold
]
ROW = 2 * MESSAGE_VALUES + 3
SHAPES = [(3,), (64, 300, 3, 3), (400, 400), (2, 5, 3, 3)]
"""Of gradients: two large ones, of which the first lies channels last, and two small ones."""


def everything():
    rank = dist.get_rank()
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        links = connect()
        left = os.listdir(folder)
        tempfile.tempdir = None
    row = torch.arange(ROW) * (rank + 1.0)
    links.add(row)
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    parameters[1].data = parameters[1].data.contiguous(memory_format=torch.channels_last)
    for parameter in parameters:
        values = torch.arange(parameter.numel()).view(parameter.shape) * (rank + 1.0)
        (parameter * values).sum().backward()
    strides = [parameter.stride() for parameter in parameters]
    WorkerGroup(rank, 3, links).sum_gradients(parameters)
    module = torch.nn.ParameterList(parameters)
    module.requires_grad_(False)
    for parameter in module:
        parameter.copy_(torch.arange(parameter.numel()).view(parameter.shape) + 7.0 * rank)
    WorkerGroup(rank, 3, links).align(module)
    received = [links.exchange(make(rank)) for make in MESSAGES]
    whole, reach = linking._reach, linking._reach
    linking._reach = whole if rank < 2 else lambda address: None  # the last one has its own disk
    apart = connect()
    linking._reach, linking.MOST_WORKERS = reach, 2
    crowded = connect()
    linking.MOST_WORKERS = 4
    again = connect().exchange(torch.tensor([rank]))
    return {
        "rank": links.rank,
        "received": received,
        "row": row,
        "gradients": [parameter.grad for parameter in parameters],
        "aligned": [parameter.data for parameter in parameters],
        "layouts_kept": strides
        == [parameter.stride() for parameter in parameters]
        == [parameter.grad.stride() for parameter in parameters],
        "left": left,
        "apart": apart,
        "crowded": crowded,
        "again": [int(part) for part in again],
    }


@pytest.fixture(scope="module")
def three(workers):
    """What each of three workers found."""
    return workers(3, everything)


def test_every_worker_gets_all_values_in_the_order_of_the_workers(three):
    expected = [[make(rank) for rank in range(3)] for make in MESSAGES]
    for rank, found in enumerate(three):
        assert found["rank"] == rank
        for received, sent in zip(found["received"], expected, strict=True):
            assert all(
                torch.equal(a, b) and a.dtype == b.dtype and a.shape == b.shape
                for a, b in zip(received, sent, strict=True)
            )
        assert found["again"] == [0, 1, 2]


def test_nobody_links_where_one_cannot_reach_the_others(three):
    assert [found["apart"] for found in three] == [None] * 3
    assert [found["crowded"] for found in three] == [None] * 3


def test_sockets_leave_no_file(three):
    assert [found["left"] for found in three] == [[]] * 3


def test_long_rows_are_summed_piece_by_piece(three):
    expected = torch.arange(ROW) * 6.0
    for found in three:
        assert torch.equal(found["row"], expected)


def test_gradients_are_summed_whatever_their_size_and_layout(three):
    for found in three:
        for gradient, shape in zip(found["gradients"], SHAPES, strict=True):
            assert torch.equal(gradient, torch.arange(gradient.numel()).view(shape) * 6.0)
        assert found["layouts_kept"]


def test_parameters_become_those_of_the_first_whatever_their_size_and_layout(three):
    for found in three:
        for aligned, shape in zip(found["aligned"], SHAPES, strict=True):
            assert torch.equal(aligned, torch.arange(aligned.numel()).view(shape) * 1.0)


def test_an_empty_tensor_goes_another_way():
    links = Links(0, {})
    assert links.carry(torch.zeros(1))
    assert not links.carry(torch.zeros(0))


def test_a_folder_that_takes_no_socket_links_nobody(monkeypatch, tmp_path):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with linking.ExitStack() as stack:
        assert linking._listen(stack, backlog=2) is None
    assert list(deep.iterdir()) == []
