"""Which trial wins, the rule in words, and the constraint on the clean score."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from taskgroup.results.records import EpochRow, Stage, Status, TrialResult
from taskgroup.study.objectives import StudyObjective, objective_gains
from taskgroup.study.selection import (
    Limit,
    clean_limit,
    clean_objective,
    infeasible_trials,
    natural_baseline,
    rank_trials,
    select_best,
    selection_rule,
    study_limits,
)

ROBUST = StudyObjective("segmentation/robust/miou")
CLEAN = StudyObjective("segmentation/clean/miou")
ERROR = StudyObjective("depth/robust/abs_rel", "minimize")


def trial(
    number: int,
    metrics: Mapping[str, float],
    *,
    auxiliary: tuple[str, ...] = (),
    status: Status = "complete",
) -> TrialResult:
    return TrialResult(
        number=number,
        label=f"trial {number}",
        role="searched",
        config={},
        parameters={},
        main_task="segmentation",
        auxiliary_tasks=auxiliary,
        output_dimension=1,
        status=status,
        epochs=(EpochRow(1, dict.fromkeys(metrics, 0.0), 1.0, 0), EpochRow(2, metrics, 1.0, 0)),
    )


def scored(number: int, robust: float, clean: float = 0.5, **kwargs: object) -> TrialResult:
    metrics = {ROBUST.metric: robust, CLEAN.metric: clean}
    return trial(number, metrics, **kwargs)  # type: ignore[arg-type]


class TestObjective:
    def test_last_epoch_counts(self) -> None:
        assert ROBUST.value(scored(0, 0.3)) == 0.3

    def test_less_is_more_when_minimised(self) -> None:
        assert ERROR.gain(trial(0, {ERROR.metric: 0.2})) == -0.2
        assert ERROR.value(trial(0, {ERROR.metric: 0.2})) == 0.2

    def test_gains_of_all_trials(self) -> None:
        gains = objective_gains([scored(0, 0.3), trial(1, {ERROR.metric: 0.2})], [ROBUST, ERROR])
        np.testing.assert_array_equal(gains, [[0.3, np.nan], [np.nan, -0.2]])

    def test_gains_of_no_trial(self) -> None:
        assert objective_gains([], [ROBUST, CLEAN]).shape == (0, 2)


class TestSelection:
    def test_highest_first_objective_wins(self) -> None:
        trials = [scored(0, 0.3, 0.9), scored(1, 0.4, 0.1), scored(2, 0.2, 0.95)]
        assert select_best(trials, [ROBUST, CLEAN]) is trials[1]

    def test_lowest_wins_when_minimised(self) -> None:
        trials = [trial(n, {ERROR.metric: value}) for n, value in enumerate((0.3, 0.1, 0.2))]
        assert select_best(trials, [ERROR]) is trials[1]

    def test_tie_goes_to_fewer_tasks_then_to_the_lower_number(self) -> None:
        trials = [
            scored(0, 0.4, auxiliary=("depth", "normals")),
            scored(3, 0.4, auxiliary=("edges",)),
            scored(2, 0.4, auxiliary=("depth",)),
        ]
        assert select_best(trials, [ROBUST]) is trials[2]
        assert select_best(trials[::-1], [ROBUST]) is trials[2]

    @pytest.mark.parametrize("status", ["pruned", "failed", "interrupted"])
    def test_only_complete_trials_count(self, status: Status) -> None:
        trials = [scored(0, 0.9, status=status), scored(1, 0.1)]
        assert select_best(trials, [ROBUST]) is trials[1]

    @pytest.mark.parametrize("stage", ["proxy", "confirm"])
    def test_other_stages_never_win(self, stage: Stage) -> None:
        trials = [replace(scored(0, 0.9), stage=stage), scored(1, 0.1)]
        assert select_best(trials, [ROBUST]) is trials[1]
        assert rank_trials(trials[:1], [ROBUST]) == trials[:1], "but can be ranked by themselves"

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_trial_without_a_number_is_out(self, value: float) -> None:
        trials = [scored(0, value), scored(1, 0.1), trial(2, {CLEAN.metric: 0.9})]
        assert select_best(trials, [ROBUST]) is trials[1]

    def test_no_trial_no_winner(self) -> None:
        assert select_best([], [ROBUST]) is None
        assert select_best([scored(0, 0.5, status="failed")], [ROBUST]) is None

    def test_limit_on_the_clean_drop(self) -> None:
        trials = [scored(0, 0.4, clean=0.60), scored(1, 0.3, clean=0.68)]
        limit = Limit(CLEAN, reference=0.7, max_drop=0.05)
        assert select_best(trials, [ROBUST], limits=[limit]) is trials[1]
        assert select_best(trials, [ROBUST], limits=[Limit(CLEAN, 0.7, 0.2)]) is trials[0]
        assert select_best(trials, [ROBUST], limits=[Limit(CLEAN, 0.9, 0.01)]) is None

    def test_limit_on_an_error(self) -> None:
        limit = Limit(ERROR, reference=0.1, max_drop=0.05)
        assert limit.allows(trial(0, {ERROR.metric: 0.14}))
        assert not limit.allows(trial(0, {ERROR.metric: 0.16}))
        assert not limit.allows(scored(0, 0.9))

    def test_rule_in_words(self) -> None:
        assert selection_rule([ROBUST, CLEAN], limits=[Limit(CLEAN, 0.7, 0.05)]) == (
            "complete trials; segmentation/clean/miou at most 5.0 points worse than 70.0 %; "
            "highest segmentation/robust/miou; ties: fewer tasks, then lower trial number"
        )
        assert "lowest depth/robust/abs_rel" in selection_rule([ERROR])


ROBUST = StudyObjective("segmentation/robust/miou")
CLEAN = StudyObjective("segmentation/clean/miou")
ATTACKED = {"adversary": {"attack": "pgd"}}


def traded(number: int, robust: float, clean: float) -> TrialResult:
    rows = (EpochRow(1, {ROBUST.metric: robust, CLEAN.metric: clean}, 1.0, 1),)
    return TrialResult(
        number=number, label="x", role="searched", config=ATTACKED, parameters={},
        main_task="segmentation", auxiliary_tasks=("depth",), output_dimension=1,
        status="complete", epochs=rows, planned_epochs=1,
    )  # fmt: skip


NATURAL = replace(traded(0, 0.0, 0.8), role="baseline", config={}, auxiliary_tasks=())
ADVERSARIAL = replace(traded(1, 0.4, 0.7), role="baseline", auxiliary_tasks=())
TRIALS = [NATURAL, ADVERSARIAL, traded(2, 0.5, 0.6), traded(3, 0.45, 0.78)]


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
