"""The spaces of MTRobust on drawn miniatures, as a search checks them before it starts."""

import re
import shlex
from pathlib import Path

import pytest

from taskgroup.errors import ConfigError
from taskgroup.search.plan.first_points import draw_first_points
from taskgroup.search.plan.grid import grid_points
from taskgroup.search.plan.preflight import check_names, robust_objective
from taskgroup.search.space.find import find_space
from taskgroup.search.space.search_space import SearchSpace, load_space
from taskgroup.training.checks import build_tasks

FILES = {"mtrobust_cityscapes": "cityscapes", "mtrobust_taskonomy": "taskonomy"}
DEPTH = {  # released depth models of Cityscapes: auxiliary tasks, lambda
    ("segmentation",): 0.1,
    ("autoencoding",): 0.1,
    ("autoencoding", "segmentation"): 0.01,
}
CLASS_WEIGHTS = (
    0.54241, 9.16744, 7.33099, 7.16203, 8.72289, 7.61330, 8.23692, 9.14858, 8.82202, 9.08579,
    8.91407, 9.17723, 9.03539, 8.60392, 9.16992, 9.14673, 9.13736,
)  # fmt: skip


@pytest.fixture(params=FILES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def root(name: str, request: pytest.FixtureRequest) -> str:
    return f"dataset.root={request.getfixturevalue(f'{FILES[name]}_root')}"


@pytest.fixture
def small(name: str, root: str) -> list[str]:
    """The ``--fix`` values that suit a miniature."""
    return [root, "training.crop_size=16"] if name == "mtrobust_cityscapes" else [root]


def recipe(name: str) -> list[str]:
    """The ``--fix`` values of the command in a space's header."""
    text = find_space(name).read_text(encoding="utf-8")
    lines = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
    start = lines.index(f"taskgroup search --space {name} --fix main_task=depth \\")
    command = re.match(r"(?:[^\n\\']|\\\n|'[^']*')*", "\n".join(lines[start:]))
    assert command is not None
    words = shlex.split(command[0].replace("\\\n", ""))
    assert set(words[4::2]) == {"--fix"}
    return words[5::2]


def of_depth(name: str, *fixes: str) -> SearchSpace:
    return load_space(name, fixes=[*recipe(name), *fixes])


def test_they_pass_the_check_as_they_are(name: str, small: list[str]) -> None:
    space = load_space(name, fixes=small)
    check_names(space)
    assert robust_objective(space).metric == "segmentation/robust/miou"


def test_they_pass_the_check_with_depth_as_main_task(name: str, small: list[str]) -> None:
    space = of_depth(name, *small)
    check_names(space)
    assert space.main_task == "depth"
    others = {*load_space(name).candidates, "segmentation"} - {"depth"}
    assert set(space.candidates) == others
    assert [(o.metric, o.direction) for o in space.objectives] == [
        ("depth/robust/mae", "minimize"),
        ("depth/clean/mae", "minimize"),
    ]


def test_depth_needs_every_line_of_the_recipe(name: str, root: str) -> None:
    """And what is left out is named."""
    fixes = recipe(name)
    for key in ("auxiliary_tasks", "objectives", "first_points"):
        others = [fix for fix in fixes if not fix.startswith(f"{key}=")]
        assert len(others) == len(fixes) - 1
        with pytest.raises(ConfigError, match=key):
            check_names(load_space(name, fixes=[*others, root]))


def test_depth_of_cityscapes_begins_with_its_published_weights() -> None:
    points = [p.config for p in draw_first_points(of_depth("mtrobust_cityscapes", "seed=42"))]
    assert {p.auxiliary_tasks: round(sum(p.loss_weights.values()), 9) for p in points} == DEPTH
    assert {p.adversary.attack for p in points} == {"none"}


def test_taskonomy_weighs_classes_as_published(taskonomy_root: Path) -> None:
    space = load_space("mtrobust_taskonomy", fixes=[f"dataset.root={taskonomy_root}"])
    main, *_ = build_tasks(space.example())
    assert main.name == "segmentation"
    assert tuple(round(weight, 5) for weight in main.info.class_weights) == CLASS_WEIGHTS


def test_taskonomy_searches_what_training_attacks() -> None:
    """As in the other two spaces; the published points are trained naturally."""
    space = load_space("mtrobust_taskonomy")
    points = [point.config for point in grid_points(space)]
    ways = {
        (bool(p.auxiliary_tasks), p.adversary.attack, p.adversary.attacked_tasks) for p in points
    }
    several = {(True, "none", "main"), (True, "pgd", "main"), (True, "pgd", "all")}
    assert ways == several | {(False, "none", "main"), (False, "pgd", "main")}
    assert {p.config.adversary.attack for p in draw_first_points(space)} == {"none"}


def test_losses_are_the_published_ones(name: str, root: str) -> None:
    """Pictures as the network's input is normalised; on Taskonomy L1, there for normals too."""
    config = load_space(name, fixes=[root]).example()
    infos = {task.name: task.info for task in build_tasks(config)}
    assert infos["autoencoding"].std == config.model.std
    is_taskonomy = name == "mtrobust_taskonomy"
    assert infos["autoencoding"].loss == ("" if is_taskonomy else "mse")
    if is_taskonomy:
        assert infos["normals"].loss == "l1"
