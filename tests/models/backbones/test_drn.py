"""Dilated residual networks: levels, sharing, and the decoders of MTRobust."""

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import interpolate, pad

from taskgroup.errors import ConfigError
from taskgroup.models.base import BACKBONES, DECODERS, ModelConfig
from taskgroup.models.build import build_model, check_model
from taskgroup.models.decoders.bilinear import BilinearUpsampling
from taskgroup.models.multitask import MultitaskModel
from taskgroup.tasks.base import Task, TaskInfo, build_task

Tasks = Callable[..., list[Task]]
DRN = ModelConfig(backbone="drn_d_22", decoder="bilinear")


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def segmentation(config: ModelConfig, *others: str) -> MultitaskModel:
    infos = [TaskInfo("segmentation", 19), *(TaskInfo(name) for name in others)]
    return build_model(config, [build_task(info) for info in infos], seed=0)


def test_the_segmentation_network_has_the_published_size() -> None:
    model = segmentation(DRN)
    assert count(model) == 15_890_499  # and 19 frozen kernels of 16 by 16 as buffers
    assert count(model) + 19 * 256 == 15_895_363


def test_shared_levels_add_nothing_but_the_last_layers() -> None:
    model = segmentation(DRN, "depth", "autoencoding")
    assert count(model) == 15_892_551


def test_untied_levels_are_there_once_per_task() -> None:
    tied = segmentation(DRN, "depth")
    untied = segmentation(DRN.model_copy(update={"untied": True}), "depth")
    levels = sum(count(tied.backbone.levels[number]) for number in (6, 7, 8))
    assert count(untied) == count(tied) + levels
    heads = untied.heads
    own = [set(heads[task].layers.parameters()) for task in ("segmentation", "depth")]
    assert own[0]
    assert own[0].isdisjoint(own[1])


def test_tied_and_untied_compute_the_same_from_the_same_weights(
    generator: torch.Generator,
) -> None:
    tied = segmentation(DRN, "depth").eval()
    untied = segmentation(DRN.model_copy(update={"untied": True}), "depth").eval()
    weights = {}
    for name, value in tied.state_dict().items():
        if name.startswith(("backbone.levels.6", "backbone.levels.7", "backbone.levels.8")):
            rest = name.removeprefix("backbone.levels.")
            own = f"{int(rest[0]) - 6}{rest[1:]}"
            weights |= {f"heads.{task}.layers.levels.{own}": value for task in tied.task_names}
        else:
            weights[name] = value
    untied.load_state_dict(weights)
    images = torch.rand(1, 3, 32, 40, generator=generator)
    with torch.no_grad():
        for task, prediction in tied(images).items():
            torch.testing.assert_close(untied(images)[task], prediction)


@pytest.mark.parametrize(
    ("name", "blocks", "channels"),
    [
        ("drn_d_22", (2, 2, 2, 2), (32, 64, 128, 512)),
        ("drn_d_38", (3, 4, 6, 3), (32, 64, 128, 512)),
        ("drn_d_54", (3, 4, 6, 3), (32, 256, 512, 512)),
        ("drn_d_105", (3, 4, 23, 3), (32, 256, 512, 512)),
    ],
)
def test_depth_and_width_of_every_network(
    name: str, blocks: tuple[int, ...], channels: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        backbone = BACKBONES[name](ModelConfig(backbone=name))
    assert tuple(len(level) for level in backbone.levels[3:7]) == blocks
    assert backbone.channels == channels
    weighted = [
        place
        for place, module in backbone.named_modules()
        if isinstance(module, torch.nn.Conv2d) and "downsample" not in place
    ]
    assert len(weighted) == int(name.split("_")[-1]) - 1  # the name counts the classifier too


@pytest.mark.parametrize("number", [5, 6, 7, 8])
def test_later_levels_keep_the_size_by_dilation(number: int) -> None:
    level = BACKBONES["drn_d_22"](DRN).levels[number]
    dilations = {m.dilation[0] for m in level.modules() if isinstance(m, torch.nn.Conv2d)} - {1}
    assert dilations == {5: {2}, 6: {4}, 7: {2}, 8: set()}[number]
    assert all(m.stride == (1, 1) for m in level.modules() if isinstance(m, torch.nn.Conv2d))


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_upsampling_is_bilinear_and_sees_zeros_outside(
    factor: int, generator: torch.Generator
) -> None:
    maps = torch.randn(2, 3, 5, 6, generator=generator)
    enlarged = BilinearUpsampling(3, factor)(maps)
    around = interpolate(
        pad(maps, (1, 1, 1, 1)), scale_factor=factor, mode="bilinear", align_corners=False
    )
    torch.testing.assert_close(enlarged, around[..., factor:-factor, factor:-factor])


def test_the_kernel_stays(train_steps, make_tasks: Tasks) -> None:
    config = ModelConfig(width=4, decoder="bilinear")
    model = build_model(config, make_tasks("segmentation"), seed=0)
    upsampling = model.heads["segmentation"].predict[1]
    before = upsampling.kernel.clone()
    train_steps(model)
    assert torch.equal(upsampling.kernel, before)


@pytest.mark.parametrize(
    ("strides", "widths"),
    [
        ((4, 8, 16, 32), [256, 128, 64, 48, 32]),
        ((1, 2, 4, 8), [64, 48, 32]),
        ((64,), [256, 256, 128, 64, 48, 32]),
        ((1,), []),
    ],
)
def test_up_convolutions_end_at_full_size(
    strides: tuple[int, ...], widths: list[int], generator: torch.Generator
) -> None:
    channels = tuple(7 + index for index in range(len(strides)))
    decoder = DECODERS["taskonomy"](channels, strides, 32)
    ups = [m for m in decoder.modules() if isinstance(m, torch.nn.ConvTranspose2d)]
    assert [up.out_channels for up in ups] == widths
    size = 64
    features = [
        torch.rand(1, count, size // stride, size // stride, generator=generator)
        for count, stride in zip(channels, strides, strict=True)
    ]
    result = decoder.head(3)(decoder(features, (size, size)))
    assert tuple(result.shape) == (1, 3, size, size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "resnet18", "untied": True}, r"model\.untied must not be set for backbone"),
        ({"decoder": "bilinear", "decoder_width": 16}, r"model\.decoder_width must not be set"),
        ({"backbone": "drn_d_22", "width": 16}, r"\(options of this backbone: model\.untied\)"),
    ],
)
def test_options_that_do_not_apply_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_model(ModelConfig.model_validate(options))
