"""Baselines: which, in which order, with which values."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from taskgroup.search.plan.baselines import middle_trial, missing_baselines, plan_baselines
from taskgroup.search.space.search_space import SearchSpace

Make = Callable[..., SearchSpace]


def test_three_references_come_first(make_space: Make) -> None:
    natural, adversarial, everything = plan_baselines(make_space())
    assert [t.number for t in (natural, adversarial, everything)] == [0, 1, 2]
    assert {t.role for t in (natural, adversarial, everything)} == {"baseline"}
    assert (natural.label, natural.task_set, natural.is_adversarial) == (
        "main only, natural", ("segmentation",), False,
    )  # fmt: skip
    assert (adversarial.label, adversarial.task_set, adversarial.is_adversarial) == (
        "main only, adversarial", ("segmentation",), True,
    )  # fmt: skip
    assert everything.label == "all candidates, equal weights"
    assert everything.auxiliary_tasks == ("depth", "edges", "normals")
    assert everything.is_adversarial
    assert dict(everything.config["loss_weights"]) == pytest.approx(
        {"depth": 0.1, "edges": 0.1, "normals": 0.1}
    )
    assert everything.config["training"]["learning_rate"] == pytest.approx(10**-2.5)


def test_single_auxiliaries_follow_when_the_study_has_room(make_space: Make) -> None:
    assert len(plan_baselines(make_space("search.trials=14"))) == 3
    planned = plan_baselines(make_space("search.trials=15"))
    assert [t.label for t in planned[3:]] == [
        "segmentation+depth", "segmentation+edges", "segmentation+normals",
    ]  # fmt: skip


def test_few_trials_cut_the_baselines(make_space: Make) -> None:
    assert [t.label for t in plan_baselines(make_space("search.trials=1"))] == [
        "main only, natural"
    ]


def test_size_limits_do_not_hold_for_baselines(make_space: Make) -> None:
    limits = {"subset": ["depth", "normals", "edges"], "min_size": 1, "max_size": 2}
    planned = plan_baselines(make_space(auxiliary_tasks=limits))
    assert [len(t.auxiliary_tasks) for t in planned] == [0, 0, 3]


def test_baseline_section_replaces_middles(make_space: Make) -> None:
    space = make_space(
        baseline={"training": {"learning_rate": 0.5}, "loss_weights": 0.25, "seed": 3}
    )
    for planned in plan_baselines(space):
        assert planned.config["training"]["learning_rate"] == 0.5
        assert planned.config["seed"] == 3
    assert set(planned.config["loss_weights"].values()) == {0.25}


def test_natural_and_adversarial_are_pinned_where_the_space_searches_them(
    make_space: Make,
) -> None:
    space = make_space("adversary.attack={choice: [none, fgsm, pgd]}")
    natural, adversarial, everything = plan_baselines(space)
    assert natural.parameters["adversary.attack"] == "none"
    assert adversarial.parameters["adversary.attack"] == "fgsm"
    assert everything.parameters["adversary.attack"] == "fgsm"


def test_natural_space_borrows_the_threat_model_that_scores_it(make_space: Make) -> None:
    space = make_space(adversary={}, validation={"epsilon": "6/255", "steps": 2})
    natural, adversarial, everything = plan_baselines(space)
    assert [t.is_adversarial for t in (natural, adversarial, everything)] == [False, True, False]
    assert adversarial.config["adversary"]["epsilon"] == pytest.approx(6 / 255)


def test_weights_that_differ_by_task_meet_in_their_geometric_mean(make_space: Make) -> None:
    space = make_space(
        auxiliary_tasks=["depth", "edges"],
        loss_weights={"depth": {"choice": [0.1]}, "edges": {"choice": [0.4]}},
    )
    everything = plan_baselines(space)[2]
    assert dict(everything.config["loss_weights"]) == pytest.approx({"depth": 0.2, "edges": 0.2})


def test_study_without_candidates_has_two_baselines(make_space: Make) -> None:
    assert len(plan_baselines(make_space(auxiliary_tasks=[]))) == 2


def test_middle_trial_trains_every_candidate_against_the_attack(make_space: Make) -> None:
    config = middle_trial(make_space()).config
    assert config.auxiliary_tasks == ("depth", "edges", "normals")
    assert config.adversary.attack == "pgd"


def test_longer_study_gets_the_baselines_that_it_lacks(make_space: Make) -> None:
    first = plan_baselines(make_space())
    searched = [replace(first[2], number=number, role="searched") for number in (3, 4)]
    assert missing_baselines(make_space(), first) == []
    added = missing_baselines(make_space("search.trials=15"), [*first, *searched])
    assert [t.number for t in added] == [5, 6, 7]
    assert [t.label for t in added] == [
        "segmentation+depth", "segmentation+edges", "segmentation+normals",
    ]  # fmt: skip


def test_baselines_take_the_least_numbers_that_are_free(make_space: Make) -> None:
    planned = plan_baselines(make_space())
    assert missing_baselines(make_space(), []) == planned
    assert [t.number for t in missing_baselines(make_space(), planned[:1])] == [1, 2]
    assert [t.number for t in missing_baselines(make_space(), [], first_number=9)] == [9, 10, 11]
