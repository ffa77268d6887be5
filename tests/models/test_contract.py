"""What every registered backbone and decoder promises."""

from collections.abc import Callable

import pytest
import torch

from taskgroup.models.backbones.timm_backbone import TIMM
from taskgroup.models.base import BACKBONES, DECODERS, ModelConfig
from taskgroup.models.build import build_model, check_model
from taskgroup.tasks.base import Task

SIZE = (45, 38)
TIMM_EXAMPLES = ["timm/test_resnet", "timm/test_vit", "timm/test_mambaout", "timm/pit_ti_224"]
NAMES = [name for name in BACKBONES if name != TIMM] + TIMM_EXAMPLES
"""timm's stand for a pyramid, a plain transformer, channels-last features, one fixed size."""
COARSEST_ONLY = ("bilinear", "taskonomy")


@pytest.fixture
def images(generator: torch.Generator) -> torch.Tensor:
    return torch.rand(2, 3, *SIZE, generator=generator)


def expected_shape(channels: int, stride: int) -> tuple[int, ...]:
    return (channels, -(-SIZE[0] // stride), -(-SIZE[1] // stride))


@pytest.mark.parametrize("name", NAMES)
def test_features_have_the_declared_channels_and_strides(
    name: str, make_tasks: Callable[..., list[Task]], images: torch.Tensor
) -> None:
    backbone = build_model(ModelConfig(backbone=name), make_tasks("depth"), seed=0).backbone.eval()
    features = backbone(images)
    assert list(backbone.strides) == sorted(backbone.strides)
    assert len(features) == len(backbone.channels) == len(backbone.strides)
    for feature, channels, stride in zip(
        features, backbone.channels, backbone.strides, strict=True
    ):
        assert tuple(feature.shape[1:]) == expected_shape(channels, stride)


@pytest.mark.parametrize("name", NAMES)
def test_every_prediction_sends_a_gradient_to_the_images(
    name: str, make_tasks: Callable[..., list[Task]], images: torch.Tensor
) -> None:
    tasks = make_tasks("segmentation", "classification")
    model = build_model(ModelConfig(backbone=name), tasks, seed=0)
    images.requires_grad_()
    for prediction in model(images).values():
        (gradient,) = torch.autograd.grad(prediction.square().sum(), images, retain_graph=True)
        assert torch.isfinite(gradient).all()
        assert gradient.flatten(1).abs().sum(1).min() > 0


@pytest.mark.parametrize("name", NAMES)
def test_in_eval_mode_an_image_is_predicted_alone(
    name: str, make_tasks: Callable[..., list[Task]], images: torch.Tensor
) -> None:
    tasks = make_tasks("depth", "classification")
    model = build_model(ModelConfig(backbone=name), tasks, seed=0).eval()
    with torch.no_grad():
        alone = model(images[:1])
        together = model(torch.cat([images[:1], 1 - images[1:]]))
    for task, prediction in alone.items():
        torch.testing.assert_close(prediction, together[task][:1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [(64, 64), (33, 47), (17, 16)])
@pytest.mark.parametrize("backbone", ["resnet_small", "timm/test_vit"])
@pytest.mark.parametrize("decoder", DECODERS.names())
def test_maps_have_the_size_of_the_images(
    decoder: str, backbone: str, size: tuple[int, int], make_tasks: Callable[..., list[Task]]
) -> None:
    width = {"decoder_width": 8} if DECODERS[decoder].has_width else {}
    config = ModelConfig(backbone=backbone, decoder=decoder, **width)
    model = build_model(config, make_tasks("segmentation", "normals", "superclass"), seed=0)
    shapes = {name: tuple(p.shape) for name, p in model(torch.rand(2, 3, *size)).items()}
    assert shapes == {"segmentation": (2, 5, *size), "normals": (2, 3, *size), "superclass": (2, 5)}


@pytest.mark.parametrize(
    ("channels", "strides"),
    [((4, 8, 16), (2, 4, 8)), ((6, 6, 6), (16, 16, 16)), ((5, 7), (1, 8)), ((3,), (14,))],
)
@pytest.mark.parametrize("decoder", DECODERS.names())
def test_decoders_take_any_strides(
    decoder: str, channels: tuple[int, ...], strides: tuple[int, ...], generator: torch.Generator
) -> None:
    features = [
        torch.randn(2, *expected_shape(count, stride), generator=generator)
        for count, stride in zip(channels, strides, strict=True)
    ]
    module = DECODERS[decoder](channels, strides, 8)
    result = module(features, SIZE)
    assert result.shape[:2] == (2, module.channels)
    assert result.shape[2] <= SIZE[0]
    assert result.shape[3] <= SIZE[1]


@pytest.mark.parametrize("decoder", DECODERS.names())
def test_decoders_use_every_feature_map_or_the_coarsest(
    decoder: str, generator: torch.Generator
) -> None:
    features = [
        torch.randn(2, 4, 16 // stride, 16 // stride, generator=generator).requires_grad_()
        for stride in (1, 2, 4)
    ]
    DECODERS[decoder]((4, 4, 4), (1, 2, 4), 8)(features, (16, 16)).square().sum().backward()
    used = [feature.grad is not None and bool(feature.grad.any()) for feature in features]
    assert used == ([False, False, True] if decoder in COARSEST_ONLY else [True] * 3)


@pytest.mark.parametrize("name", NAMES)
def test_every_backbone_can_be_checked_without_being_built(name: str) -> None:
    check_model(ModelConfig(backbone=name))
