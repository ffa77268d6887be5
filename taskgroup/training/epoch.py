"""One epoch of training: steps that never wait for the device, then one check of the losses."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from taskgroup.data.augmentation import augment
from taskgroup.data.base import Batch, VisionDataset
from taskgroup.draws import Draws, Share, derive_seed
from taskgroup.errors import DivergedError
from taskgroup.training.optimizers import set_learning_rate
from taskgroup.training.parallel.group import ALONE, WorkerGroup
from taskgroup.training.schedules import Schedule
from taskgroup.training.seeding import seeded_global_state
from taskgroup.training.state import TrialState


@dataclass(frozen=True)
class Trainer:
    """What every training step of a trial uses.

    Attributes:
        state: Network, weighting, optimiser and step; steps update them.
        schedule: Learning rate by step.
        dataset: The training split.
        device: Where the network is.
        group: The workers that share every batch.
    """

    state: TrialState
    schedule: Schedule
    dataset: VisionDataset
    device: torch.device
    group: WorkerGroup = ALONE

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """Update the network over one pass of the training split.

        Args:
            epoch: Number of epochs finished before, from 0.

        Returns:
            ``<task>/train/loss`` of every task and the last ``learning_rate``.

        Raises:
            DivergedError: A loss or a parameter is no longer finite.
        """
        seed = self.state.config.seed
        draws = Draws.seeded(seed, "attack", epoch, device=self.device)
        first = epoch * self.schedule.steps_per_epoch
        # What layers draw (dropout) differs by worker: else the first halves of two shares would
        # drop the same units.
        units = ("layers", epoch, self.group.rank) if self.group.rank else ("layers", epoch)
        self.state.train()
        sums = []
        with seeded_global_state(derive_seed(seed, *units), self.device):
            for number, (batch, share) in enumerate(self._batches(epoch), first):
                set_learning_rate(self.state.optimizer, self.schedule.learning_rate(number))
                sums.append(self.state.step(batch, draws.of(share)).sums)
        rate = self.schedule.learning_rate(first + len(sums) - 1)
        return {**self._losses(torch.stack(sums).cpu(), epoch + 1), "learning_rate": rate}

    def _batches(self, epoch: int) -> Iterator[tuple[Batch, Share]]:
        """This worker's part of every batch, augmented, on the device."""
        config = self.state.config
        change = Draws.seeded(config.seed, "augmentation", epoch)
        size = config.training.batch_size
        indices = Draws.seeded(config.seed, "order", epoch).randperm(len(self.dataset))
        for start, share in self.group.deal(num_images(len(indices), size), size):
            batch = self._batch(indices[start : start + share.whole], share)
            changed = augment(
                batch,
                config.training.augmentation,
                draws=change.of(share),
                crop_size=config.training.crop_size,
            )
            there = changed.to(self.device)
            images = there.images.contiguous(memory_format=torch.channels_last)
            yield replace(there, images=images), share

    def _batch(self, indices: Tensor, share: Share) -> Batch:
        """This worker's images of the batch ``indices``, or what stands for none."""
        if len(share) == 0:
            return placeholder(self.dataset.batch(indices[:1].tolist()), self.device)
        return self.dataset.batch(indices[share.rows.start :: share.rows.step].tolist())

    def _losses(self, sums: Tensor, epoch: int) -> dict[str, float]:
        """Loss of each task over an epoch, from its steps' sums ``(steps, T, 2)``."""
        names = [task.name for task in self.state.tasks]
        check_finite(sums[:, :, 0], names, epoch=epoch)
        _check_parameters(self.state, epoch=epoch)
        totals = sums.double().sum(0)
        losses = totals[:, 0] / totals[:, 1].clamp(min=1)
        return {f"{name}/train/loss": float(loss) for name, loss in zip(names, losses, strict=True)}


def placeholder(batch: Batch, device: torch.device) -> Batch:
    """What a worker without images in a last batch takes part in the step with.

    Args:
        batch: One image.
        device: Where the network lies.

    Returns:
        On CUDA no image at all, which ``SyncBatchNorm`` counts as nothing; elsewhere the image
        without any label, which counts nowhere.
    """
    if device.type == "cuda":
        return batch.select(torch.arange(0))
    return replace(batch, targets={name: t.invalid() for name, t in batch.targets.items()})


def num_images(length: int, batch_size: int) -> int:
    """Images of an epoch: all, but for one that would be alone in the last batch.

    Batch norm cannot normalise a single value, which is what a small image is in the last stage.
    The order is random, so another image sits out each time.
    """
    return length - 1 if length % batch_size == 1 and 1 < batch_size < length else length


def check_finite(loss_sums: Tensor, names: Sequence[str], *, epoch: int) -> None:
    """Check the losses of an epoch.

    Args:
        loss_sums: ``(steps, T)``.
        names: Names of the tasks.
        epoch: Number of the epoch, from 1, for the message.

    Raises:
        DivergedError: Names the tasks whose losses were the first to be NaN or infinite.
    """
    broken = ~loss_sums.isfinite()
    if not broken.any():
        return
    step = int(broken.any(1).nonzero()[0])
    first = ", ".join(name for name, bad in zip(names, broken[step], strict=True) if bad)
    raise DivergedError(
        f"training losses must stay finite, but {first} became NaN or infinite at step {step + 1} "
        f"of epoch {epoch}; lower training.learning_rate or set training.clip_norm"
    )


def _check_parameters(state: TrialState, *, epoch: int) -> None:
    """The last step's update has no loss after it: look at the parameters themselves."""
    finite = torch.stack([parameter.isfinite().all() for parameter in state.parameters()])
    if not finite.all():
        main_task = state.config.main_task
        raise DivergedError(
            f"the network's parameters must stay finite, but some became NaN or infinite at the "
            f"end of epoch {epoch} (main task {main_task}); lower training.learning_rate or set "
            "training.clip_norm"
        )
