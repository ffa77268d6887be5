"""A backbone that is told which task it computes features for."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from taskgroup.errors import ConfigError
from taskgroup.models.base import BACKBONES, NETWORKS, ConditionalBackbone, ModelConfig
from taskgroup.models.build import build_model
from taskgroup.tasks.base import Task

Tasks = Callable[..., list[Task]]


class Scaled(ConditionalBackbone):
    """One convolution for all tasks, and a scale of its own for each."""

    channels = (4,)
    strides = (1,)

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.shared = nn.Conv2d(3, 4, kernel_size=1)
        self.scales = nn.ParameterDict()
        self.asked: list[str] = []

    def add_tasks(self, tasks: list[str]) -> None:
        for name in tasks:
            self.scales[name] = nn.Parameter(torch.rand(4, 1, 1))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [self.shared(images)]

    def features_for(self, images: torch.Tensor, task: str) -> list[torch.Tensor]:
        self.asked.append(task)
        return [self.shared(images) * self.scales[task]]


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    with BACKBONES.scratch():
        BACKBONES.register("scaled")(Scaled)
        yield


def test_it_runs_once_for_each_task_that_is_asked_for(make_tasks: Tasks) -> None:
    model = build_model(ModelConfig(backbone="scaled"), make_tasks("depth", "edges"), seed=0)
    images = torch.rand(2, 3, 16, 16)
    predictions = model(images, ["edges"])
    assert model.backbone.asked == ["edges"]
    assert list(predictions) == ["edges"]
    both = model(images)
    assert model.backbone.asked == ["edges", "depth", "edges"]
    assert torch.equal(both["edges"], predictions["edges"])


def test_a_task_trains_its_own_parts_and_what_is_shared(make_tasks: Tasks) -> None:
    model = build_model(ModelConfig(backbone="scaled"), make_tasks("depth", "edges"), seed=0)
    model(torch.rand(2, 3, 16, 16), ["depth"])["depth"].sum().backward()
    assert model.backbone.scales["depth"].grad is not None
    assert model.backbone.shared.weight.grad is not None
    assert model.backbone.scales["edges"].grad is None


def test_first_weights_follow_from_the_seed(make_tasks: Tasks) -> None:
    one, same, other = (
        build_model(ModelConfig(backbone="scaled"), make_tasks("depth"), seed=seed).state_dict()
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    assert not torch.equal(one["backbone.scales.depth"], other["backbone.scales.depth"])


def test_an_unknown_network_is_refused_by_name(make_tasks: Tasks) -> None:
    assert "multitask" in NETWORKS
    with pytest.raises(ConfigError, match=r"unknown model\.network 'hydra'; choose one of"):
        build_model(ModelConfig(network="hydra"), make_tasks("depth"), seed=0)
