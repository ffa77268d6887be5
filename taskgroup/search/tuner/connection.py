"""Joining a Ray cluster that others started, once it has answered."""

from collections.abc import Iterator
from contextlib import contextmanager

import ray

from taskgroup.evaluation.distributed.connection import joined
from taskgroup.search.tuner.address import find_cluster


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """The Ray cluster at an address, for the time of a search.

    Args:
        address: ``auto``, ``host:port`` or ``ray://host:port``; None leaves everything as it is.
            A process that has called ``ray.init`` itself keeps its connection.

    Raises:
        ResourceError: The address is wrong, nothing answers there, or this process does not fit
            the cluster.
    """
    if address is not None and not ray.is_initialized():
        address = str(find_cluster(address))
    with joined(address):
        yield
