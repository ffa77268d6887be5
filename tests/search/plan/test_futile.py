"""What cannot differ or is searched in vain is said before anything trains, once each."""

from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from taskgroup.cli.app import app
from taskgroup.search.plan.futile import futile_lines
from taskgroup.search.space.find import list_spaces
from taskgroup.search.space.search_space import SearchSpace, load_space

Make = Callable[..., SearchSpace]
FROZEN = ("model.frozen=true", "model.backbone=resnet18", "model.width=null")
ASHA = ("search.scheduler=asha", "training.epochs=6")


@pytest.mark.parametrize("name", list_spaces())
def test_shipped_spaces_search_nothing_in_vain(name: str) -> None:
    assert futile_lines(load_space(name)) == []


def told(space: SearchSpace) -> str:
    """The one line, without its first word."""
    (line,) = futile_lines(space)
    assert line.startswith("warning: ")
    assert "\n" not in line
    return line.removeprefix("warning: ")


def test_robust_scores_without_a_radius_are_clean_ones(make_space: Make) -> None:
    line = told(make_space("validation.epsilon=0"))
    assert line.startswith("validation.epsilon is 0, so every robust score equals the clean one")
    assert futile_lines(make_space("validation.epsilon=1/255")) == []


@pytest.mark.parametrize(
    "fixes",
    [
        ("search.grace_epochs=6",),
        ("search.grace_epochs=9",),
        ("training.epochs=1",),
        ("search.proxy={epochs: 1}",),
    ],
)
def test_a_first_rung_after_the_end_is_said(make_space: Make, fixes: tuple[str, ...]) -> None:
    line = told(make_space(*ASHA, *fixes))
    assert line.startswith("search.scheduler asha can stop no trial: its first rung would not be")
    assert futile_lines(make_space(*fixes)) == [], "there is no scheduler"


@pytest.mark.parametrize("fix", ["validation.every=6", "validation.every=100"])
def test_rungs_between_which_nothing_is_measured_are_said(make_space: Make, fix: str) -> None:
    line = told(make_space(*ASHA, fix))
    assert (
        "from its first rung, epoch 4, robust scores are measured after the last epoch, 6" in line
    )
    assert futile_lines(make_space(*ASHA, "validation.every=5")) == []
    clean = "objectives=[{maximize: segmentation/clean/miou}]"
    assert futile_lines(make_space(*ASHA, fix, clean)) == [], "clean scores are always there"


def test_a_frozen_backbone_without_weights_is_said(make_space: Make) -> None:
    line = told(make_space(*FROZEN, "auxiliary_tasks=[]"))
    assert line.startswith("model.frozen without model.pretrained keeps the backbone at random")
    assert futile_lines(make_space(*FROZEN, "auxiliary_tasks=[]", "model.pretrained=true")) == []
    searched = make_space(*FROZEN[1:], "auxiliary_tasks=[]", "model.frozen={choice: [false, true]}")
    assert told(searched) == line


def test_tasks_that_share_nothing_that_trains_are_said(make_space: Make) -> None:
    frozen = (*FROZEN, "model.pretrained=true")
    assert "auxiliary tasks cannot change the main task" in told(make_space(*frozen))
    alone = "adversary={attack: pgd, attacked_tasks: [segmentation]}"
    assert "auxiliary tasks cannot change" in told(make_space(*frozen, alone))


@pytest.mark.parametrize(
    "shared",
    [
        "model.frozen={choice: [true, false]}",
        "auxiliary_tasks=[]",
        "training.weighting=uncertainty",
        "training.step=alternating",
        "training.clip_norm=1",
        "adversary={attack: pgd, attacked_tasks: all}",
    ],
)
def test_tasks_that_meet_somewhere_are_not(make_space: Make, shared: str) -> None:
    assert futile_lines(make_space(*FROZEN, "model.pretrained=true", shared)) == []


def test_check_prints_it_below_the_images() -> None:
    done = CliRunner().invoke(
        app, ["spaces", "check", "quickstart", "--fix", "validation.epsilon=0"]
    )
    assert done.exit_code == 0, done.output
    assert "\n  images: " in done.output
    assert "\n  warning: validation.epsilon is 0" in done.output
