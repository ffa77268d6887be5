"""Several processes that train one trial together, or one that trains it alone. Knows no Ray.

Every worker keeps the whole network and takes some rows of every batch. What they compute together
are sums, so the gradient is that of the whole batch, however many valid pixels each worker saw.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as differentiable
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from taskgroup.draws import Share

T = TypeVar("T")


class WorkerLost(BaseException):
    """Another worker of the group is gone, and with it the trial as far as this one can tell.

    Not an Exception: why the trial ended is known where the other worker died, so nobody here may
    record this as the reason.
    """


@dataclass(frozen=True)
class WorkerGroup:
    """The workers of one trial.

    Attributes:
        rank: Number of this worker, from 0; worker 0 writes checkpoints and records.
        size: Number of workers.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> "WorkerGroup":
        """The group that torch.distributed was set up with in this process, else a group of one."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def is_first(self) -> bool:
        """Whether this worker writes what the group has to say."""
        return self.rank == 0

    def deal(self, num_images: int, batch_size: int) -> Iterator[tuple[int, Share]]:
        """This worker's share of every batch of an epoch, with the position where it begins.

        Args:
            num_images: Images of the epoch.
            batch_size: Images per batch over all workers; the last batch holds what is left.
        """
        for start in range(0, num_images, batch_size):
            whole = min(batch_size, num_images - start)
            yield start, Share(whole, range(self.rank, whole, self.size))

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module whose backward pass averages parameter gradients over workers.

        Every call must be followed by one backward pass on every worker. The first worker's
        parameters and buffers are everybody's from now on.
        """
        if self.size == 1:
            return module
        with losing_workers():
            return DistributedDataParallel(module, broadcast_buffers=False, static_graph=True)

    @torch.no_grad()
    def align(self, module: nn.Module) -> None:
        """Give every worker the first one's parameters and buffers, in place."""
        if self.size == 1:
            return
        with losing_workers():
            for value in (*module.parameters(), *module.buffers()):
                dist.broadcast(value.detach(), src=0)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over workers, the same on each, without a graph."""
        summed = values.detach().clone()
        if self.size > 1:
            with losing_workers():
                dist.all_reduce(summed)
        return summed

    def share(self, own: Tensor, *, factor: float = 1.0) -> Tensor:
        """Sum over workers from which each goes on to compute one and the same loss.

        The gradient is passed on to this worker's part as it is, times ``factor``: summing it would
        count the one loss once per worker. Where gradients are averaged afterwards, the factor is
        the number of workers.
        """
        shared: Tensor = _Share.apply(own, self.sum(own), factor)
        return own if self.size == 1 else shared

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all workers in the order of the batch that they were dealt from.

        For losses that compare the images of a batch with each other (NT-Xent). Gradients are
        summed over workers, each keeping those of its own rows.

        Args:
            rows: ``(N, ...)``; the workers' numbers of rows are those of :meth:`deal`.

        Returns:
            ``(N of all workers, ...)``.
        """
        if self.size == 1:
            return rows
        with losing_workers():
            counts = [torch.zeros((), dtype=torch.int64, device=rows.device)] * self.size
            counts = [count.clone() for count in counts]
            dist.all_gather(counts, torch.tensor(len(rows), device=rows.device))
            most, total = int(max(counts)), int(sum(counts))
            padding = rows.new_zeros(most - len(rows), *rows.shape[1:])
            parts = differentiable.all_gather(torch.cat([rows, padding]))  # type: ignore[no-untyped-call]
        # Worker r was dealt rows r, r + size, ...: one row of each worker in turn is the batch.
        return torch.stack(parts, 1).flatten(0, 1)[:total]

    def largest(self, value: int) -> int:
        """The largest of the workers' numbers."""
        if self.size == 1:
            return value
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        found = torch.tensor(value, device=device)
        with losing_workers():
            dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return int(found)

    def from_first(self, value: T | None) -> T:
        """What the first worker gives here, on every worker; the others' values do not count."""
        box: list[Any] = [value]
        if self.size > 1:
            with losing_workers():
                dist.broadcast_object_list(box, src=0)
        given: T = box[0]
        return given

    def backward(self, total: Tensor) -> None:
        """Run the backward pass of a loss; a wrapped module averages gradients meanwhile."""
        with losing_workers():
            total.backward()  # type: ignore[no-untyped-call]

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients of ``parameters`` by their sums over workers, in one exchange."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        self.sum_in_place(gradients)

    @torch.no_grad()
    def sum_in_place(self, values: list[Tensor]) -> None:
        """Replace tensors of one type by their sums over workers, in one exchange."""
        if self.size == 1 or not values:
            return
        summed = self.sum(torch.cat([value.reshape(-1) for value in values]))
        parts = torch.split(summed, [value.numel() for value in values])
        for value, part in zip(values, parts, strict=True):
            value.copy_(part.view(value.shape))


ALONE = WorkerGroup()
"""One process that trains a trial by itself."""


class _Share(torch.autograd.Function):
    """A sum over workers in place of this worker's part; its gradient goes to that part."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, summed: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient * ctx.factor, None, None


@contextmanager
def losing_workers() -> Iterator[None]:
    """Turn what the backends raise when a connection breaks into WorkerLost.

    Other errors, such as memory that ran out in a backward pass, are this worker's own.
    """
    try:
        yield
    except (RuntimeError, OSError, EOFError) as error:
        if isinstance(error, RuntimeError) and not _is_broken_connection(error):
            raise
        raise WorkerLost(f"a worker of this trial is gone: {error}") from error


def _is_broken_connection(error: RuntimeError) -> bool:
    """Whether a backend lost a peer: gloo has no error class of its own, only its name."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)
