"""The suite that confirmations are scored with: who is scored, and what a reader is told."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from taskgroup.config import parse
from taskgroup.errors import ConfigError
from taskgroup.results.records import EvaluationRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.answer.summary import StudyResult
from taskgroup.search.plan.confirm import score_confirmations
from taskgroup.search.plan.preflight import check_names
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.search.space.study_config import ConfirmConfig
from taskgroup.study.objectives import StudyObjective

ROBUST = StudyObjective("segmentation/robust/miou")
MARK = "gradient masking suspected: noise beats the attack"


def row(trial: TrialResult, score: float) -> EvaluationRow:
    return EvaluationRow(
        trial=trial.number, label=trial.label, role="other", condition="worst_case",
        attacked_tasks=("segmentation",), norm="linf", epsilon=8 / 255, steps=300, restarts=1,
        task="segmentation", score_name="miou", direction="maximize", score=score, low=0.0,
        high=1.0, images=64, seed=0, verdict="ok", seconds=1.0, suite="standard", split="confirm",
    )  # fmt: skip


def result(run: RunDirectory, trials: list[TrialResult], **changes: Any) -> StudyResult:
    made = StudyResult(run, (ROBUST,), tuple(trials), len(trials), 1.0)
    return replace(made, **changes)


@pytest.fixture
def rows(searched: list[TrialResult]) -> list[EvaluationRow]:
    confirmed = [trial for trial in searched if trial.stage == "confirm"]
    return [row(t, 0.1 + 0.05 * bool(t.auxiliary_tasks) + t.seed / 1e5) for t in confirmed]


def test_the_answer_gives_the_suites_scores(
    searched: list[TrialResult], run: RunDirectory, rows: list[EvaluationRow]
) -> None:
    text = result(run, searched, evaluations=tuple(rows)).summary()
    assert "the worst of all attacks of suite standard on each of 64 images" in text
    assert "main only, natural (trial 8): 11.0 %" in text
    told = result(run, searched, evaluations=tuple(rows)).to_json()
    assert (told["confirm_suite"], told["confirm_images"]) == ("standard", 64)
    without = result(run, searched).summary()
    assert "under the validation attack, as in the search" in without
    assert result(run, searched).to_json()["confirm_suite"] is None


def test_what_is_not_scored_is_said(
    searched: list[TrialResult], run: RunDirectory, rows: list[EvaluationRow]
) -> None:
    text = result(run, searched, evaluations=tuple(rows[:-2])).summary()
    assert "2 confirmations are not scored by suite standard yet and left out" in text
    assert f"taskgroup confirm {run.path}" in text
    problems = {rows[-1].trial: "its segmentation is NaN"}
    text = result(run, searched, evaluations=tuple(rows[:-2]), unscored=problems).summary()
    assert "1 confirmations are not scored" in text
    assert "1 could not be scored and are left out: its segmentation is NaN" in text


def test_a_suspicion_is_said(
    searched: list[TrialResult], run: RunDirectory, rows: list[EvaluationRow]
) -> None:
    marked = tuple(replace(one, verdict=MARK) for one in rows)
    assert MARK in result(run, searched, evaluations=marked).summary()


def test_every_complete_confirmation_is_tried(
    searched: list[TrialResult], run: RunDirectory
) -> None:
    """These trials only pretended to train, so each of them lacks its network."""
    run.storage.write("space.yaml", b"objectives: [{maximize: segmentation/robust/miou}]")
    confirmed = {trial.number for trial in searched if trial.stage == "confirm"}
    problems = score_confirmations(run, ConfirmConfig())
    assert set(problems) == confirmed
    assert all("must have a checkpoint" in problem for problem in problems.values())
    assert score_confirmations(run, ConfirmConfig(suite="none")) == {}


def test_standard_is_what_is_run_unless_told_otherwise(
    staged: Callable[..., SearchSpace],
) -> None:
    assert parse(ConfirmConfig, {}).suite == "standard"
    for fix, message in [
        ("search.confirm.suite=full", "search.confirm.suite"),
        ("search.confirm.images=0", "search.confirm.images must be at least 1"),
    ]:
        with pytest.raises(ConfigError, match=message):
            check_names(staged(fix))
