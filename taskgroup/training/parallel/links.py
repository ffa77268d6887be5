"""Sockets between the workers of one trial that share a machine.

gloo receives in a thread of its own, which a core that is busy training was measured to serve up
to 4 ms late (a tick of the kernel's clock), at each of some thirty messages of a step. Here the
worker that waits for a message is the one that reads it.
"""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import reduce
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")

MOST_WORKERS = 4
"""Largest group in which each worker sends its numbers to every other one."""
MESSAGE_VALUES = 2**17
"""Numbers summed at a time, few enough to stay in a core's cache."""


@dataclass(frozen=True, eq=False)
class Links:
    """One worker's connections.

    Attributes:
        rank: Number of this worker.
        others: A connection to each other worker of the group, by its number.
    """

    rank: int
    others: Mapping[int, "Connection[bytes, bytes]"]

    def carry(self, values: Tensor) -> bool:
        """Whether a tensor may go this way; the workers' tensors are of one shape."""
        return values.device.type == "cpu" and values.numel() > 0

    def add(self, values: Tensor) -> None:
        """Replace ``values`` by their sum over workers, in the order of their numbers, in place.

        Args:
            values: One row of numbers side by side in main memory; of one length on all workers.

        Raises:
            OSError, EOFError: Another worker is gone.
        """
        for piece in torch.split(values, MESSAGE_VALUES):
            piece.copy_(reduce(torch.add, self.exchange(piece)))

    def spread(self, values: Tensor) -> None:
        """Replace ``values`` by the first worker's, in place.

        Args:
            values: One row of numbers side by side in main memory; of one length on all workers.

        Raises:
            OSError, EOFError: Another worker is gone.
        """
        for piece in torch.split(values, MESSAGE_VALUES):
            if self.rank > 0:
                self.others[0].recv_bytes_into(_bytes(piece))
                continue
            for connection in self.others.values():
                connection.send_bytes(_bytes(piece))

    def exchange(self, values: Tensor) -> list[Tensor]:
        """Every worker's ``values``, in the order of their numbers.

        Args:
            values: Contiguous, in main memory, not empty; of one shape and type on all workers.

        Raises:
            OSError, EOFError: Another worker is gone.
        """
        parts = {self.rank: values}
        sent = _bytes(values)
        for other in sorted(self.others):
            connection, part = self.others[other], torch.empty_like(values)
            # One of the two listens first, so that neither waits for room in the other's buffer.
            if self.rank < other:
                connection.send_bytes(sent)
            connection.recv_bytes_into(_bytes(part))
            if self.rank > other:
                connection.send_bytes(sent)
            parts[other] = part
        return [parts[rank] for rank in sorted(parts)]


def connect() -> Links | None:
    """Link all workers of this process's torch.distributed group; each must call this.

    Returns:
        None on every worker where one of them cannot reach another: they are on several machines
        or in containers with a file system each, or more than :data:`MOST_WORKERS`, or not joined
        by gloo.

    Raises:
        RuntimeError, OSError, EOFError: Another worker is gone.
    """
    rank, size = dist.get_rank(), dist.get_world_size()
    if size > MOST_WORKERS or dist.get_backend() != "gloo":
        return None
    with ExitStack() as stack:
        listener = _listen(stack, backlog=size)
        addresses = _gathered("" if listener is None else str(listener.address))
        lower = [_reach(address) for address in addresses[:rank]]
        others = {n: connection for n, connection in enumerate(lower) if connection is not None}
        if not all(_gathered(len(others) == rank)):
            return None
        for connection in others.values():
            connection.send_bytes(bytes([rank]))
        for _ in range(rank + 1, size):
            assert listener is not None
            connection = listener.accept()
            others[connection.recv_bytes()[0]] = connection
    return Links(rank, others)


def _listen(stack: ExitStack, *, backlog: int) -> Listener | None:
    """A socket in a folder that only this user may enter, both removed with ``stack``."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="taskgroup-"))
    try:
        return stack.enter_context(Listener(str(Path(folder, "worker")), "AF_UNIX", backlog))
    except OSError:  # a path too long for a socket, a file system without sockets
        return None


def _reach(address: str) -> "Connection[bytes, bytes] | None":
    try:
        return Client(address, "AF_UNIX")
    except OSError:
        return None


def _gathered(value: T) -> list[T]:
    """The values of all workers, in the order of their numbers."""
    values: list[T | None] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return cast(list[T], values)


def _bytes(values: Tensor) -> memoryview:
    return values.reshape(-1).view(torch.uint8).numpy().data
