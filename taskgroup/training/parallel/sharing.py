"""How workers share a batch: who takes which images, and how chance stays the same for each image.

A batch, the order of the images, their augmentation and the noise of attacks are the same for any
number of workers: worker ``r`` of ``n`` takes images ``r``, ``r + n``, ... of every batch, draws
the random numbers of the whole batch and keeps those of its own images.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from taskgroup.data.base import Batch
from taskgroup.tasks.base import Target
from taskgroup.training.parallel.group import WorkerGroup


@dataclass(frozen=True)
class Share:
    """One worker's part of one batch.

    Attributes:
        whole: Images of the batch, over all workers.
        rows: Positions in the batch of this worker's images; none in a last batch that has fewer
            images than there are workers.
    """

    whole: int
    rows: range

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def is_whole(self) -> bool:
        """Whether no other worker has a part."""
        return len(self) == self.whole

    def first(self, count: int) -> int:
        """How many of this worker's images are among the first ``count`` of the batch."""
        return len(range(self.rows.start, min(count, self.whole), self.rows.step))

    def without_first(self, count: int) -> "Share":
        """This worker's part of what is left of the batch after its first ``count`` images."""
        rows = self.rows[self.first(count) :]
        return Share(
            self.whole - count, range(rows.start - count, self.whole - count, self.rows.step)
        )


def deal(group: WorkerGroup, num_images: int, batch_size: int) -> Iterator[tuple[int, Share]]:
    """This worker's share of every batch of an epoch, with the position where the batch begins.

    Args:
        group: The workers.
        num_images: Images of the epoch.
        batch_size: Images per batch over all workers; the last batch holds what is left.
    """
    for start in range(0, num_images, batch_size):
        whole = min(batch_size, num_images - start)
        yield start, Share(whole, range(group.rank, whole, group.size))


def whole_share(batch: Batch) -> Share:
    """The share of a worker that has the whole batch."""
    return Share(len(batch), range(len(batch)))


def unlabelled(batch: Batch) -> Batch:
    """The same images without any label, so that they count nowhere.

    A worker without images in the last batch takes part in its step with such a batch of one:
    networks and attacks need not know empty batches.
    """
    targets = {
        name: Target(target.values, torch.zeros_like(target.valid))
        for name, target in batch.targets.items()
    }
    return Batch(batch.images, targets, batch.index)


def whole_batch_draws(share: Share) -> AbstractContextManager[object]:
    """Inside, numbers drawn for this worker's images are those of the whole batch's draw."""
    return nullcontext() if share.is_whole else WholeDraws(share)


class WholeDraws(TorchFunctionMode):
    """Lets ``torch.rand`` and ``torch.randn`` draw for a whole batch and keep a worker's rows.

    It acts on draws with one row per image of the worker. Others are left alone: an attack that
    drops finished images draws for those that are left as it would anywhere.

    Attributes:
        share: The batch and the worker's part in it; may be changed between batches.
    """

    def __init__(self, share: Share) -> None:
        super().__init__()
        self.share = share

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call ``func``, for the whole batch where it draws."""
        kwargs = kwargs or {}
        if func is torch.rand or func is torch.randn:
            sizes = tuple(args[0]) if args and not isinstance(args[0], int) else args
            if sizes and sizes[0] == len(self.share) > 0:
                drawn = func(self.share.whole, *sizes[1:], **kwargs)
                return drawn[self.share.rows.start :: self.share.rows.step]
        return func(*args, **kwargs)
