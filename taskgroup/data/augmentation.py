"""Random changes of training images, made alike to the image and to every target.

Each image decides for itself; the decisions come from a stream of draws, so a seed fixes them.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from taskgroup.data.base import Batch
from taskgroup.draws import Draws
from taskgroup.errors import ConfigError
from taskgroup.tasks.base import Target

CROP_SHARE = 8
"""A crop shifts an image by at most a ``1 / CROP_SHARE`` of its sides: 4 pixels of 32."""
FLIP_SIGNS: Mapping[str, tuple[float, ...]] = {"normals": (-1.0, 1.0, 1.0)}
"""Sign of each channel in a mirror image, for tasks whose values are directions."""


def augment(
    batch: Batch, augmentation: str, *, draws: Draws, crop_size: int | None = None
) -> Batch:
    """Change a batch as the ``training.crop_size`` and ``training.augmentation`` keys say.

    Args:
        batch: Any batch, on any device.
        augmentation: ``none``, ``flip``, or ``crop_flip``.
        draws: A stream on the CPU; not used by ``none`` without a crop.
        crop_size: Side of the square that is cut from each image first, at most the image's own
            sides; None keeps whole images.

    Raises:
        ConfigError: Another name.
    """
    if augmentation not in AUGMENTATIONS:
        raise ConfigError(
            f"training.augmentation must be one of: {', '.join(AUGMENTATIONS)}; "
            f"got {augmentation!r}"
        )
    if crop_size is not None:
        batch = random_square(batch, crop_size, draws=draws)
    for change in AUGMENTATIONS[augmentation]:
        batch = change(batch, draws=draws)
    return batch


def random_flip(batch: Batch, *, draws: Draws) -> Batch:
    """Mirror each image left to right with probability one half."""
    return flip(batch, draws.image_rand(len(batch)) < 0.5)


def flip(batch: Batch, chosen: Tensor) -> Batch:
    """Mirror the ``chosen`` images, ``(N,)`` bool, and whatever of their targets is a map."""
    chosen = chosen.to(batch.images.device)
    targets = {
        name: _flip_target(name, target, chosen) if target.valid.ndim == 3 else target
        for name, target in batch.targets.items()
    }
    return Batch(_flip_rows(batch.images, chosen), targets, batch.index)


def random_square(batch: Batch, side: int, *, draws: Draws) -> Batch:
    """Cut a square of ``side`` pixels from each image, each place being equally likely."""
    room = torch.tensor(batch.images.shape[-2:]) - side
    drawn = draws.image_rand(len(batch), 2)
    return _window(batch, (drawn * (room + 1)).floor().long(), (side, side))


def random_crop(batch: Batch, *, draws: Draws) -> Batch:
    """Shift each image by up to an eighth of its sides, each shift being equally likely.

    This is the customary padding and cropping (He et al. 2016: 4 pixels of 32), with the border
    repeated instead of black; targets are invalid where the border was repeated.
    """
    reach = torch.tensor(batch.images.shape[-2:]) // CROP_SHARE
    drawn = draws.image_rand(len(batch), 2)
    return shift(batch, (drawn * (2 * reach + 1)).floor().long() - reach)


def shift(batch: Batch, offsets: Tensor) -> Batch:
    """Take each image from ``offsets``, ``(N, 2)`` int64 pixels down and to the right."""
    height, width = batch.images.shape[-2:]
    return _window(batch, offsets, (height, width))


def _window(batch: Batch, offsets: Tensor, size: tuple[int, int]) -> Batch:
    """Windows of ``size`` pixels whose upper left corners are ``offsets``, ``(N, 2)`` int64."""
    height, width = batch.images.shape[-2:]
    offsets = offsets.to(batch.images.device)
    rows = torch.arange(size[0], device=offsets.device) + offsets[:, :1]
    columns = torch.arange(size[1], device=offsets.device) + offsets[:, 1:]
    inside = (rows == rows.clamp(0, height - 1))[:, :, None]
    inside = inside & (columns == columns.clamp(0, width - 1))[:, None, :]
    rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)

    def cut(maps: Tensor) -> Tensor:
        return _gather(maps, rows, columns)

    targets = {
        name: _masked(target.map(cut), inside) if target.valid.ndim == 3 else target
        for name, target in batch.targets.items()
    }
    return Batch(cut(batch.images), targets, batch.index)


def _masked(target: Target, inside: Tensor) -> Target:
    """The target, invalid outside of ``inside`` ``(N, H, W)``."""
    return target._replace(valid=target.valid & inside)


def _flip_target(name: str, target: Target, chosen: Tensor) -> Target:
    flipped = target.map(lambda maps: _flip_rows(maps, chosen))
    if name not in FLIP_SIGNS:
        return flipped
    signs = torch.tensor(FLIP_SIGNS[name], device=chosen.device)[:, None, None]
    values = torch.where(chosen[:, None, None, None], flipped.values * signs, flipped.values)
    return flipped._replace(values=values)


def _flip_rows(maps: Tensor, chosen: Tensor) -> Tensor:
    """Mirror the chosen ones of ``(N, ..., H, W)``."""
    return torch.where(chosen.view(-1, *[1] * (maps.ndim - 1)), maps.flip(-1), maps)


def _gather(maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Pixels ``rows x columns``, both ``(N, ·)``, of maps ``(N, ..., H, W)``."""
    extra = [1] * (maps.ndim - 3)
    by_row = rows.view(len(rows), *extra, -1, 1).expand(*maps.shape[:-2], -1, maps.shape[-1])
    taken = maps.gather(-2, by_row)
    by_column = columns.view(len(columns), *extra, 1, -1).expand(*taken.shape[:-1], -1)
    return taken.gather(-1, by_column)


AUGMENTATIONS: Mapping[str, tuple[Callable[..., Batch], ...]] = {
    "none": (),
    "flip": (random_flip,),
    "crop_flip": (random_crop, random_flip),
}
"""The changes behind each value of ``training.augmentation``, in order."""
