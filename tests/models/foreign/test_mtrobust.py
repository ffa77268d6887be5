"""MTRobust's networks: published names and shapes, and the outputs of its own code."""

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import taskgroup.tasks.classification  # noqa: F401  (fills the registry)
from taskgroup.models.base import ModelConfig
from taskgroup.models.build import build_model
from taskgroup.models.foreign.published import Published, build_published, complete, load_published
from taskgroup.models.multitask import MultitaskModel
from taskgroup.tasks.base import TASKS, TaskInfo, build_task

CLASSES = {"segmentation"}
PIXELS = {"depth_euclidean"}
VECTORS = {"class_object", "class_places", "room_layout", "vanishing_point"}
BACKBONES = {
    "drn_d_22_multitask": "drn_d_22",
    "drn_d_22_seg": "drn_d_22",
    "resnet18_taskonomy_11": "resnet18",
    "resnet18_taskonomy_fc": "resnet18",
}


@pytest.fixture(scope="module")
def golden(real_data: Path) -> Mapping[str, Any]:
    """What the published code computes, beside the real data."""
    path = real_data.parent / "seeds" / "golden" / "mtrobust.json"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def every_task() -> Iterator[None]:
    """Stand-ins for tasks that no data set here has."""
    with TASKS.scratch():
        for name in VECTORS:
            TASKS.register(name)(TASKS["classification"])
        if "depth_euclidean" not in TASKS:
            TASKS.register("depth_euclidean")(TASKS["depth"])
        yield


def fill(key: str, shape: tuple[int, ...]) -> Tensor:
    """The stated formula for one weight."""
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
    if not shape:
        return torch.zeros((), dtype=torch.int64)
    if len(shape) > 1:
        return drawn / (drawn.numel() / shape[0]) ** 0.5
    if key.endswith(".running_var"):
        generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
        return 1 + 0.1 * torch.rand(shape, generator=generator)
    return 1 + 0.1 * drawn if key.endswith(".weight") else 0.1 * drawn


def filled(entry: Mapping[str, Any]) -> dict[str, Tensor]:
    """Every weight of a network under its published name."""
    aliases = entry["alias_of"]
    return {key: fill(aliases.get(key, key), tuple(shape)) for key, shape in entry["keys"].items()}


def build(published: Published, backbone: str) -> MultitaskModel:
    """Our network with every head of the file."""
    infos = {
        head.name: TaskInfo(
            head.task, head.channels if head.is_vector or head.task in CLASSES else None
        )
        for head in published.heads
    }
    kept = {name: info.name for name, info in infos.items()}
    config = complete({"backbone": backbone}, published)
    return build_published(published, config, [build_task(i) for i in infos.values()], kept)


ELEVEN = (
    *("segmentation", "depth", "edges", "keypoints2d", "normals", "reshading", "keypoints3d"),
    *("depth_euclidean", "autoencoding", "occlusion_edges", "curvature"),
)


@pytest.mark.parametrize(
    ("backbone", "channels", "parameters"),
    [("resnet18", 512, 27_735_681), ("resnet50", 2048, None)],
)
def test_every_task_has_an_up_convolution_decoder_of_its_own(
    backbone: str, channels: int, parameters: int | None
) -> None:
    tasks = [build_task(TaskInfo(name, 18 if name in CLASSES else None)) for name in ELEVEN]
    config = ModelConfig(backbone=backbone, decoder="taskonomy")
    with torch.device("meta"):
        model = build_model(config, tasks, seed=0)
    first = {name: model.heads[name].decoder.upconv0.weight for name in ELEVEN}
    assert {tuple(weight.shape) for weight in first.values()} == {(channels, 256, 2, 2)}
    assert len({id(weight) for weight in first.values()}) == len(ELEVEN)
    if parameters is not None:
        assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "wrapped"), [("drn_d_22_seg", False), *((name, True) for name in BACKBONES)]
)
def test_golden_outputs(
    name: str, wrapped: bool, golden: Mapping[str, Any], tmp_path: Path
) -> None:
    entry = golden["models"][name]
    weights = filled(entry)
    content: dict[str, Any] = weights
    if wrapped:  # as DataParallel and the training script do it
        named = {f"module.{key}": value for key, value in weights.items() if value.ndim}
        content = {"epoch": 201, "arch": "drn_d_22", "state_dict": named, "best_prec1": 0.0}
    torch.save(content, tmp_path / "published.pth")
    published = load_published(tmp_path / "published.pth")
    model = build(published, BACKBONES[name])
    # The images were drawn as the network sees them, behind its normalisation.
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        predictions = model(pixels * model.std + model.mean)
    outputs = entry["outputs"]["64"]["outputs"]
    renamed = {"segmentation": "logsoftmax"} if name == "drn_d_22_seg" else {}
    named = {renamed.get(head.name, head.name): predictions[head.task] for head in published.heads}
    assert named.keys() == outputs.keys() - {"rep", "stride8_logits", "softmax"}
    for key, prediction in named.items():
        expected = outputs[key]
        if "drn" in name and prediction.shape[1] == 19:
            prediction = prediction.log_softmax(1)
        if key == "autoencoder":  # there the normalised image, here pixels
            prediction = (prediction - model.mean) / model.std
        assert list(prediction.shape) == expected["shape"]
        samples = prediction.flatten()[expected["idx"]]
        torch.testing.assert_close(samples, torch.tensor(expected["values"]), rtol=0, atol=1e-4)
        assert abs(float(prediction.mean()) - expected["mean"]) < 1e-4
        assert abs(float(prediction.std()) - expected["std"]) < 1e-4
