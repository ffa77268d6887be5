"""Which conditions a network is scored under."""

import math

import pytest

from taskgroup.attacks.base import ThreatModel
from taskgroup.evaluation.conditions import standard_conditions, sweep_radii

LINF = ThreatModel(norm="linf", epsilon=4 / 255)


def conditions(threat=LINF, task_set=("segmentation", "depth")):
    return standard_conditions(threat, "segmentation", task_set, num_pixels=768)


def test_the_list_is_the_published_one():
    listed = [
        (c.name, c.attack, round(c.budget.epsilon * 255, 6), c.steps, c.restarts, c.attacked_tasks)
        for c in conditions()
    ]
    main, both = ("segmentation",), ("segmentation", "depth")
    assert listed == [
        ("clean", None, 0, 0, 0, ()),
        ("noise", "noise", 4, 0, 1, main),
        ("fgsm", "fgsm", 4, 1, 1, main),
        ("pgd", "pgd", 4, 20, 5, main),
        ("pgd_all", "pgd", 4, 20, 5, both),
        ("sweep", None, 0, 0, 0, ()),
        ("sweep", "pgd", 2, 20, 1, main),
        ("sweep", "pgd", 4, 20, 1, main),
        ("sweep", "pgd", 8, 20, 1, main),
        ("sweep", "pgd", 16, 20, 1, main),
        ("sweep", "pgd", 255, 20, 1, main),
    ]


def test_evaluation_keeps_the_worst_iterate_and_starts_at_random():
    for condition in conditions():
        assert condition.budget.keep == "best"
        if condition.attack == "pgd":
            assert condition.budget.random_start


@pytest.mark.parametrize("epsilon", [0, 1 / 255, 0.3, 1.0])
def test_radii_rise_and_end_where_every_image_is_in_reach(epsilon):
    radii = sweep_radii(ThreatModel(norm="linf", epsilon=epsilon), num_pixels=768)
    assert list(radii) == sorted(set(radii))
    assert radii[0] == 0
    assert radii[-1] == 1
    far = sweep_radii(ThreatModel(norm="l2", epsilon=epsilon), num_pixels=768)
    assert far[-1] == math.sqrt(768)


def test_one_task_alone_is_attacked_once():
    work = [condition.work for condition in conditions(task_set=("segmentation",))]
    names = [condition.name for condition in conditions(task_set=("segmentation",))]
    assert work[names.index("pgd")] == work[names.index("pgd_all")]
    assert work[names.index("clean")] == work[names.index("sweep")]
