import pytest
import torch

from taskgroup.data.augmentation import (
    AUGMENTATIONS,
    augment,
    flip,
    random_crop,
    random_square,
    shift,
)
from taskgroup.data.base import Batch
from taskgroup.draws import Draws
from taskgroup.errors import ConfigError
from taskgroup.tasks.base import Target


@pytest.fixture
def batch(generator: torch.Generator) -> Batch:
    """Six images whose targets are functions of the picture, so that a common move shows."""
    images = torch.rand(6, 3, 16, 24, generator=generator)
    valid = images[:, 0] > 0.2
    targets = {
        "segmentation": Target((images[:, 0] * 9).long(), valid),
        "depth": Target(images[:, :1] + 1, valid),
        "normals": Target(images * 2 - 1, valid),
        "classification": Target(torch.arange(6), torch.ones(6, dtype=torch.bool)),
    }
    return Batch(images, targets, torch.arange(6))


def equal(first: Batch, second: Batch) -> bool:
    return torch.equal(first.images, second.images) and all(
        torch.equal(a, b)
        for name in first.targets
        for a, b in zip(first.targets[name], second.targets[name], strict=True)
    )


def test_a_flip_moves_every_map_and_turns_normals(batch: Batch) -> None:
    chosen = torch.tensor([True, False, True, False, False, True])
    flipped = flip(batch, chosen)
    assert torch.equal(flipped.images[0], batch.images[0].flip(-1))
    assert torch.equal(flipped.images[1], batch.images[1])
    for name in ("segmentation", "depth"):
        assert torch.equal(flipped.targets[name].values[0], batch.targets[name].values[0].flip(-1))
        assert torch.equal(flipped.targets[name].valid[0], batch.targets[name].valid[0].flip(-1))
    mirrored = batch.targets["normals"].values[2].flip(-1)
    assert torch.equal(flipped.targets["normals"].values[2, 0], -mirrored[0])
    assert torch.equal(flipped.targets["normals"].values[2, 1:], mirrored[1:])
    assert torch.equal(flipped.targets["normals"].values[3], batch.targets["normals"].values[3])
    assert equal(flip(flipped, chosen), batch)


def test_a_shift_agrees_with_a_loop(batch: Batch) -> None:
    offsets = torch.tensor([[0, 0], [2, -3], [-2, 1], [1, 3], [0, -1], [-1, 0]])
    shifted = shift(batch, offsets)
    for image, (down, right) in enumerate(offsets.tolist()):
        for row in range(16):
            for column in range(24):
                source = (row + down, column + right)
                inside = 0 <= source[0] < 16 and 0 <= source[1] < 24
                clamped = (min(max(source[0], 0), 15), min(max(source[1], 0), 23))
                for name in ("segmentation", "depth", "normals"):
                    new, old = shifted.targets[name], batch.targets[name]
                    assert bool(new.valid[image, row, column]) == (
                        inside and bool(old.valid[(image, *clamped)])
                    )
                assert torch.equal(
                    shifted.images[image, :, row, column],
                    batch.images[image, :, clamped[0], clamped[1]],
                )


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_targets_move_with_the_picture(batch: Batch, augmentation: str) -> None:
    for seed in range(5):
        changed = augment(batch, augmentation, draws=Draws(torch.Generator().manual_seed(seed)))
        classes, valid = changed.targets["segmentation"]
        assert torch.equal(classes[valid], (changed.images[:, 0] * 9).long()[valid])
        assert torch.equal(
            changed.targets["depth"].values[:, 0][valid], changed.images[:, 0][valid] + 1
        )
        assert torch.equal(
            changed.targets["normals"].values[:, 1:], (changed.images * 2 - 1)[:, 1:]
        )
        assert torch.equal(changed.targets["classification"].values, torch.arange(6))
        assert torch.equal(changed.index, batch.index)
        assert classes.dtype == torch.int64
        assert changed.images.dtype == torch.float32


def test_a_seed_fixes_the_change_and_images_decide_for_themselves(batch: Batch) -> None:
    def draw(seed: int) -> Batch:
        return augment(batch, "crop_flip", draws=Draws(torch.Generator().manual_seed(seed)))

    assert equal(draw(3), draw(3))
    assert not equal(draw(3), draw(4))
    repeated = batch.select(torch.zeros(64, dtype=torch.int64))
    changed = augment(repeated, "flip", draws=Draws(torch.Generator().manual_seed(0))).images
    as_before = (changed == repeated.images).flatten(1).all(1)
    assert 16 < int(as_before.sum()) < 48


def test_every_shift_of_an_eighth_is_drawn(generator: torch.Generator) -> None:
    images = torch.arange(16).view(1, 1, 16, 1).expand(600, 3, 16, 16).float()
    cropped = random_crop(Batch(images, {}, torch.arange(600)), draws=Draws(generator))
    offsets = cropped.images[:, 0, 8, 0] - 8
    assert sorted(set(offsets.tolist())) == [-2, -1, 0, 1, 2]


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_targets_are_cut_with_the_picture(batch: Batch, augmentation: str) -> None:
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        cut = augment(batch, augmentation, draws=Draws(generator), crop_size=10)
        classes, valid = cut.targets["segmentation"]
        assert cut.images.shape[-2:] == classes.shape[-2:] == valid.shape[-2:] == (10, 10)
        assert valid.any()
        assert torch.equal(classes[valid], (cut.images[:, 0] * 9).long()[valid])
        assert torch.equal(cut.targets["depth"].values[:, 0][valid], cut.images[:, 0][valid] + 1)
        assert torch.equal(cut.targets["classification"].values, torch.arange(6))


def test_every_place_of_a_square_is_drawn(generator: torch.Generator) -> None:
    images = torch.arange(8.0).view(1, 1, 1, 8).expand(300, 3, 6, 8)
    cut = random_square(Batch(images, {}, torch.arange(300)), 5, draws=Draws(generator))
    assert sorted(set(cut.images[:, 0, 0, 0].tolist())) == [0, 1, 2, 3]
    assert cut.images.shape == (300, 3, 5, 5)


def test_a_square_of_the_image_s_size_is_the_image(
    batch: Batch, generator: torch.Generator
) -> None:
    square = batch.select(torch.arange(6))
    square = Batch(square.images[..., :16], {}, square.index)
    assert torch.equal(random_square(square, 16, draws=Draws(generator)).images, square.images)


def test_arguments_are_left_as_they_were(batch: Batch, generator: torch.Generator) -> None:
    before = batch.select(torch.arange(6))
    augment(batch, "crop_flip", draws=Draws(generator))
    assert equal(batch, before)


def test_an_unknown_augmentation_is_refused(batch: Batch, generator: torch.Generator) -> None:
    with pytest.raises(ConfigError, match="augmentation must be one of: none, flip, crop_flip"):
        augment(batch, "rotate", draws=Draws(generator))
