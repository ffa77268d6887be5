"""The report on stand-ins and confirmations, and that charts of the search leave them out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from taskgroup.analysis.base import CHARTS
from taskgroup.analysis.report.build import render_report
from taskgroup.analysis.report.stage_sections import (
    confirm_table,
    confirmation_sentence,
    proxy_sentence,
    proxy_table,
)
from taskgroup.analysis.tables.base import study_table
from taskgroup.results.records import EvaluationRow, TrialResult
from taskgroup.study.study import Study

MakeTrial = Callable[..., TrialResult]


@pytest.fixture
def staged(make_run: Callable[..., Any], make_trial: MakeTrial) -> Study:
    """Two stand-ins, their trials in the real setting, and confirmations with three seeds."""

    def made(number: int, tasks: tuple[str, ...], robust: float, **changes: Any) -> TrialResult:
        seed = changes.pop("seed", 0)
        config = {
            "main_task": "segmentation", "auxiliary_tasks": list(tasks), "seed": seed,
            "loss_weights": dict.fromkeys(tasks, 0.1), "validation": {"attack": "pgd"},
            "adversary": {"attack": "pgd", "epsilon": 0.0157, "steps": 3},
        }  # fmt: skip
        return make_trial(number, tasks, robust=robust, config=config, seed=seed, **changes)

    trials = [
        made(0, (), 0.10, stage="proxy", label="main only, adversarial"),
        made(1, ("depth",), 0.90, stage="proxy"),
        made(2, (), 0.20, stage="search", parent=0, label="main only, adversarial"),
        made(3, ("depth",), 0.30, stage="search", parent=1),
    ]
    for seed in range(3):
        changes = {"stage": "confirm", "seed": 1000 + seed}
        trials.append(
            made(4 + 2 * seed, (), 0.20, parent=2, label="main only, adversarial", **changes)
        )
        trials.append(made(5 + 2 * seed, ("depth",), 0.25 + 0.01 * seed, parent=3, **changes))
    return Study.read(make_run(trials))


def suite_rows(
    staged: Study, score: Callable[[TrialResult], float], verdict: str = "ok"
) -> tuple[EvaluationRow, ...]:
    """What a suite leaves of the confirmations, with a verdict on those of several tasks."""
    rng = np.random.default_rng(0)
    return tuple(
        EvaluationRow(
            trial=trial.number, label=trial.label, role="other", condition="worst_case",
            attacked_tasks=(), norm="linf", epsilon=4 / 255, steps=300, restarts=1,
            task="segmentation", score_name="miou", direction="maximize", score=score(trial),
            low=0.0, high=1.0, images=64, seed=0, seconds=1.0, suite="standard", split="confirm",
            verdict=verdict if trial.auxiliary_tasks else "ok", constant=0.05,
            influences=tuple(rng.normal(0, 0.05, 64)),
        )
        for trial in staged.staged
        if trial.stage == "confirm"
    )  # fmt: skip


def alone_of(study: Study) -> Study:
    """The same without the trials of other stages."""
    return replace(study, trials=study.searched)


def test_charts_show_the_search_alone(staged: Study) -> None:
    assert [trial.number for trial in staged.searched] == [2, 3]
    assert staged.best is not None
    assert staged.best.number == 3
    for name in CHARTS.names():
        shown, alone = CHARTS[name](staged).figure, CHARTS[name](alone_of(staged)).figure
        assert (shown is None) == (alone is None)
        assert shown is None or alone is None or shown.to_json() == alone.to_json()


def test_confirmation_is_a_table_with_a_verdict(staged: Study) -> None:
    rows = suite_rows(staged, lambda trial: trial.score("segmentation/robust/miou") or 0.0)
    table = confirm_table(replace(staged, evaluations=rows))
    alone, depth = table.rows
    assert alone.cells[:2] == ("main only, adversarial (trial 2)", "3")
    assert depth.cells[0] == "segmentation+depth (trial 3)"
    assert depth.cells[2] == "26.0 % (23.0\N{EN DASH}29.0)"
    assert depth.cells[-2] == "+6.0 points (+3.3 to +8.7)"
    assert depth.cells[-1] == "depth helps segmentation"
    assert table.notes == (
        "Robust mIoU: the worst of all attacks of suite standard on each of 64 images; "
        "clean mIoU: without attack.",
        "Best recipe without auxiliary tasks: main only, adversarial, 20.0 %.",
    )


def test_report_says_confirmed_only_then(staged: Study) -> None:
    rows = suite_rows(staged, lambda trial: trial.score("segmentation/robust/miou") or 0.0)
    html = render_report(replace(staged, evaluations=rows))
    assert "depth helps segmentation" in html
    assert "Confirmation with several seeds" in html
    assert "Not confirmed" not in html
    searched = render_report(alone_of(staged))
    assert "helps" not in searched
    assert f"Run: taskgroup confirm {staged.place}" in searched
    assert confirmation_sentence(alone_of(staged)) is None


def test_report_compares_stand_ins_with_the_real_setting(staged: Study) -> None:
    table = proxy_table(staged)
    assert [row.cells for row in table.rows] == [
        ("segmentation+depth", "1", "90.0 %", "3", "30.0 %"),
        ("main only, adversarial", "0", "10.0 %", "2", "20.0 %"),
    ]
    assert proxy_sentence(staged).endswith("Spearman 1.00 over 2 trials, too few for an interval.")
    assert "Stand-in against real setting" in render_report(staged)


def test_trials_of_all_stages_are_listed_stage_by_stage(staged: Study) -> None:
    table = study_table(staged)
    assert table.columns[:3] == ("trial", "label", "stage")
    assert [row.cells[2] for row in table.rows] == ["search"] * 2 + ["confirm"] * 6 + ["proxy"] * 2
    assert [row.cells[0] for row in table.rows][:2] == ["3", "2"]
    assert "stage" not in study_table(alone_of(staged)).columns


def test_confirmation_by_a_suite_says_so_and_warns_in_red(staged: Study) -> None:
    masked = "gradient masking suspected: noise beats the attack"
    rows = suite_rows(staged, lambda trial: 0.1 + (trial.seed + trial.number % 3) / 1e5, masked)
    study = replace(staged, evaluations=rows)
    table = confirm_table(study)
    alone, depth = table.rows
    assert alone.cells[2].startswith("11.0 %")
    assert depth.cells[-1].startswith("no evidence that depth helps segmentation; gradient masking")
    assert (alone.alarms, depth.alarms) == (frozenset(), frozenset({len(depth.cells) - 1}))
    assert "the worst of all attacks of suite standard on each of 64 images" in table.notes[0]
    html = render_report(study)
    assert '<span class="alarm">no evidence' in html
    assert "Evaluation on the confirm split" in html
    assert "segmentation+depth, seed 1002" in html
    partial = confirm_table(replace(study, evaluations=rows[:-1]))
    assert "Left out, not scored by the suite yet: one confirmation." in partial.notes
