"""The constraint, and the trust in rungs, as the report and the trial table tell them."""

from collections.abc import Callable

import pytest

from taskgroup.analysis.charts.rung_agreement import (
    collect_rung_agreement,
    rung_agreement_chart,
)
from taskgroup.analysis.report.headline import collect_headline
from taskgroup.analysis.tables.base import study_table
from taskgroup.results.records import TrialResult
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.study import Study

OBJECTIVES = (StudyObjective("segmentation/robust/miou"), StudyObjective("segmentation/clean/miou"))
MakeTrial = Callable[..., TrialResult]


@pytest.fixture
def constrained(make_trial: MakeTrial) -> Study:
    trials = (
        make_trial(0, clean=0.6, robust=0.0, epsilon=None, label="main only, natural"),
        make_trial(1, ("depth",), clean=0.4, robust=0.4),
        make_trial(2, ("edges",), clean=0.58, robust=0.3),
    )
    return Study("rooms", "rooms", "segmentation", OBJECTIVES, trials, max_clean_drop=0.05)


def test_infeasible_trial_does_not_win_and_says_why(constrained: Study) -> None:
    assert constrained.best is constrained.trials[2]
    (row,) = (row for row in study_table(constrained).rows if row.data["infeasible"])
    assert row.data["trial"] == 1
    assert row.cells[2] == "complete, infeasible: clean score 20.0 points worse"
    facts = dict(collect_headline(constrained).facts)
    assert facts["infeasible"] == "trial 1"
    assert (
        "segmentation/clean/miou at most 5.0 points worse than 60.0 %" in facts["winner chosen by"]
    )


def test_constraint_without_its_baseline_is_not_applied(make_trial: MakeTrial) -> None:
    trials = (make_trial(1, ("depth",), clean=0.4, robust=0.4),)
    study = Study("rooms", "rooms", "segmentation", OBJECTIVES, trials, max_clean_drop=0.05)
    assert study.best is trials[0]
    assert dict(collect_headline(study).facts)["constraint"].startswith("not applied")


def test_rank_agreement_has_every_epoch_before_the_last(make_trial: MakeTrial) -> None:
    trials = tuple(make_trial(n, ("depth",), robust=0.1 * n, clean=0.5) for n in range(5))
    study = Study("rooms", "rooms", "segmentation", OBJECTIVES, trials)
    ((title, line),) = collect_rung_agreement(study).lines
    assert title == "robust mIoU", "clean scores are all equal"
    assert [found.epoch for found in line] == list(range(1, 8))
    assert all(found.spearman.value == pytest.approx(1.0) for found in line)
    caption = rung_agreement_chart(study).caption
    assert "For comparison, final scores of 5 trials: standard deviation 15.8 points, " in caption
