import pytest
import torch
from torch import Tensor

from taskgroup.data.label_free import (
    COMPUTE,
    EDGE_SCALE,
    KEYPOINT_SCALE,
    LABEL_FREE,
    edges,
    keypoints2d,
    label_free_infos,
    label_free_targets,
)

CHANNELS = {"autoencoding": 3, "edges": 1, "keypoints2d": 1}


@pytest.fixture
def images(generator: torch.Generator) -> Tensor:
    return torch.rand(5, 3, 19, 23, generator=generator)


def ramp(step: float, size: int = 16) -> Tensor:
    """A picture whose grey value rises by ``step`` per pixel to the right."""
    return (torch.arange(size) * step).expand(1, 3, size, size)


def test_every_task_is_described() -> None:
    assert set(label_free_infos()) == set(LABEL_FREE) == set(CHANNELS)
    assert all(info.num_classes is None for info in label_free_infos().values())


@pytest.mark.parametrize("task", LABEL_FREE)
def test_shapes_types_and_masks(task: str, images: Tensor) -> None:
    target = label_free_targets(images, [task])[task]
    assert target.values.shape == (5, CHANNELS[task], 19, 23)
    assert target.values.dtype == torch.float32
    assert target.valid.shape == (5, 19, 23)
    assert target.valid.dtype == torch.bool
    assert target.valid.all()
    assert target.values.isfinite().all()


def test_other_tasks_are_left_out(images: Tensor) -> None:
    assert list(label_free_targets(images, ["depth", "edges"])) == ["edges"]


@pytest.mark.parametrize("task", LABEL_FREE)
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (32, 32), (33, 47)])
def test_an_image_has_the_same_target_in_any_batch(
    task: str, size: tuple[int, int], generator: torch.Generator
) -> None:
    images = torch.rand(7, 3, *size, generator=generator)
    together = COMPUTE[task](images)
    for index in range(7):
        assert torch.equal(COMPUTE[task](images[index : index + 1])[0], together[index])
    assert torch.equal(COMPUTE[task](images[[4, 1, 6]]), together[[4, 1, 6]])
    assert torch.equal(
        COMPUTE[task](images.contiguous(memory_format=torch.channels_last)), together
    )


@pytest.mark.parametrize("task", LABEL_FREE)
@pytest.mark.parametrize("axis", [2, 3])
def test_flips_commute(task: str, axis: int, images: Tensor) -> None:
    flipped = COMPUTE[task](images.flip(axis))
    torch.testing.assert_close(flipped, COMPUTE[task](images).flip(axis), rtol=0, atol=1e-5)


@pytest.mark.parametrize("task", ["edges", "keypoints2d"])
def test_nothing_in_a_constant_picture(task: str) -> None:
    assert torch.equal(COMPUTE[task](torch.full((1, 3, 8, 8), 0.3)), torch.zeros(1, 1, 8, 8))


def test_a_ramp_has_an_edge_of_its_slope_and_no_keypoint() -> None:
    inside = slice(5, 11)
    strength = edges(ramp(0.03))[0, 0, inside, inside]
    torch.testing.assert_close(strength, torch.full((6, 6), 0.03 * EDGE_SCALE))
    assert keypoints2d(ramp(0.03))[0, 0, inside, inside].abs().max() < 0.02 * KEYPOINT_SCALE * 0.03


def test_a_corner_is_a_keypoint_and_a_straight_edge_is_none() -> None:
    picture = torch.zeros(1, 3, 32, 32)
    picture[..., 16:, 16:] = 1
    response = keypoints2d(picture)[0, 0]
    row, column = divmod(int(response.argmax()), 32)
    assert abs(row - 16) <= 2
    assert abs(column - 16) <= 2
    assert response[28, 16] < 0.05 * response.max()


def test_keypoints_agree_with_the_eigenvalues_of_a_naive_structure_tensor(images: Tensor) -> None:
    smooth = torch.tensor([1.0, 4, 6, 4, 1]) / 16
    window = torch.outer(smooth, smooth)[None, None]
    sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])[None, None] / 8

    def convolve(maps: Tensor, kernel: Tensor) -> Tensor:
        reach = kernel.shape[-1] // 2
        padded = torch.nn.functional.pad(maps, (reach,) * 4, mode="replicate")
        return torch.nn.functional.conv2d(padded, kernel)

    grey = (images * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    across, down = (convolve(convolve(grey, window), k) for k in (sobel, sobel.mT))
    products = torch.cat([across * across, across * down, across * down, down * down], 1)
    averaged = convolve(convolve(products.reshape(-1, 1, 19, 23), window), window)
    tensors = averaged.reshape(5, 2, 2, 19, 23).permute(0, 3, 4, 1, 2)
    smaller = torch.linalg.eigvalsh(tensors)[..., 0].clamp(min=0)
    torch.testing.assert_close(
        keypoints2d(images)[:, 0], KEYPOINT_SCALE * smaller.sqrt(), rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(
        edges(images), EDGE_SCALE * (across**2 + down**2).sqrt(), rtol=1e-4, atol=1e-5
    )


def test_golden_values_of_a_step() -> None:
    picture = torch.zeros(1, 3, 12, 12)
    picture[..., 6:] = 1
    sixteenths = torch.tensor([0.0, 0, 0, 0.5, 2.5, 5, 5, 2.5, 0.5, 0, 0, 0])
    torch.testing.assert_close(edges(picture)[0, 0, 6], EDGE_SCALE * sixteenths / 16)
