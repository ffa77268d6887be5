"""Task sets to build networks for."""

from collections.abc import Callable

import pytest
import torch

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
