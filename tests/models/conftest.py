"""Task sets to build networks for."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from taskgroup.models.multitask import MultitaskModel
from taskgroup.tasks.base import Task, TaskInfo, build_task


@pytest.fixture
def make_tasks() -> Callable[..., list[Task]]:
    """Tasks by name; class maps and labels have 5 classes."""
    classes = {"segmentation", "parts", "classification", "superclass"}

    def make(*names: str) -> list[Task]:
        return [build_task(TaskInfo(name, 5 if name in classes else None)) for name in names]

    return make


@pytest.fixture
def train_steps() -> Callable[[MultitaskModel], None]:
    """Three steps of SGD on whatever parameters take gradients."""

    def train(model: MultitaskModel) -> None:
        model.train()
        generator = torch.Generator().manual_seed(1)
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1)
        for _ in range(3):
            images = torch.rand(4, 3, 32, 32, generator=generator)
            loss = sum(p.square().mean() for p in model(images).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return train


THEIR_NAMES = {
    "segmentation": "segmentsemantic",
    "depth": "depth_zbuffer",
    "autoencoding": "autoencoder",
}


@pytest.fixture
def small_drn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every DRN with a few channels."""
    monkeypatch.setattr("taskgroup.models.backbones.drn.WIDTHS", (2, 2, 4, 4, 6, 8, 8, 8))


@pytest.fixture
def as_segmentation() -> Callable[[MultitaskModel], dict[str, Tensor]]:
    """Weights of a DRN under the names of the single-task networks: ``base``, ``seg``, ``up``."""

    def write(model: MultitaskModel) -> dict[str, Tensor]:
        weights = model.state_dict()
        head = "heads.segmentation.predict"
        levels = {
            key.replace("backbone.levels.", "base."): value
            for key, value in weights.items()
            if key.startswith("backbone.")
        }
        last = {f"seg.{part}": weights[f"{head}.0.{part}"] for part in ("weight", "bias")}
        return {**levels, **last, "up.weight": weights[f"{head}.1.kernel"]}

    return write


@pytest.fixture
def as_multitask() -> Callable[[MultitaskModel], dict[str, Tensor]]:
    """Weights of a DRN as MTRobust has them: levels 6 to 8 once per task, shared or not."""

    def write(model: MultitaskModel) -> dict[str, Tensor]:
        weights, found = model.state_dict(), {}
        for task in model.task_names:
            prefix, own = f"task_to_decoder.{THEIR_NAMES[task]}", f"heads.{task}."
            for key, value in weights.items():
                if key.startswith("backbone.levels."):
                    number, rest = int(key.split(".")[2]), key.split(".", 3)[3]
                    place = f"encoder.{number}" if number < 6 else f"{prefix}.{number - 6}"
                    found[f"{place}.{rest}"] = value
                elif key.startswith(f"{own}layers.levels."):
                    found[f"{prefix}.{key.removeprefix(f'{own}layers.levels.')}"] = value
                elif key.startswith(f"{own}predict.0."):
                    found[f"{prefix}.3.{key.split('.')[-1]}"] = value
                elif key == f"{own}predict.1.kernel":
                    found[f"{prefix}.4.weight"] = value
        return found

    return write
