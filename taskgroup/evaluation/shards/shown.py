"""The few images of an evaluation that a reader gets to see."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from taskgroup.data.base import Batch
from taskgroup.tasks.base import Target

NUM_SHOWN = 4


@dataclass(frozen=True)
class Shown:
    """The first few images of the test split as the network saw them; all on the CPU.

    Attributes:
        index: Position of each image in its split, ``(M,)``.
        images: ``(M, 3, H, W)`` in [0, 1].
        prediction: The main task's prediction, ``(M, C, H, W)`` or ``(M, C)``.
        target: What it should be.
    """

    index: Tensor
    images: Tensor
    prediction: Tensor
    target: Target


def show(batch: Batch, images: Tensor, predictions: Mapping[str, Tensor], *, task: str) -> Shown:
    """The first images of the split in a batch, with what was predicted for one task."""
    target = batch.targets[task]
    first = batch.index < NUM_SHOWN
    return Shown(
        batch.index[first].cpu(),
        images[first].cpu(),
        predictions[task][first].cpu(),
        Target(target.values[first].cpu(), target.valid[first].cpu()),
    )
