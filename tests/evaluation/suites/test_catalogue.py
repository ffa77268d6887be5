"""Which conditions a network is scored under."""

import math

import pytest

from taskgroup.attacks.base import ThreatModel
from taskgroup.attacks.compatibility import check_norm
from taskgroup.errors import ConfigError
from taskgroup.evaluation.suites.catalogue import (
    full_balls,
    suite_conditions,
)
from taskgroup.evaluation.suites.conditions import sweep_radii
from taskgroup.evaluation.suites.strong import SUITES, kind_of, strong_conditions
from taskgroup.tasks.base import TaskInfo, build_task
from taskgroup.wording import condition_name

LINF = ThreatModel(norm="linf", epsilon=4 / 255)
SEGMENTATION = build_task(TaskInfo("segmentation", num_classes=5))
CLASSIFICATION = build_task(TaskInfo("classification", num_classes=10))
DEPTH = build_task(TaskInfo("depth"))
NUMBERS = 3 * 16 * 16


def conditions(suite="quick", threat=LINF, attacked=("segmentation", "depth"), main=SEGMENTATION):
    return suite_conditions(suite, threat, main, attacked, num_pixels=NUMBERS)


def test_the_quick_list_is_the_published_one():
    rows = [(c.name, c.perturbation.row()) for c in conditions()]
    listed = [
        (name, r.attack, round(r.epsilon * 255, 6), r.steps, r.restarts, r.attacked_tasks)
        for name, r in rows
    ]
    main, both = ("segmentation",), ("segmentation", "depth")
    assert listed == [
        ("clean", "", 0, 0, 0, ()),
        ("noise", "noise", 4, 0, 1, main),
        ("fgsm", "fgsm", 4, 1, 1, main),
        ("square", "square", 4, 100, 1, main),
        ("tempered", "tempered", 4, 50, 1, main),
        ("apgd_tasks", "apgd", 4, 20, 1, both),
        ("sweep", "", 0, 0, 0, ()),
        ("sweep", "apgd", 2, 20, 1, main),
        ("sweep", "apgd", 4, 20, 1, main),
        ("sweep", "apgd", 8, 20, 1, main),
        ("sweep", "apgd", 16, 20, 1, main),
        ("sweep", "apgd", 255, 20, 1, main),
    ]
    (several,) = [c for c in conditions() if c.role == "tasks"]
    assert several.perturbation.combine == "relative"


EFFORTS = [  # kind, quick, standard, full
    (
        SEGMENTATION,
        "dense",
        [("tempered", 50)],
        [("tempered", 300), ("sea", 300)],
        [
            *(("tempered", 300), ("sea", 300), ("segpgd", 100), ("cospgd", 100)),
            *(("padam_ce", 200), ("padam_cos", 200)),
        ],
    ),
    (
        CLASSIFICATION,
        "classification",
        [("apgd_targeted", 25)],
        [("autoattack", 100)],
        [("autoattack", 100)],
    ),
    (
        DEPTH,
        "regression",
        [("apgd_metrics", 50)],
        [("apgd_metrics", 300)],
        [("apgd_metrics", 300)],
    ),
]


def strong(suite, threat, task):
    """Attacks and steps of every strong condition, which must be in the suite, too."""
    found = strong_conditions(suite, threat, task)
    listed = suite_conditions(suite, threat, task, (task.name,), num_pixels=NUMBERS)
    assert [c for c in listed if c.role == "strong"][: len(found)] == list(found)
    assert all(c.perturbation.attacked_tasks == (task.name,) for c in found)
    return [(c.name, c.perturbation.budget.steps) for c in found]


@pytest.mark.parametrize(("task", "kind", "quick", "standard", "full"), EFFORTS)
def test_each_kind_of_task_is_attacked_its_own_way(task, kind, quick, standard, full):
    assert kind_of(task) == kind
    assert strong("quick", LINF, task) == strong("mtrobust", LINF, task) == quick
    assert strong("standard", LINF, task) == standard
    assert strong("full", LINF, task) == full


@pytest.mark.parametrize("suite", ["quick", "standard", "full", "mtrobust"])
@pytest.mark.parametrize("task", [SEGMENTATION, CLASSIFICATION, DEPTH], ids=lambda t: t.name)
def test_an_l1_ball_has_what_has_a_step_for_it(suite, task):
    ball = ThreatModel(norm="l1", epsilon=12)
    found = conditions(suite, ball, attacked=(task.name, "normals"), main=task)
    attacks = [c.perturbation for c in found if c.perturbation.budget.norm == "l1"]
    for attack in attacks:
        if attack.attack is not None:
            check_norm(attack.attack, attack.budget)
    names = {c.name for c in found}
    assert "square" not in names
    main = {"segmentation": "sea", "classification": "apgd_targeted", "depth": "apgd_metrics"}
    assert {"clean", "noise", "fgsm", "apgd_tasks", "sweep", main[task.name]} <= names
    sweep = [c.perturbation.budget.epsilon for c in found if c.name == "sweep"]
    assert sweep == [0, 6, 12, 24, 48, NUMBERS]


def test_a_single_class_is_refused_before_anything_runs():
    alone = build_task(TaskInfo("classification", num_classes=1))
    for suite in SUITES:
        with pytest.raises(ConfigError, match=r"needs at least 2 classes, got 1"):
            conditions(suite, attacked=("classification",), main=alone)


def test_mtrobust_adds_the_attacks_of_the_published_tables():
    quick = conditions()
    added = [c for c in conditions("mtrobust") if c not in quick and c.role == "strong"]
    named = [("bim", 3), ("pgd", 10), ("pgd", 20), ("pgd", 50), ("pgd", 100), ("mim", 20)]
    assert [(c.name, c.perturbation.budget.steps) for c in added] == [*named, ("houdini", 20)]
    assert {c.perturbation.budget.step_size for c in added} == {1 / 255}
    assert {c.perturbation.attacked_tasks for c in added} == {("segmentation",)}
    assert set(quick) <= set(conditions("mtrobust"))
    depth = conditions("mtrobust", attacked=("depth",), main=DEPTH)
    assert "houdini" not in {c.name for c in depth}


def test_full_is_standard_in_several_balls():
    found = [c for c in conditions("full") if c.name == "tempered"]
    radii = [(c.perturbation.budget.norm, c.perturbation.budget.epsilon) for c in found]
    scaled = 0.25 * math.sqrt(NUMBERS / 3072)
    assert [norm for norm, _ in radii] == ["linf"] * 3 + ["l2"] * 3
    assert [radius for _, radius in radii] == pytest.approx(
        [4 / 255, 2 / 255, 8 / 255, scaled, scaled / 2, scaled * 2]
    )
    several = [c for c in conditions("full") if c.role == "tasks"]
    assert len(several) == 5 * 6
    assert {c.perturbation.combine for c in several} == {
        "relative",
        "sum",
        "unit_gradient",
        "loss_ratio",
        "worst_task",
    }
    for norm, radius in (("l2", 0.5), ("l1", 12)):
        other = full_balls(ThreatModel(norm=norm, epsilon=radius), 3072)[3]
        assert (other.norm, other.epsilon) == ("linf", pytest.approx(8 / 255))
    assert full_balls(ThreatModel(norm="l1", epsilon=48), 4 * 3072)[3].epsilon == pytest.approx(
        8 / 255
    )


def test_standard_combines_tasks_in_every_way_but_the_published_one():
    several = [c for c in conditions("standard") if c.role == "tasks"]
    assert [(c.name, c.perturbation.combine) for c in several] == [
        ("apgd_tasks", "relative"),
        ("apgd_tasks_sum", "sum"),
        ("apgd_tasks_unit_gradient", "unit_gradient"),
        ("apgd_tasks_worst_task", "worst_task"),
    ]


@pytest.mark.parametrize("suite", SUITES)
def test_evaluation_keeps_the_worst_iterate(suite):
    for condition in conditions(suite):
        attack = condition.perturbation
        if condition.role != "known_bugs":
            assert attack.budget.keep == "best"
        assert attack.row().steps == 0 or attack.attack is not None
        if attack.attack in ("apgd", "sea", "tempered"):
            assert attack.budget.random_start


@pytest.mark.parametrize("epsilon", [0, 1 / 255, 0.3, 1.0])
def test_radii_rise_and_end_where_every_image_is_in_reach(epsilon):
    radii = sweep_radii(ThreatModel(norm="linf", epsilon=epsilon), num_pixels=768)
    assert list(radii) == sorted(set(radii))
    assert radii[0] == 0
    assert radii[-1] == 1
    far = sweep_radii(ThreatModel(norm="l2", epsilon=epsilon), num_pixels=768)
    assert far[-1] == math.sqrt(768)


def test_one_task_alone_is_not_attacked_together():
    found = conditions("full", attacked=("segmentation",))
    assert not [c for c in found if c.role == "tasks"]
    work = {c.name: c.work for c in conditions() if not c.perturbation.budget.epsilon}
    assert work["clean"] == work["sweep"]


def test_released_attacks_stand_beside_the_right_ones_and_count_for_nothing():
    released = [c for c in conditions("mtrobust_seed") if c.role == "known_bugs"]
    main, both = ("segmentation",), ("segmentation", "depth")
    assert [(c.name, c.perturbation.attack, c.perturbation.attacked_tasks) for c in released] == [
        ("pgd_seed", "pgd", main),
        ("mim_seed", "mim_seed", main),
        ("houdini_seed", "houdini_seed", main),
        ("mtrobust_pgd", "mtrobust_pgd", main),
        ("mtrobust_mim", "mtrobust_mim", main),
        ("mtrobust_houdini", "mtrobust_houdini", main),
        ("pgd_seed_tasks", "pgd", both),
        ("mim_seed_tasks", "mim_seed", both),
        ("mtrobust_pgd_tasks", "mtrobust_pgd", both),
        ("mtrobust_mim_tasks", "mtrobust_mim", both),
    ]
    assert {c.perturbation.combine for c in released} == {"sum"}
    budgets = [c.perturbation.budget for c in released]
    assert {(b.steps, b.step_size) for b in budgets} == {(20, 1 / 255)}
    assert all(b.seed_compatible and b.keep == "last" for b in budgets)
    assert not any(c.is_inside(LINF) for c in released)
    others = [c for c in conditions("mtrobust_seed") if c.role != "known_bugs"]
    assert others == list(conditions("mtrobust"))


def test_released_attacks_know_one_norm_and_houdini_one_kind_of_task():
    attacks = {c.perturbation.attack for c in conditions("mtrobust_seed", main=DEPTH)}
    assert {"pgd", "mtrobust_pgd"} <= attacks
    assert not any("houdini" in str(attack) for attack in attacks)
    alone = conditions("mtrobust_seed", attacked=("segmentation",))
    assert not any(len(c.perturbation.attacked_tasks) > 1 for c in alone)
    with pytest.raises(ConfigError, match=r"suite 'mtrobust_seed' must go with norm linf, got l2"):
        conditions("mtrobust_seed", threat=ThreatModel(norm="l2", epsilon=0.5))


def test_the_published_attacks_are_run_on_several_tasks_too():
    several = [
        c for c in conditions("mtrobust") if c.role == "tasks" and c.perturbation.attack != "apgd"
    ]
    pgd = [("pgd_tasks", "pgd", steps) for steps in (10, 20, 50, 100)]
    assert [(c.name, c.perturbation.attack, c.perturbation.row().steps) for c in several] == [
        ("fgsm_tasks", "fgsm", 1),
        ("bim_tasks", "bim", 3),
        *pgd,
        ("mim_tasks", "mim", 20),
    ]
    assert {c.perturbation.combine for c in several} == {"sum"}
    once, *others = [c.perturbation.budget for c in several]
    assert (once.step_size, once.random_start) == (None, False)
    assert {budget.step_size for budget in others} == {1 / 255}
    assert {c.perturbation.attacked_tasks for c in several} == {("segmentation", "depth")}
    alone = conditions("mtrobust", attacked=("segmentation",))
    assert not any(c.role == "tasks" for c in alone)


def test_every_condition_has_a_name_of_its_own_for_readers():
    """A bare attack name in a table would not say how many tasks are attacked, or how."""
    names = {c.name for c in conditions("mtrobust_seed")}
    shown = {name: condition_name(name) for name in names}
    assert len(set(shown.values())) == len(names)
    assert all("_" not in text for text in shown.values())
    assert len({condition_name(c.name) for c in conditions("full")}) == len(
        {c.name for c in conditions("full")}
    )
    for name in names:
        assert name.endswith("_tasks") == shown[name].endswith("on several tasks")
