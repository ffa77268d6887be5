"""What cannot be trained is refused once, before anything trains, by check and search alike."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from taskgroup.cli.app import app
from taskgroup.config import to_yaml
from taskgroup.errors import ConfigError
from taskgroup.models.base import BACKBONES, Backbone, ModelConfig
from taskgroup.search.plan.preflight import check_names, told_lines
from taskgroup.search.space.find import list_spaces
from taskgroup.search.space.search_space import SearchSpace, load_space
from taskgroup.training import checks

Make = Callable[..., SearchSpace]
PLAIN = ("model.width=null", "search.trials=4")


class Picky(Backbone):
    """Takes images of 40 pixels and more, and is of batch norm over one value per image."""

    channels = (4,)
    strides = (1,)

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.layer, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        if images.shape[-1] < 40:
            raise AssertionError("too small")
        return [self.layer(images) + self.norm(self.layer(images.mean((2, 3), keepdim=True)))]


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    with BACKBONES.scratch():
        BACKBONES.register("picky")(Picky)
        yield


def test_a_network_that_cannot_take_the_images_is_named_with_size_and_reason(
    make_space: Make,
) -> None:
    with pytest.raises(ConfigError) as refused:
        check_names(make_space(*PLAIN, "model.backbone=picky"))
    assert str(refused.value) == (
        "model.backbone picky must be able to train on images of 32 x 32 pixels in batches, but it "
        "raises AssertionError: too small; choose another model.backbone or dataset.image_size"
    )
    check_names(make_space(*PLAIN, "model.backbone=picky", "dataset.image_size=48"))


@pytest.mark.parametrize(
    ("fixes", "is_refused"),
    [
        (("training.batch_size=1",), True),
        (("training.batch_size={choice: [8, 1]}",), True),
        (("dataset.train=1",), True),
        (("dataset.train=33",), False),  # the last image sits out
        (("dataset.train=34",), False),
    ],
)
def test_a_batch_of_one_where_batch_norm_needs_two(
    make_space: Make, fixes: tuple[str, ...], is_refused: bool
) -> None:
    space = make_space(*PLAIN, "model.backbone=picky", "dataset.image_size=48", *fixes)
    if not is_refused:
        check_names(space)
        return
    message = r"48 x 48 pixels in a batch of one image, but it raises ValueError: Expected"
    with pytest.raises(ConfigError, match=message):
        check_names(space)


def test_every_backbone_is_tried_at_every_size(make_space: Make) -> None:
    backbones = "model.backbone={choice: [resnet18, picky]}"
    check_names(make_space(*PLAIN, backbones, "dataset.image_size={choice: [48, 64]}"))
    with pytest.raises(ConfigError, match=r"picky .* 32 x 32"):
        check_names(make_space(*PLAIN, backbones, "dataset.image_size={choice: [48, 32]}"))
    with pytest.raises(ConfigError, match=r"picky .* 32 x 32"):
        check_names(make_space(*PLAIN, "model.backbone=picky", "dataset.image_size=48",
                               "search.proxy={image_size: 32}"))  # fmt: skip
    with pytest.raises(ConfigError, match=r"picky .* 36 x 36"):
        check_names(make_space(*PLAIN, "model.backbone=picky", "dataset.image_size=48",
                               "training.crop_size=36"))  # fmt: skip


def test_trying_fetches_no_weights_and_leaves_the_random_state(
    make_space: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", "/nowhere")
    state = torch.get_rng_state()
    check_names(make_space(*PLAIN, "model.backbone=resnet18", "model.pretrained=true"))
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_beyond_the_memory_are_refused_before_they_are_made(
    make_space: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "machine_memory", lambda: 2**30)
    check_names(make_space("model.width=128"))
    with pytest.raises(ConfigError, match=r"fit in memory, 1\.0 GiB .* about \d+\.\d GiB; lower"):
        check_names(make_space("model.width=4096"))


GRID = ("loss_weights=0.5", "training.learning_rate=0.01", "adversary.steps=1")


@pytest.mark.parametrize(
    ("trials", "line"),
    [
        ("null", "grid: 17 trials, baselines included"),
        (30, "grid: 17 trials, baselines included"),
        (4, "grid: search.trials stops it after 4 of 17 trials, baselines included"),
    ],
)
def test_how_much_of_a_grid_will_run_is_said(make_space: Make, trials: object, line: str) -> None:
    """Eight task sets at two radii, and the natural baseline."""
    assert line in told_lines(make_space(*GRID, f"search={{sampler: grid, trials: {trials}}}"))


@pytest.mark.parametrize("name", list_spaces())
def test_shipped_spaces_can_be_trained(name: str) -> None:
    space = load_space(name)
    if space.example().dataset.name == "scenes":
        check_names(space)


@pytest.mark.parametrize(
    ("fixes", "message"),
    [
        (["search={sampler: grid}"], "the sampler grid takes choice, subset and randint, got logu"),
        (["model={backbone: picky}"], "model.backbone picky must be able to train on images of"),
    ],
)
def test_check_refuses_what_search_refuses_in_the_same_line(
    values: dict[str, Any], tmp_path: Path, fixes: list[str], message: str
) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(to_yaml(values))
    pins = [word for fix in fixes for word in ("--fix", fix)]
    checked = CliRunner().invoke(app, ["spaces", "check", str(file), *pins])
    runs = tmp_path / "runs"
    searched = CliRunner().invoke(app, ["search", "--space", str(file), "--runs", str(runs), *pins])
    assert message in checked.stderr
    assert checked.exit_code == searched.exit_code == 2
    assert checked.stderr == searched.stderr
    assert not runs.exists()
