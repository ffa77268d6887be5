"""The examples of docs/models.md run."""

import re
from pathlib import Path

import pytest
import torch

import taskgroup.models.base
from taskgroup.models.base import Backbone, ModelConfig
from taskgroup.registry import Registry

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


@pytest.fixture
def examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_first_example(examples: list[str]) -> None:
    names: dict[str, object] = {"images": torch.rand(1, 3, 32, 32)}
    exec(examples[0], names)
    assert isinstance(names["model"], torch.nn.Module)


def test_the_backbone_example_is_a_backbone(
    examples: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry[type[Backbone]]("backbone")
    monkeypatch.setattr(taskgroup.models.base, "BACKBONES", registry)
    exec(examples[1], {})
    backbone = registry["two_stage"](ModelConfig(width=4))
    shapes = [tuple(feature.shape) for feature in backbone(torch.rand(1, 3, 33, 16))]
    assert shapes == [(1, 4, 17, 8), (1, 8, 9, 4)]
