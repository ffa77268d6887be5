"""The small residual network."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from taskgroup.models.backbones.resnet_small import ResidualBlock


@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
def test_shortcut_is_a_strided_convolution(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    block = ResidualBlock(4, 6, stride=2).eval()
    images = torch.randn(2, 4, *size)
    assert isinstance(block.shortcut, nn.Sequential)
    weight = block.shortcut[0].weight
    straight = block.second(block.first(images))
    expected = F.relu(straight + block.shortcut[1](F.conv2d(images, weight, stride=2)))
    torch.testing.assert_close(block(images), expected)


def test_no_pointwise_convolution_has_a_stride() -> None:
    """Their weight gradients can damage the heap, which no assertion could notice in time."""
    block = ResidualBlock(8, 16, stride=2)
    pointwise = [
        layer
        for layer in block.modules()
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)
    ]
    assert [layer.stride for layer in pointwise] == [(1, 1)]
