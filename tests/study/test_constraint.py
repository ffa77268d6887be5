"""The constraint on the clean score: its reference, its limit, who exceeds it."""

from dataclasses import replace

import pytest

from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.study.constraint import (
    clean_limit,
    clean_objective,
    infeasible_trials,
    natural_baseline,
    study_limits,
)
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.selection import select_best

ROBUST = StudyObjective("segmentation/robust/miou")
CLEAN = StudyObjective("segmentation/clean/miou")
ATTACKED = {"adversary": {"attack": "pgd"}}


def trial(number: int, robust: float, clean: float) -> TrialResult:
    rows = (EpochRow(1, {ROBUST.metric: robust, CLEAN.metric: clean}, 1.0, 1),)
    return TrialResult(
        number=number, label="x", role="searched", config=ATTACKED, parameters={},
        main_task="segmentation", auxiliary_tasks=("depth",), output_dimension=1,
        status="complete", epochs=rows, planned_epochs=1,
    )  # fmt: skip


NATURAL = replace(trial(0, 0.0, 0.8), role="baseline", config={}, auxiliary_tasks=())
ADVERSARIAL = replace(trial(1, 0.4, 0.7), role="baseline", auxiliary_tasks=())
TRIALS = [NATURAL, ADVERSARIAL, trial(2, 0.5, 0.6), trial(3, 0.45, 0.78)]


def test_reference_is_the_main_task_alone_without_attacks() -> None:
    assert natural_baseline(TRIALS[::-1]) == NATURAL
    assert natural_baseline(TRIALS[1:]) is None


def test_clean_score_is_that_of_the_objectives() -> None:
    accuracy = StudyObjective("segmentation/clean/pixel_accuracy")
    assert clean_objective([ROBUST, accuracy]) == accuracy
    assert clean_objective([ROBUST]) == CLEAN
    error = StudyObjective("depth/robust/abs_rel", "minimize")
    assert clean_objective([error]) == StudyObjective("depth/clean/abs_rel", "minimize")


def test_infeasible_trials_never_win() -> None:
    limits = study_limits(TRIALS, [ROBUST], 0.05)
    assert [t.number for t in infeasible_trials(TRIALS, limits)] == [1, 2]
    best = select_best(TRIALS, [ROBUST], limits=limits)
    assert best is not None
    assert best.number == 3
    assert limits[0].drop(TRIALS[2]) == pytest.approx(0.2)
    assert limits[0].excess(TRIALS[2]) == pytest.approx(0.15)


def test_no_drop_at_all_still_allows_the_baseline() -> None:
    limits = study_limits(TRIALS, [ROBUST], 0.0)
    assert [t.number for t in infeasible_trials(TRIALS, limits)] == [1, 2, 3]


@pytest.mark.parametrize("status", ["interrupted", "failed", "pruned"])
def test_no_limit_before_the_baseline_is_complete(status: str) -> None:
    trials = [replace(NATURAL, status=status), *TRIALS[1:]]
    assert study_limits(trials, [ROBUST], 0.05) == ()
    assert clean_limit(trials, [ROBUST], 0.05) is None
    assert study_limits(TRIALS, [ROBUST], None) == ()


def test_reference_of_another_stage_is_no_reference() -> None:
    trials = [replace(NATURAL, stage="proxy"), *TRIALS[1:]]
    assert study_limits(trials, [ROBUST], 0.05) == ()
    assert len(study_limits(trials, [ROBUST], 0.05, stage="proxy")) == 1


def test_baseline_without_a_finite_score_sets_no_limit() -> None:
    rows = (EpochRow(1, {ROBUST.metric: 0.1, CLEAN.metric: float("nan")}, 1.0, 1),)
    assert clean_limit([replace(NATURAL, epochs=rows)], [ROBUST], 0.1) is None


def test_pruned_trials_are_not_judged() -> None:
    limits = study_limits(TRIALS, [ROBUST], 0.05)
    assert infeasible_trials([replace(TRIALS[2], status="pruned")], limits) == []
