"""timm networks: names, layouts, sizes."""

import pytest
import timm
import torch

from taskgroup.errors import ConfigError
from taskgroup.models.backbones.timm_backbone import TIMM
from taskgroup.models.base import BACKBONES, Backbone, ModelConfig
from taskgroup.models.build import check_model


def build(name: str) -> Backbone:
    return BACKBONES[TIMM](ModelConfig(backbone=f"timm/{name}")).eval()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/convnext_tinny", r"must name a network of timm, got 'convnext_tinny'; did you mean"),
        ("timm/", r"must name a network of timm, got ''; list them"),
        ("timm/qqqqqqq", r"list them with timm\.list_models"),
        ("timm/hf-hub:someone/something", r"must name a network of timm"),
    ],
)
def test_unknown_names_get_one_line(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_model(ModelConfig(backbone=name))
    assert "\n" not in str(caught.value)


def test_a_name_with_the_tag_of_its_weights_is_known() -> None:
    check_model(ModelConfig(backbone="timm/resnet18.a1_in1k"))


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_features_are_those_of_timm(name: str, generator: torch.Generator) -> None:
    backbone = build(name)
    reference = timm.create_model(name, features_only=True).eval()
    reference.load_state_dict(backbone.body.state_dict())
    images = torch.rand(1, 3, 160, 160, generator=generator)
    for ours, theirs in zip(backbone(images), reference(images), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_channels_last_features_become_channels_first(generator: torch.Generator) -> None:
    backbone = build("test_mambaout")
    images = torch.rand(1, 3, 64, 96, generator=generator)
    theirs = backbone.body(images)
    for ours, feature in zip(backbone(images), theirs, strict=True):
        assert torch.equal(ours, feature.movedim(-1, 1))


def test_padding_leaves_what_lies_far_from_it(generator: torch.Generator) -> None:
    backbone = build("test_resnet")
    images = torch.rand(1, 3, 160, 160, generator=generator)
    whole, cut = backbone(images)[0], backbone(images[..., :150, :])[0]
    torch.testing.assert_close(cut[..., :60, :], whole[..., :60, :])
