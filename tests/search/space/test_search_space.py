"""Reading spaces: what is accepted, and one line for every mistake."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskgroup.config import parse_yaml, to_yaml
from taskgroup.errors import ConfigError, DataError
from taskgroup.search.plan.preflight import check_names
from taskgroup.search.space.find import list_spaces
from taskgroup.search.space.fixes import apply_fixes
from taskgroup.search.space.search_space import SearchSpace, load_space, read_space

Make = Callable[..., SearchSpace]


def test_space_knows_its_candidates_and_longest_trial(make_space: Make) -> None:
    space = make_space("training.epochs={randint: [2, 5]}")
    assert space.candidates == ("depth", "edges", "normals")
    assert space.planned_epochs == 5
    assert len(list(space.examples())) == 7 - 1 + 1


def test_kept_text_is_the_file_s_own_unless_something_was_fixed(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    text = "# why\n" + to_yaml(values)
    path = tmp_path / "own.yaml"
    path.write_text(text)
    assert load_space(path).text == text
    fixed = load_space(path, fixes=["search.trials=5"])
    assert parse_yaml(fixed.text, source="text")["search"]["trials"] == 5
    assert read_space(parse_yaml(fixed.text, source="text"), source="text").tree == fixed.tree


@pytest.mark.parametrize(
    ("fixes", "message"),
    [
        (["main_tsk=depth"], "unknown key 'main_tsk'; did you mean 'main_task'?"),
        (["training.epoch=3"], "unknown key 'training.epoch'; did you mean 'epochs'?"),
        (["search.sampelr=tpe"], "unknown key 'search.sampelr'; did you mean 'sampler'?"),
        (["training.epochs=many"], "training.epochs .*got 'many'"),
        (["adversary.epsilon=8"], r"epsilon must lie in \[0, 1\], got 8; did you mean 8/255"),
        (["adversary.epsilon={choice: [4/255, 8]}"], "epsilon must lie .* did you mean 8/255"),
        (
            ["training.learning_rate={uniform: [-1, 1]}"],
            "training.learning_rate .*(above|greater than) 0",
        ),
        (["auxiliary_tasks={subset: []}"], "auxiliary_tasks: .*at least one candidate"),
        (["auxiliary_tasks={subset: [depth, segmentation]}"], "must not name the main task"),
        (["auxiliary_tasks=[segmentation]"], "must not name the main task"),
        (["auxiliary_tasks=[[depth]]"], r"must be names of tasks, got \['depth'\] among them"),
        (["auxiliary_tasks={choice: [[[depth]]]}"], r"must be names of tasks, got \['depth'\]"),
        (["training.epochs=1e30"], "training.epochs"),
        (["model.width=100000000"], "model.width must be at most 4096, got 100000000"),
        (["search.trials=2000000"], "search.trials must be at most 1000000, got 2000000"),
        ([f"validation.epsilon={'9' * 400}/1"], "validation.epsilon must be a number"),
        (["auxiliary_tasks=depth"], r"a list of tasks or \{subset: \[...\]\}, got 'depth'"),
        (["search.trials=0"], "search.trials .*at least 1, got 0"),
        (["search={sampler: tpe}"], "search.trials is required"),
        (["main_task={choice: [a, b]}"], "main_task must be one value, got a distribution"),
        (["validation.epsilon={uniform: [0, 1]}"], "validation.epsilon must be one value"),
        (["dataset={name: nothing}"], "unknown dataset 'nothing'"),
        (["loss_weights={depth: 1}"], "loss_weights.edges is required"),
        (["loss_weights={albedo: 1}"], "loss_weights.albedo must belong to a candidate"),
        (["loss_weights={shared: '2'}"], "loss_weights.shared must be a number, got '2'"),
        (["loss_weights={shared: {choice: [1, true]}}"], "must be a number, got True"),
        (["adversary={epsilon: 0.1}"], "adversary.attack is required"),
        (["objectives=[]"], "objectives .*at least 1, got"),
        (["objectives=[{maximize: a, minimize: b}]"], r"must be \{maximize: metric\} or"),
        (["baseline={training: {learning_rat: 1}}"], "baseline: unknown key .*learning_rat"),
        (["baseline={main_task: depth}"], "baseline.main_task must not be set"),
        (["baseline={trainin: 3}"], "baseline.trainin must be a trial's key"),
        (["name=a/b"], "name: "),
    ],
)
def test_mistake_gets_one_line_that_names_the_key(
    make_space: Make, values: dict[str, Any], fixes: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make_space(*fixes)
    assert str(caught.value).startswith(f"--fix {fixes[0]}: ")
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=message) as caught:
        read_space(apply_fixes(values, fixes), source="little.yaml")
    assert str(caught.value).startswith("little.yaml: ")


@pytest.mark.parametrize(
    ("fixes", "origin"),
    [
        (["resources.workers=0", "search.trials=9"], "--fix resources.workers=0"),
        (["search.trials=9", "training.clip_norm=-1"], "--fix training.clip_norm=-1"),
        (["training.warmup_epochs=7", "training.epochs=4"], "--fix training.warmup_epochs=7"),
        (["training.epochs=0", "search.seed=-1"], "--fix search.seed=-1"),
        (["model.width=0", "model.width=-1"], "--fix model.width=-1"),
        (["model.width=0", "model.width=0"], "--fix model.width=0"),
    ],
)
def test_mistake_is_put_down_to_the_fix_it_comes_from(
    make_space: Make, fixes: list[str], origin: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make_space(*fixes)
    assert str(caught.value).startswith(f"{origin}: ")


def test_mistake_of_the_file_is_not_put_down_to_a_fix(
    make_space: Make, values: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=r"^little\.yaml: unknown key 'training\.epoch'"):
        make_space("search.trials=9", training={**values["training"], "epoch": 3})


def test_missing_required_keys_are_named(values: dict[str, Any]) -> None:
    for key in ("dataset", "main_task", "name", "objectives", "search"):
        without = {name: value for name, value in values.items() if name != key}
        with pytest.raises(ConfigError, match=f"{key} is required; add it"):
            read_space(without, source="little.yaml")


@pytest.mark.parametrize(
    ("fixes", "message"),
    [
        (["auxiliary_tasks={subset: [depth, dpeth]}"], "has no task 'dpeth'"),
        (["main_task=tree_count"], "has no task 'tree_count'"),
        (["model={backbone: resnet_smal}"], "unknown backbone 'resnet_smal'; did you mean"),
        (["model={backbone: {choice: [resnet_small, vgg]}}"], "unknown backbone 'vgg'"),
        (["objectives=[{maximize: segmentation/robust/iou}]"], "got 'segmentation/robust/iou'"),
        (["objectives=[{minimize: segmentation/robust/miou}]"], "objectives must maximize"),
        (
            ["training.step=nonsense"],
            r"unknown training\.step 'nonsense'; choose one of: alternating, auto, jacobian, ",
        ),
        (
            ["training.weighting=upgrad", "adversary.method=trades"],
            "^adversary.method 'trades' and a training.weighting that combines gradients must not "
            "be set together, got weighting 'upgrad'; choose method adversarial, or weighting",
        ),
        (["training.weighting=nonsense"], r"unknown training\.weighting 'nonsense'"),
        (["training.step=jacobian"], "must be 'jacobian' where training.weighting combines"),
        (["training.step=trades"], "must be 'trades' where adversary.method is 'trades'"),
        (["validation.split=confirm"], r"validation\.split must be validation in a space"),
        (["objectives=[{maximize: depth/robust/abs_rel}]"], "a score of the main task"),
        (
            [
                "objectives=[{maximize: segmentation/robust/miou}, "
                "{maximize: segmentation/robust/miou}]"
            ],
            "each metric once",
        ),
    ],
)
def test_names_are_checked_before_anything_runs(
    make_space: Make, fixes: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_names(make_space(*fixes))


@pytest.mark.parametrize(
    ("training", "search", "rungs"),
    [
        ("epochs: 9", "", (6,)),
        ("epochs: 2", "", ()),
        ("epochs: 4, schedule: one_cycle", "", (3,)),
        ("epochs: 9, schedule: constant", "", (1, 2, 4, 8)),
        ("epochs: 9, schedule: {choice: [constant, cosine]}", "", (1, 2, 4, 8)),
        ("epochs: 9", "grace_epochs: 2", (2, 4, 8)),
    ],
)
def test_the_first_rung_comes_once_the_learning_rate_has_fallen(
    make_space: Make, training: str, search: str, rungs: tuple[int, ...]
) -> None:
    space = make_space(
        f"training={{{training}}}", f"search={{trials: 4, scheduler: asha, reduction: 2, {search}}}"
    )
    assert space.rungs == rungs


def test_space_describes_itself(make_space: Make) -> None:
    assert make_space().describe() == (
        "8 trials by random, main task segmentation, 3 candidate auxiliary tasks, 5 searched keys"
    )
    fixes = ["search.trials=1", "auxiliary_tasks=[depth]", "loss_weights=1", "training.epochs=1"]
    only = make_space(*fixes, "adversary={attack: pgd, epsilon: {choice: [2/255, 4/255]}}")
    assert only.describe().startswith("1 trial by random, main task segmentation, 1 candidate aux")


@pytest.mark.parametrize("name", sorted(list_spaces()))
def test_every_shipped_space_is_read(name: str) -> None:
    space = load_space(name)
    assert space.name == name
    assert parse_yaml(space.text, source=name)["description"]


def test_unknown_space_is_met_with_the_nearest_name() -> None:
    with pytest.raises(DataError, match="did you mean 'smoke'"):
        load_space("smoek")
