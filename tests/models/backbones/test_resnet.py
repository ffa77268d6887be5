"""ResNets: stems, output strides, published names."""

import pytest
import torch
from torchvision.models import get_model

from taskgroup.errors import ConfigError
from taskgroup.models.base import BACKBONES, ModelConfig
from taskgroup.models.build import check_model

NAMES = ["resnet18", "resnet34", "resnet50"]


def build(**options: object) -> torch.nn.Module:
    config = ModelConfig.model_validate({"backbone": "resnet18"} | options)
    return BACKBONES[config.backbone](config).eval()


@pytest.mark.parametrize(
    ("stem", "output_stride", "strides"),
    [
        (None, None, (4, 8, 16, 32)),
        ("imagenet", 32, (4, 8, 16, 32)),
        ("imagenet", 16, (4, 8, 16, 16)),
        ("imagenet", 8, (4, 8, 8, 8)),
        ("cifar", None, (1, 2, 4, 8)),
        ("cifar", 8, (1, 2, 4, 8)),
    ],
)
def test_strides_by_stem_and_output_stride(
    stem: str | None, output_stride: int | None, strides: tuple[int, ...]
) -> None:
    backbone = build(stem=stem, output_stride=output_stride)
    assert backbone.strides == strides
    sizes = [feature.shape[-1] for feature in backbone(torch.rand(1, 3, 64, 64))]
    assert sizes == [64 // stride for stride in strides]


@pytest.mark.parametrize(
    ("name", "output_stride"), [("resnet18", 8), ("resnet18", 16), ("resnet34", 8), ("resnet50", 8)]
)
def test_dilation_computes_the_strided_network_on_a_finer_grid(
    name: str, output_stride: int, generator: torch.Generator
) -> None:
    strided = build(backbone=name)
    dilated = build(backbone=name, output_stride=output_stride)
    dilated.load_state_dict(strided.state_dict())
    images = torch.rand(1, 3, 49, 40, generator=generator)
    with torch.no_grad():
        pairs = list(zip(strided(images), dilated(images), strict=True))
    for index, (coarse, fine) in enumerate(pairs):
        step = strided.strides[index] // dilated.strides[index]
        scale = float(coarse.abs().max())
        torch.testing.assert_close(fine[..., ::step, ::step] / scale, coarse / scale)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_keep_torchvisions_names(name: str) -> None:
    published = {key for key in get_model(name).state_dict() if not key.startswith("fc.")}
    assert {key.removeprefix("body.") for key in build(backbone=name).state_dict()} == published


def test_features_are_those_of_torchvision(generator: torch.Generator) -> None:
    reference = get_model("resnet18").eval()
    backbone = build()
    backbone.body.load_state_dict(reference.state_dict(), strict=False)
    images = torch.rand(2, 3, 64, 64, generator=generator)
    pooled = backbone(images)[-1].mean(dim=(-2, -1))
    torch.testing.assert_close(reference.fc(pooled), reference(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 16}, r"model\.width must not be set for backbone 'resnet18', got 16; remove"),
        ({"stem": "cifar", "output_stride": 16}, r"output_stride must be 8 with stem cifar"),
        ({"stem": "cifar", "pretrained": True}, r"model\.pretrained must be false with stem"),
        ({"backbone": "resnet_small", "stem": "cifar"}, r"model\.stem must not .*model\.width"),
        ({"backbone": "resnet_small", "pretrained": True}, r"model\.pretrained must not"),
        ({"backbone": "timm/test_vit", "output_stride": 8}, r"model\.output_stride must not"),
        ({"backbone": "resnet19"}, r"unknown backbone 'resnet19'; did you mean 'resnet18'"),
        ({"decoder": "pyramids"}, r"unknown decoder 'pyramids'; did you mean 'pyramid'"),
    ],
)
def test_options_that_do_not_apply_are_refused(options: dict[str, object], message: str) -> None:
    config = ModelConfig.model_validate({"backbone": "resnet18"} | options)
    with pytest.raises(ConfigError, match=message) as caught:
        check_model(config)
    assert "\n" not in str(caught.value)
