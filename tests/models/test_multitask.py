"""The network of a task set: asked heads, normalisation inside, frozen backbones."""

from collections.abc import Callable

import pytest
import torch

from taskgroup.errors import ConfigError
from taskgroup.models.base import ModelConfig
from taskgroup.models.build import build_model
from taskgroup.models.multitask import MultitaskModel
from taskgroup.tasks.base import Task, output_dimension

Tasks = Callable[..., list[Task]]
SMALL = ModelConfig(width=4, decoder_width=4)


def test_only_the_asked_heads_run(make_tasks: Tasks) -> None:
    names = ("segmentation", "depth", "classification")
    model = build_model(SMALL, make_tasks(*names), seed=0)
    ran = []
    for name, head in model.heads.items():
        for module in head.modules():
            module.register_forward_hook(lambda *_, name=name: ran.append(name))
    images = torch.rand(2, 3, 16, 16)
    assert list(model(images, ["classification", "depth"])) == ["classification", "depth"]
    assert set(ran) == {"classification", "depth"}
    ran.clear()
    assert tuple(model(images)) == model.task_names == names
    assert set(ran) == set(names)
    ran.clear()
    assert model(images, []) == {}
    assert ran == []


def test_asking_for_fewer_heads_changes_no_prediction(make_tasks: Tasks) -> None:
    model = build_model(SMALL, make_tasks("segmentation", "depth"), seed=0).eval()
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(model(images, ["depth"])["depth"], model(images)["depth"])


def test_an_unknown_task_is_named(make_tasks: Tasks) -> None:
    model = build_model(SMALL, make_tasks("segmentation", "depth"), seed=0)
    with pytest.raises(ConfigError, match=r"no head for task 'normals'; .*segmentation, depth"):
        model(torch.rand(1, 3, 16, 16), ["normals"])


def test_normalisation_is_inside(make_tasks: Tasks) -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)
    config = SMALL.model_copy(update={"mean": mean, "std": std})
    model = build_model(config, make_tasks("depth"), seed=0)
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.rand(2, 3, 16, 16)
    model(images)
    for channel in range(3):
        expected = (images[:, channel] - mean[channel]) / std[channel]
        torch.testing.assert_close(seen[0][:, channel], expected)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert {"mean", "std"} <= set(model.state_dict())


def test_images_are_left_as_they_were(make_tasks: Tasks) -> None:
    model = build_model(SMALL, make_tasks("depth"), seed=0)
    for images in (torch.rand(2, 3, 16, 16), torch.rand(2, 16, 16, 3).movedim(-1, 1)):
        before = images.clone()
        model(images)
        assert torch.equal(images, before)


def test_a_network_in_float64_predicts_in_float64(make_tasks: Tasks) -> None:
    model = build_model(ModelConfig(), make_tasks("segmentation", "classification"), seed=0)
    predictions = model.double()(torch.rand(2, 3, 32, 32, dtype=torch.float64))
    assert {prediction.dtype for prediction in predictions.values()} == {torch.float64}


def test_last_layers_compute_in_float32_under_autocast(make_tasks: Tasks) -> None:
    model = build_model(SMALL, make_tasks("depth", "classification"), seed=0).eval()
    images = torch.rand(2, 3, 16, 16)
    plain = model(images)
    kinds = []
    for head in model.heads.values():
        head.predict.register_forward_hook(lambda *parts: kinds.append(parts[-1].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        cast = model(images)
    assert kinds == [torch.float32] * 2
    for name, prediction in cast.items():
        assert prediction.dtype == torch.float32
        torch.testing.assert_close(prediction, plain[name], rtol=0.1, atol=0.05)


@pytest.mark.parametrize("backbone", ["resnet_small", "timm/test_resnet", "timm/test_vit"])
def test_a_frozen_backbone_is_bit_identical_after_training(
    backbone: str, make_tasks: Tasks, train_steps: Callable[[MultitaskModel], None]
) -> None:
    tasks = make_tasks("segmentation", "classification")
    model = build_model(ModelConfig(backbone=backbone, frozen=True), tasks, seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_steps(model)
    after = model.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed
    assert all(name.startswith("heads.") for name in changed)


def test_a_backbone_that_is_not_frozen_trains(
    make_tasks: Tasks, train_steps: Callable[[MultitaskModel], None]
) -> None:
    model = build_model(SMALL, make_tasks("segmentation", "classification"), seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_steps(model)
    after = model.state_dict()
    same = {name for name, value in before.items() if torch.equal(value, after[name])}
    assert same == {"mean", "std"}


def test_a_frozen_backbone_still_passes_gradients_to_the_images(make_tasks: Tasks) -> None:
    model = build_model(SMALL.model_copy(update={"frozen": True}), make_tasks("depth"), seed=0)
    images = torch.rand(2, 3, 16, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(images)["depth"].square().sum(), images)
    assert gradient.any()


def test_training_mode_reaches_all_but_a_frozen_backbone(make_tasks: Tasks) -> None:
    free = build_model(SMALL, make_tasks("depth"), seed=0)
    frozen = build_model(SMALL.model_copy(update={"frozen": True}), make_tasks("depth"), seed=0)
    assert free.train().backbone.training
    assert frozen.train().heads.training
    assert not any(module.training for module in frozen.backbone.modules())


@pytest.mark.parametrize(
    ("names", "dimension"),
    [(["classification"], 5), (["depth"], 6), (["segmentation", "normals", "superclass"], 53)],
)
def test_output_dimension(names: list[str], dimension: int, make_tasks: Tasks) -> None:
    tasks = make_tasks(*names)
    assert output_dimension(tasks, (2, 3)) == dimension
    predictions = build_model(SMALL, tasks, seed=0).eval()(torch.rand(1, 3, 2, 3))
    assert sum(prediction.numel() for prediction in predictions.values()) == dimension
