"""Building: seeds, shared first weights, sizes, first predictions."""

from collections.abc import Callable

import pytest
import torch

from taskgroup.errors import ConfigError
from taskgroup.models.base import ModelConfig
from taskgroup.models.build import build_model
from taskgroup.tasks.base import Task

Tasks = Callable[..., list[Task]]
CONFIGS = [ModelConfig(), ModelConfig(decoder="upconv"), ModelConfig(backbone="timm/test_vit")]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_seed_gives_the_same_weights_whatever_the_global_state(
    config: ModelConfig, make_tasks: Tasks
) -> None:
    tasks = make_tasks("segmentation", "classification")
    first = build_model(config, tasks, seed=3).state_dict()
    torch.rand(7)
    second = build_model(config, tasks, seed=3).state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    other = build_model(config, tasks, seed=4).state_dict()
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


def test_the_global_random_state_is_untouched(make_tasks: Tasks) -> None:
    before = torch.random.get_rng_state()
    build_model(ModelConfig(), make_tasks("segmentation", "classification"), seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_task_sets_share_the_first_weights_of_what_they_share(make_tasks: Tasks) -> None:
    one = build_model(ModelConfig(), make_tasks("depth"), seed=0).state_dict()
    names = ("segmentation", "classification", "depth")
    many = build_model(ModelConfig(), make_tasks(*names), seed=0).state_dict()
    assert one.keys() < many.keys()
    assert all(torch.equal(value, many[name]) for name, value in one.items())


def test_two_heads_of_a_kind_start_differently(make_tasks: Tasks) -> None:
    heads = build_model(ModelConfig(), make_tasks("depth", "edges"), seed=0).heads
    pairs = zip(heads["depth"].parameters(), heads["edges"].parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("names", [(), ("depth", "depth")])
def test_a_task_set_is_not_empty_and_names_no_task_twice(
    names: tuple[str, ...], make_tasks: Tasks
) -> None:
    with pytest.raises(ConfigError, match="one or more different tasks"):
        build_model(ModelConfig(), make_tasks(*names), seed=0)


def test_the_small_network_is_small(make_tasks: Tasks) -> None:
    model = build_model(ModelConfig(width=16), make_tasks("segmentation"), seed=0)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert 100_000 < count < 350_000


@pytest.mark.parametrize("config", CONFIGS)
def test_first_predictions_are_small(config: ModelConfig, make_tasks: Tasks) -> None:
    model = build_model(config, make_tasks("segmentation", "classification"), seed=0)
    with torch.no_grad():
        predictions = model(torch.rand(8, 3, 64, 64))
    for prediction in predictions.values():
        assert 0.01 < float(prediction.std()) < 1.5
        assert float(prediction.abs().max()) < 6


def test_a_few_steps_learn(make_tasks: Tasks, generator: torch.Generator) -> None:
    """Brightness as depth, and the image's mean brightness as its class."""
    model = build_model(ModelConfig(width=8), make_tasks("depth", "classification"), seed=0)
    images = torch.rand(10, 3, 16, 16, generator=generator)
    labels = torch.arange(10) % 5
    images += labels.view(-1, 1, 1, 1) * 0.5
    depth = images.mean(1, keepdim=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        prediction = model(images)
        loss = (prediction["depth"] - depth).abs().mean()
        loss = loss + torch.nn.functional.cross_entropy(prediction["classification"], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
