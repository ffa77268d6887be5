"""Several processes that train one trial together, or one that trains it alone. Knows no Ray.

Every worker keeps the whole network and takes some rows of every batch. What they compute together
are sums, so the gradient is that of the whole batch, however many valid pixels each worker saw.
Each worker's backward pass gives the part of the gradient that runs through its own images;
:meth:`WorkerGroup.sum_gradients` adds the parts.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from taskgroup.training.parallel.links import MESSAGE_VALUES, Links, connect

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
        links: Their direct connections, where they share a machine.
    """

    rank: int = 0
    size: int = 1
    links: Links | None = field(default=None, compare=False, repr=False)

    @classmethod
    def current(cls) -> "WorkerGroup":
        """The group that torch.distributed was set up with in this process, else a group of one.

        Every worker must ask as often as the others: the workers are linked again each time.
        """
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        with _losing_workers():
            return cls(dist.get_rank(), dist.get_world_size(), connect())

    @property
    def is_first(self) -> bool:
        """Whether this worker writes what the group has to say."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Sum over workers, the same bits on each; every worker may use it in a way of its own.

        Gradients are summed over workers too. Differentiable any number of times.
        """
        if self.size == 1:
            return values
        summed: Tensor = _Sum.apply(values, self)
        return summed

    def share(self, values: Tensor) -> Tensor:
        """Sum over workers from which every worker then computes one and the same loss.

        Its gradient is passed on as it is: summing it would count the one loss once per worker.
        """
        if self.size == 1:
            return values
        shared: Tensor = _Share.apply(values, self)
        return shared

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
        gathered: Tensor = _Gather.apply(rows, self)
        return gathered

    def largest(self, value: int) -> int:
        """The largest of the workers' numbers."""
        if self.size == 1:
            return value
        return int(torch.stack(self._collect(torch.tensor(value))).max())

    def from_first(self, value: T | None) -> T:
        """What the first worker gives here, on every worker; the others' values do not count."""
        box: list[Any] = [value]
        if self.size > 1:
            with _losing_workers():
                dist.broadcast_object_list(box, src=0)
        given: T = box[0]
        return given

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients of ``parameters`` by their sums over workers, in place."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        together = [
            gradient for gradient in gradients if not self._done_in_place(gradient, Links.add)
        ]
        if together:
            flat = torch.cat([gradient.flatten() for gradient in together])
            _scatter(self._sum(flat), together)

    @torch.no_grad()
    def align(self, module: nn.Module) -> None:
        """Give every worker the first one's parameters and buffers, in place.

        Processors of different kinds draw other normal numbers from one seed and round otherwise.
        """
        if self.size == 1:
            return
        values = [value.detach() for value in (*module.parameters(), *module.buffers())]
        together = [value for value in values if not self._done_in_place(value, Links.spread)]
        for dtype in dict.fromkeys(value.dtype for value in together):
            same = [value for value in together if value.dtype == dtype]
            sent = torch.cat([value.flatten() for value in same]).to(_wire(same[0]))
            with _losing_workers():
                dist.broadcast(sent, src=0)
            _scatter(sent, same)

    def barrier(self) -> None:
        """Wait until every worker is here."""
        if self.size > 1:
            self._sum(torch.zeros(1))

    def _sum(self, values: Tensor) -> Tensor:
        """Sum over workers without a graph, in the order of their numbers where they are few."""
        sent = values.detach().to(_wire(values)).contiguous()
        with _losing_workers():
            summed = sent.clone()
            if self.links is not None and self.links.carry(sent):
                self.links.add(summed.view(-1))
            else:
                dist.all_reduce(summed)
        return summed.to(values.device)

    def _done_in_place(self, values: Tensor, do: Callable[[Links, Tensor], None]) -> bool:
        """Do something with a large tensor where it lies, if links carry it; whether that was done.

        Parameters are laid out alike on all workers, and gradients like their parameters. Sending a
        small tensor by itself costs more than copying it.
        """
        row = _row(values)
        if self.links is None or row is None or len(row) < MESSAGE_VALUES:
            return False
        if not self.links.carry(row):
            return False
        with _losing_workers():
            do(self.links, row)
        return True

    def _collect(self, values: Tensor) -> list[Tensor]:
        """The tensors of all workers, of one shape, in the order of their numbers."""
        sent = values.detach().to(_wire(values)).contiguous()
        with _losing_workers():
            if self.links is not None and self.links.carry(sent):
                parts = self.links.exchange(sent)
            else:
                parts = [torch.empty_like(sent) for _ in range(self.size)]
                dist.all_gather(parts, sent)
        return [part.to(values.device) for part in parts]


ALONE = WorkerGroup()
"""One process that trains a trial by itself."""


class _Sum(torch.autograd.Function):
    """Sum over workers; so is the gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: WorkerGroup) -> Tensor:
        ctx.group = group
        return group._sum(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.group.sum(gradient), None


class _Share(torch.autograd.Function):
    """Sum over workers whose gradient is passed on."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: WorkerGroup) -> Tensor:
        return group._sum(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class _Gather(torch.autograd.Function):
    """Rows of all workers; a worker gets the summed gradient of its own."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, group: WorkerGroup) -> Tensor:
        ctx.group = group
        counts = [int(count) for count in group._collect(torch.tensor(len(rows)))]
        padding = rows.new_zeros(max(counts) - len(rows), *rows.shape[1:])
        parts = group._collect(torch.cat([rows, padding]))
        # Worker r was dealt rows r, r + size, ...: one row of each worker in turn is the batch.
        return torch.stack(parts, 1).flatten(0, 1)[: sum(counts)]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        group: WorkerGroup = ctx.group
        return group.sum(gradient)[group.rank :: group.size], None


def _scatter(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    """Copy consecutive parts of ``flat`` into ``tensors``."""
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view(tensor.shape))


def _row(values: Tensor) -> Tensor | None:
    """The same numbers in the order of memory, ``(N,)``; None where there is room between them."""
    if values.is_contiguous():
        return values.view(-1)
    if values.is_contiguous(memory_format=torch.channels_last):
        return values.permute(0, 2, 3, 1).view(-1)
    return None


def _wire(values: Tensor) -> torch.device:
    """Where the backend takes tensors from: nccl from GPUs, gloo from main memory."""
    if dist.get_backend() == "nccl":
        return values.device if values.is_cuda else torch.device("cuda")
    return torch.device("cpu")


@contextmanager
def _losing_workers() -> Iterator[None]:
    """Turn what the backends raise when a connection breaks into WorkerLost."""
    try:
        yield
    except (RuntimeError, OSError, EOFError) as error:
        raise WorkerLost(f"a worker of this trial is gone: {error}") from error
