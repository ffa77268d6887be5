"""torchvision's ResNets with a choice of stem and output stride.

Parameters keep torchvision's names (below ``body.``), so that published weights fit.
"""

from typing import Any, ClassVar

from torch import Tensor, nn

from taskgroup.errors import ConfigError, ResourceError
from taskgroup.models.base import BACKBONES, Backbone, ModelConfig, Triple

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
OWN_STRIDE = {"imagenet": 32, "cifar": 8}


class TorchvisionResNet(Backbone):
    """The four stages of a torchvision ResNet.

    The ``imagenet`` stem (7x7 and max-pooling) gives strides 4 to 32, the ``cifar`` stem (3x3)
    strides 1 to 8. A smaller ``output_stride`` replaces the last stages' strides by dilation.

    Attributes:
        network: torchvision's name of the network.
    """

    options: ClassVar[tuple[str, ...]] = ("stem", "output_stride", "pretrained")
    network: ClassVar[str]

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        stem = config.stem or "imagenet"
        self.body = _torchvision_resnet(self.network, pretrained=config.pretrained)
        if config.pretrained:
            self.mean, self.std = IMAGENET_MEAN, IMAGENET_STD
        if stem == "cifar":
            _replace_stem(self.body)
        stages = [self.body.layer1, self.body.layer2, self.body.layer3, self.body.layer4]
        self.channels = tuple(_out_channels(stage) for stage in stages)
        finest = OWN_STRIDE[stem] // 8
        largest = config.output_stride or OWN_STRIDE[stem]
        self.strides = tuple(min(finest * 2**index, largest) for index in range(4))
        for index in range(1, 4):
            dilation = finest * 2**index // self.strides[index]
            if dilation > 1:
                dilate(stages[index], dilation)

    @classmethod
    def check(cls, config: ModelConfig) -> None:
        """Also raise ConfigError for an output stride or weights that do not go with the stem."""
        super().check(config)
        if config.stem == "cifar" and config.output_stride not in (None, 8):
            raise ConfigError(
                f"model.output_stride must be 8 with stem cifar, got {config.output_stride}; "
                "remove it or take stem imagenet"
            )
        if config.stem == "cifar" and config.pretrained:
            raise ConfigError(
                "model.pretrained must be false with stem cifar, got true: published weights are "
                "for stem imagenet; change one of the two"
            )

    def forward(self, images: Tensor) -> list[Tensor]:
        """The outputs of the four stages for images ``(N, 3, H, W)``."""
        body = self.body
        x = body.maxpool(body.relu(body.bn1(body.conv1(images))))
        features = []
        for stage in (body.layer1, body.layer2, body.layer3, body.layer4):
            x = stage(x)
            features.append(x)
        return features


@BACKBONES.register("resnet18")
class ResNet18(TorchvisionResNet):
    """ResNet-18."""

    network: ClassVar[str] = "resnet18"


@BACKBONES.register("resnet34")
class ResNet34(TorchvisionResNet):
    """ResNet-34."""

    network: ClassVar[str] = "resnet34"


@BACKBONES.register("resnet50")
class ResNet50(TorchvisionResNet):
    """ResNet-50."""

    network: ClassVar[str] = "resnet50"


def dilate(stage: nn.Module, dilation: int) -> None:
    """Take the stride of 2 out of a stage, in place, and widen its 3x3 convolutions instead.

    At every second row and column the stage then computes what it did with its stride.
    torchvision does so for bottleneck blocks only; this covers basic blocks too.

    Args:
        stage: Residual blocks, the first of which has stride 2.
        dilation: Dilation behind the stride that was; the strided convolution itself sees finer
            features, and gets half of it.
    """
    current = dilation // 2
    for module in stage.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        strided = module.stride == (2, 2)
        module.stride = (1, 1)
        if module.kernel_size == (3, 3):
            module.dilation = module.padding = (current, current)
            current = dilation if strided else current


def _torchvision_resnet(name: str, *, pretrained: bool) -> Any:
    # Imported late: torchvision takes a second to import, and resnet_small does without it.
    import torchvision

    body = torchvision.models.get_model(name, weights=None)
    if pretrained:
        weights = torchvision.models.get_model_weights(name).DEFAULT
        try:
            state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except OSError as error:
            raise ResourceError(
                f"model.pretrained needs the published weights of {name}, which could not be "
                f"fetched ({error}); check the network, or set model.pretrained to false"
            ) from None
        body.load_state_dict(state)
    del body.fc
    return body


def _replace_stem(body: Any) -> None:
    """A 3x3 convolution of stride 1 and no pooling, for images of about 32 px."""
    body.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(body.conv1.weight, mode="fan_out", nonlinearity="relu")
    body.maxpool = nn.Identity()


def _out_channels(stage: nn.Module) -> int:
    """Channels after the last block: those of its last convolution."""
    return [m.out_channels for m in stage.modules() if isinstance(m, nn.Conv2d)][-1]
