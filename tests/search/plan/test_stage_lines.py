"""What a terminal says of the other stages, and that only a confirmation says a task set helps."""

import re
from dataclasses import replace
from typing import Any

import pytest

from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.answer.stage_lines import confirm_lines, proxy_lines, stage_counts
from taskgroup.search.answer.summary import StudyResult
from taskgroup.study.objectives import StudyObjective

ROBUST = StudyObjective("segmentation/robust/miou")


def result(run: RunDirectory, trials: list[TrialResult]) -> StudyResult:
    return StudyResult(run, (ROBUST,), tuple(trials), len(trials), 1.0)


def rescored(trials: list[TrialResult], gain: float) -> list[TrialResult]:
    """Confirmations in which auxiliary tasks gain so much, give or take a hundredth by seed."""

    def score(trial: TrialResult) -> float:
        noise = 0.01 * (trial.seed % 2)
        return 0.3 + noise * bool(trial.auxiliary_tasks) + gain * bool(trial.auxiliary_tasks)

    return [
        replace(trial, epochs=(EpochRow(1, {ROBUST.metric: score(trial)}, 1.0, 0),))
        if trial.stage == "confirm"
        else trial
        for trial in trials
    ]


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        (0.2, "depth, edges and normals help segmentation"),
        (-0.2, "depth, edges and normals hurt segmentation"),
        (0.0, "no evidence that depth, edges and normals help segmentation"),
    ],
)
def test_verdict_follows_the_interval(
    searched: list[TrialResult], run: RunDirectory, gain: float, verdict: str
) -> None:
    text = result(run, rescored(searched, gain)).summary()
    assert verdict in text
    assert "not confirmed" not in text
    assert "the same recipe and seeds" in text
    assert "mean of 2 seeds (95 % t interval over seeds)" in text


def test_only_a_confirmation_says_that_a_task_set_helps(
    searched: list[TrialResult], run: RunDirectory
) -> None:
    unconfirmed = [trial for trial in searched if trial.stage != "confirm"]
    text = result(run, unconfirmed).summary()
    assert " help" not in text
    assert "not confirmed: one seed" in text
    assert f"taskgroup confirm {run.path}" in text
    assert confirm_lines(unconfirmed, [ROBUST]) == []


def test_stages_are_counted_apart(searched: list[TrialResult], run: RunDirectory) -> None:
    assert stage_counts(searched) == "8 on the stand-in, 5 in the search, 10 to confirm"
    assert stage_counts([t for t in searched if t.stage == "search"]) == ""
    assert "Done: 23 of 23 trials (23 complete" in result(run, searched).summary()


def test_proxy_reports_its_rank_correlation(searched: list[TrialResult]) -> None:
    _, line = proxy_lines(searched, ROBUST)
    assert line.startswith("Proxy against real setting, segmentation/robust/miou: Spearman")
    assert line.endswith("over 5 trials")
    few = [t for t in searched if t.stage == "proxy" or t.role == "baseline"]
    assert proxy_lines(few, ROBUST)[1].endswith("over 3 trials, too few for an interval")
    assert proxy_lines([t for t in searched if t.stage != "proxy"], ROBUST) == []


def test_machines_get_the_same(searched: list[TrialResult], run: RunDirectory) -> None:
    told: dict[str, Any] = result(run, rescored(searched, 0.2)).to_json()
    assert told["confirmed"] is True
    assert told["proxy_agreement"]["trials"] == 5
    verdicts = {found["label"]: found["verdict"] for found in told["confirmation"]}
    assert verdicts["main only, adversarial"] is None
    assert verdicts["all candidates, equal weights"] == "helps"


def test_best_recipe_without_auxiliary_tasks_stands_beside(searched: list[TrialResult]) -> None:
    best = next(t for t in searched if t.stage == "confirm" and t.role == "searched")
    lines = confirm_lines(searched, [ROBUST])
    mean = rf"  {re.escape(best.label)} \(trial {best.parent}\): \d\d\.\d % \(.+\)"
    assert any(re.fullmatch(mean, line) for line in lines)
    assert lines[-1].startswith("  best without auxiliary tasks: main only")
