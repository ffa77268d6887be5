"""The few layers that our own networks are made of.

Normalisation is BatchNorm, as in the field's adversarially trained networks: its stored statistics
make an image's prediction independent of the rest of the batch in eval mode, where attacks run.
"""

import torch.nn.functional as F
from torch import Tensor, nn


def conv_norm(
    in_channels: int, out_channels: int, *, kernel: int = 3, stride: int = 1
) -> nn.Sequential:
    """Convolution without bias, then BatchNorm; the size becomes ``ceil(H / stride)``."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels))


def conv_norm_relu(
    in_channels: int, out_channels: int, *, kernel: int = 3, stride: int = 1
) -> nn.Sequential:
    """Convolution without bias, BatchNorm, ReLU; the size becomes ``ceil(H / stride)``."""
    layers = conv_norm(in_channels, out_channels, kernel=kernel, stride=stride)
    return layers.append(nn.ReLU(inplace=True))


def he_initialise(module: nn.Module) -> None:
    """Draw every convolution's weights from He's normal distribution (fan out), in place.

    Source: He et al., Delving Deep into Rectifiers (2015), as torchvision's ResNets do it.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def size_of(maps: Tensor) -> tuple[int, int]:
    """Height and width of maps ``(..., h, w)``."""
    return maps.shape[-2], maps.shape[-1]


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps ``(N, C, h, w)`` brought to ``size`` bilinearly (pixel corners not aligned)."""
    if size_of(maps) == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def fit(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut rows and columns beyond ``size``; resize where strides do not divide each other."""
    height, width = size
    if maps.shape[-2] < height or maps.shape[-1] < width:
        return resize(maps, size)
    return maps[..., :height, :width]
