"""Sockets between workers: what goes through them, and when there are none."""

import os
import sys
import tempfile

import pytest
import ray.cloudpickle
import torch
import torch.distributed as dist

from taskgroup.training import links as linking
from taskgroup.training.links import MOST_VALUES, Links, connect

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

MESSAGES = [
    lambda rank: torch.arange(5.0) + rank,
    lambda rank: torch.tensor(rank),
    lambda rank: torch.full((2, 3), float(rank), dtype=torch.bfloat16),
    lambda rank: torch.full((MOST_VALUES,), rank, dtype=torch.float64),  # more than buffers hold
]


def everything():
    rank = dist.get_rank()
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        links = connect()
        left = os.listdir(folder)
        tempfile.tempdir = None
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


def test_long_and_empty_tensors_go_another_way():
    links = Links(0, {})
    assert links.carry(torch.zeros(MOST_VALUES))
    assert not links.carry(torch.zeros(MOST_VALUES + 1))
    assert not links.carry(torch.zeros(0))


def test_a_folder_that_takes_no_socket_links_nobody(monkeypatch, tmp_path):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with linking.ExitStack() as stack:
        assert linking._listen(stack, backlog=2) is None
    assert list(deep.iterdir()) == []
