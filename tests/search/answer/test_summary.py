"""The last words of a search, and that only a confirmation says that a task set helps."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from taskgroup.analysis.report.headline import collect_headline, gain_text
from taskgroup.analysis.tables.base import study_table
from taskgroup.results.records import EpochRow, EvaluationRow, GradientCheckRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.answer.json_answer import answer_json
from taskgroup.search.answer.live_table import log_line
from taskgroup.search.answer.progress import Progress
from taskgroup.search.answer.result import SearchResult
from taskgroup.search.answer.summary import summary
from taskgroup.search.plan.baselines import plan_baselines
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.study import Study
from taskgroup.wording import MINUS

ROBUST, CLEAN = "segmentation/robust/miou", "segmentation/clean/miou"
OBJECTIVES = (StudyObjective(ROBUST), StudyObjective(CLEAN))
MARK = "gradient masking suspected: noise beats the attack"


@pytest.fixture
def planned(make_space: Callable[..., SearchSpace]) -> list[TrialResult]:
    return plan_baselines(make_space("search.trials=15"))


def after(record: TrialResult, *scores: float, **changes: Any) -> TrialResult:
    rows = tuple(
        EpochRow(epoch, {ROBUST: score, CLEAN: 1 - score}, 2.0, 1)
        for epoch, score in enumerate(scores, 1)
    )
    return replace(record, epochs=rows, **changes)


def ended(record: TrialResult, *scores: float) -> TrialResult:
    return after(record, *scores, status="complete", reason=None)


@pytest.fixture
def found(run: RunDirectory) -> Callable[..., SearchResult]:
    """Makes the result of a search from trials."""

    def make(*trials: TrialResult, total: int | None = None, **changes: Any) -> SearchResult:
        known = {key: changes.pop(key) for key in list(changes) if hasattr(Study, key)}
        study = Study(run.name, run.place, "segmentation", OBJECTIVES, trials, **known)
        return SearchResult(run, study, total or len(trials), 75.0, **changes)

    return make


WRONG = GradientCheckRow(1, "gradients do not describe the function (share 0.91)", True, 0.91, 32)


def test_a_void_answer_claims_no_robustness(
    found: Callable[..., SearchResult], planned: list[TrialResult]
) -> None:
    trials = (ended(planned[0], 0.05), ended(planned[1], 0.3))
    result = found(*trials, gradient_checks=(WRONG,))
    text = summary(result)
    best = "Best: trial 1, main only, adversarial: segmentation/robust/miou at most 30.0 %"
    assert f"{best}, segmentation/clean/miou 70.0 %" in text
    assert f"  trial 1: {WRONG.finding}; no robustness is claimed" in text
    assert "miou cannot be compared against trial 0, main only, natural (5.0 %)" in text
    answer = answer_json(result)["best"]
    assert (answer["is_bound"], answer["gradients"]) == (True, WRONG.finding)
    headline = collect_headline(result.study)
    assert headline.title == "No answer: the robustness of trial 1 cannot be judged"
    assert f"Warning: {WRONG.finding}." in " ".join(headline.sentences)
    assert [standing.robust for standing in headline.standings] == ["at most 30.0 %", "5.0 %"]
    assert headline.standings[1].gain is None
    undecided = replace(WRONG, finding="rounding hides whether gradients are right", is_void=False)
    text = summary(found(*trials, gradient_checks=(undecided,)))
    assert "robust/miou 30.0 %" in text
    assert "  trial 1: rounding hides whether gradients are right\n" in text
    assert answer_json(found(*trials))["best"]["gradients"] is None


def test_answer_doubt_places_and_commands(
    found: Callable[..., SearchResult], run: RunDirectory, planned: list[TrialResult]
) -> None:
    result = found(
        ended(planned[0], 0.05),
        replace(ended(planned[1], 0.3), checkpoint="checkpoints/00001.pt", overhead_seconds=0.1),
        replace(ended(planned[2], 0.2), overhead_seconds=0.3),
    )
    text = summary(result, "elsewhere/report.html")
    assert text.startswith("Done: 3 of 3 trials (3 complete, 0 pruned, 0 failed) in 1 min 15 s.\n")
    assert "Best: trial 1, main only, adversarial: segmentation/robust/miou 30.0 %" in text
    gain = "segmentation/robust/miou +25.0 points against trial 0, main only, natural (5.0 %)"
    assert gain in text
    assert "against trial 1" not in text, "the winner is not compared with itself"
    assert "highest segmentation/robust/miou; ties: fewer tasks" in text
    assert "not confirmed: one seed, selected on these validation scores, so optimistic" in text
    assert f"taskgroup confirm {run.place}" in text
    assert f"taskgroup evaluate best --run {run.place}" in text
    assert f"{run.place}/checkpoints/00001.pt" in text
    assert "elsewhere/report.html" in text
    assert "Engine overhead: 0.2 s per trial (mean of 2)" in text
    assert "--resume" not in text


def test_pareto_set_leaves_beaten_trials_out(
    found: Callable[..., SearchResult], planned: list[TrialResult]
) -> None:
    beaten = replace(
        ended(planned[2], 0.2), epochs=(EpochRow(1, {ROBUST: 0.2, CLEAN: 0.1}, 1.0, 1),)
    )
    result = found(ended(planned[0], 0.1), ended(planned[1], 0.3), beaten)
    assert [trial.number for trial in result.study.pareto] == [0, 1]
    told = answer_json(result)
    assert (told["best"]["number"], told["confirmed"]) == (1, False)
    assert told["best"]["scores"] == {ROBUST: 0.3, CLEAN: 0.7}, "programs get fractions"


def test_interrupted_search_says_how_to_resume(
    found: Callable[..., SearchResult], run: RunDirectory, planned: list[TrialResult]
) -> None:
    result = found(ended(planned[0], 0.1), after(planned[1], 0.2), total=5)
    assert result.is_interrupted
    assert summary(result).startswith("Stopped after 1 of 5 trials")
    assert f"taskgroup search --resume {run.place}\n" in summary(result)
    pruned = after(planned[1], 0.2, status="pruned", reason="below the rung")
    assert not found(ended(planned[0], 0.1), pruned).is_interrupted
    over = summary(replace(result, is_over_budget=True))
    assert over.startswith("Stopped by search.max_seconds after 1 of 5 trials")
    assert f"taskgroup search --resume {run.place} --fix search.max_seconds=SECONDS\n" in over


def test_a_space_with_fewer_configurations_than_trials_says_so(
    found: Callable[..., SearchResult], planned: list[TrialResult]
) -> None:
    text = summary(found(ended(planned[0], 0.1), left_out=4))
    assert "configuration of the space has been tried, 4 fewer than search.trials.\n" in text


@pytest.mark.parametrize("sign", [1, -1])
def test_rungs_that_mislead_are_warned_of(
    found: Callable[..., SearchResult], planned: list[TrialResult], sign: int
) -> None:
    """The better a trial is after an epoch, the better it ends, or the worse."""
    trials = [
        ended(replace(trial, planned_epochs=2), 0.1 * n, 0.5 + sign * 0.1 * n)
        for n, trial in enumerate(planned[1:5])
    ]
    text = summary(found(*trials, rungs=(1,)))
    correlation = "1.00" if sign == 1 else f"{MINUS}1.00"
    assert f"rung of epoch 1, {ROBUST}: Spearman {correlation}" in text
    warning = "  warning: where it is low, rungs stop trials nearly at random; raise "
    assert (warning in text, "over 4 trials (low)" in text) == (sign == -1,) * 2
    assert "\n  final scores of 4 trials: standard deviation 12.9 points, standard error " in text


def test_search_without_a_complete_trial_says_why(
    found: Callable[..., SearchResult], planned: list[TrialResult]
) -> None:
    result = found(*(replace(r, status="failed", reason="no data") for r in planned[:2]))
    text = summary(result)
    assert "No trial is complete, so there is no answer.\n  2 failed: no data" in text
    assert "evaluate best" not in text
    assert "--resume" not in text
    assert f"\n  taskgroup search --run {result.run.place} --fix KEY=VALUE\n" in text
    assert result.has_only_failures
    assert not found(*result.study.trials, ended(planned[2], 0.3)).has_only_failures
    assert not found().has_only_failures


def test_a_limit_reads_as_its_score(
    found: Callable[..., SearchResult], planned: list[TrialResult]
) -> None:
    trials = [ended(planned[0], 0.1), ended(planned[1], 0.3)]
    text = summary(found(*trials, max_clean_drop=0.02))
    assert f"Constraint: {CLEAN} at most 2.0 points worse than 90.0 % (main only, nat" in text
    assert "infeasible: trial 1, main only, adversarial: 20.0 points worse" in text
    assert "Best: trial 0, " in text
    assert "Constraint not applied" in summary(found(trials[1], max_clean_drop=0.02))


def test_terminal_and_pages_write_alike(
    found: Callable[..., SearchResult], planned: list[TrialResult]
) -> None:
    trials = [ended(planned[0], 0.0549), ended(planned[2], 0.27849)]
    result = found(*trials)
    page = collect_headline(result.study)
    progress = Progress(
        "little", total=2, epochs=1, objectives=OBJECTIVES, robust=ROBUST, records=trials
    )
    row = study_table(result.study).rows[0]
    assert "27.8 %" in summary(result)
    assert "27.8 %" in log_line(progress, trials[1])
    assert "27.8 %" in row.cells
    assert "27.8 %" in " ".join(page.sentences)
    gain = gain_text(result.study, page.standings[1].gain)
    assert gain == "+22.4 points"
    assert gain in summary(result)
    drawn = "depth 0.1, edges 0.1, normals 0.1, epsilon 2/255, steps 2, learning rate 0.00316"
    assert drawn in summary(result)
    assert drawn in log_line(progress, trials[1])
    assert drawn in row.cells
    assert row.data["robust"] == 0.27849, "programs get fractions"


def rescored(
    trials: list[TrialResult], gain: float
) -> tuple[list[TrialResult], tuple[EvaluationRow, ...]]:
    """Confirmations with three seeds, and what a suite leaves of them.

    Auxiliary tasks gain so much, give or take a hundredth by seed.
    """
    confirmed = [trial for trial in trials if trial.stage == "confirm"]
    again = [trial for trial in confirmed if trial.seed == confirmed[0].seed]
    numbered = range(len(trials), len(trials) + len(again))
    third = [
        replace(t, number=n, seed=t.seed + 2, config={**t.config, "seed": t.seed + 2})
        for n, t in zip(numbered, again, strict=True)
    ]
    rng = np.random.default_rng(0)
    rows = [
        replace(
            row(trial, 0.3 + (gain + 0.01 * (trial.seed % 2)) * bool(trial.auxiliary_tasks)),
            influences=tuple(rng.normal(0, 0.1, 64)),
            constant=0.05,
        )
        for trial in [*confirmed, *third]
    ]
    return [*trials, *third], tuple(rows)


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        (0.2, "depth, edges and normals help segmentation"),
        (-0.2, "depth, edges and normals hurt segmentation"),
        (0.0, "no evidence that depth, edges and normals help segmentation"),
    ],
)
def test_verdict_follows_the_interval(
    found: Callable[..., SearchResult], searched: list[TrialResult], gain: float, verdict: str
) -> None:
    trials, rows = rescored(searched, gain)
    text = summary(found(*trials, evaluations=rows))
    assert verdict in text
    assert "not confirmed" not in text
    assert "same recipe and seeds" in text
    assert "mean of 3 seeds (95 % intervals over seeds and images)" in text
    assert "verdicts are corrected for 2 comparisons (Holm), intervals are not" in text


def test_without_scores_of_images_nothing_is_claimed(
    found: Callable[..., SearchResult], searched: list[TrialResult]
) -> None:
    text = summary(found(*searched))
    assert "    not enough to tell: 2 seeds; a verdict takes at least 30 images and 3 seeds" in text
    assert "(no interval)" in text


def test_only_a_confirmation_says_that_a_task_set_helps(
    found: Callable[..., SearchResult], searched: list[TrialResult]
) -> None:
    text = summary(found(*(trial for trial in searched if trial.stage != "confirm")))
    assert " help" not in text
    assert "not confirmed: one seed" in text
    assert "Confirm stage" not in text


def test_one_trial_is_no_plural(
    found: Callable[..., SearchResult], planned: list[TrialResult]
) -> None:
    assert summary(found(ended(planned[0], 0.05))).startswith("Done: 1 of 1 trial (1 complete, ")


def test_stages_are_counted_apart(
    found: Callable[..., SearchResult], searched: list[TrialResult]
) -> None:
    begin = "Done: 23 of 23 trials (23 complete, 0 pruned, 0 failed) in 1 min 15 s"
    stages = ": 8 on the stand-in, 5 in the search, 10 in the confirm stage."
    assert summary(found(*searched)).startswith(begin + stages)
    only = summary(found(*(trial for trial in searched if trial.stage == "search")))
    assert only.partition("\n")[0].endswith(" in 1 min 15 s.")


def test_proxy_reports_its_rank_correlation(
    found: Callable[..., SearchResult], searched: list[TrialResult]
) -> None:
    line = r"Proxy against real setting, segmentation/robust/miou: Spearman .* over 5 trials\n"
    assert re.search(line, summary(found(*searched)))
    few = [t for t in searched if t.stage == "proxy" or t.role == "baseline"]
    assert "over 3 trials, too few for an interval\n" in summary(found(*few))
    assert "Proxy" not in summary(found(*(t for t in searched if t.stage != "proxy")))


def test_machines_get_the_same(
    found: Callable[..., SearchResult], searched: list[TrialResult]
) -> None:
    trials, rows = rescored(searched, 0.2)
    told = answer_json(found(*trials, evaluations=rows))
    assert told["confirmed"] is True
    assert told["proxy_agreement"]["trials"] == 5
    verdicts = {group["label"]: group["verdict"] for group in told["confirmation"]}
    assert verdicts["main only, adversarial"] is None
    assert verdicts["all candidates, equal weights"] == "helps"


def test_best_recipe_without_auxiliary_tasks_stands_beside(
    found: Callable[..., SearchResult], searched: list[TrialResult]
) -> None:
    best = next(t for t in searched if t.stage == "confirm" and t.role == "searched")
    lines = summary(found(*searched)).splitlines()
    mean = rf"  {re.escape(best.label)} \(trial {best.parent}\): \d\d\.\d % \(.+\)"
    assert any(re.fullmatch(mean, line) for line in lines)
    assert any(line.startswith("  best without auxiliary tasks: main only") for line in lines)


def row(trial: TrialResult, score: float) -> EvaluationRow:
    return EvaluationRow(
        trial=trial.number, label=trial.label, role="other", condition="worst_case",
        attacked_tasks=("segmentation",), norm="linf", epsilon=8 / 255, steps=300, restarts=1,
        task="segmentation", score_name="miou", direction="maximize", score=score, low=0.0,
        high=1.0, images=64, seed=0, verdict="ok", seconds=1.0, suite="standard", split="confirm",
    )  # fmt: skip


@pytest.fixture
def rows(searched: list[TrialResult]) -> list[EvaluationRow]:
    confirmed = [trial for trial in searched if trial.stage == "confirm"]
    return [row(t, 0.1 + 0.05 * bool(t.auxiliary_tasks) + t.seed / 1e5) for t in confirmed]


def test_the_answer_gives_the_suites_scores(
    found: Callable[..., SearchResult], searched: list[TrialResult], rows: list[EvaluationRow]
) -> None:
    result = found(*searched, evaluations=tuple(rows))
    text, told = summary(result), answer_json(result)
    assert "the worst of all attacks of suite standard on each of 64 images" in text
    assert "main only, natural (trial 8): 11.0 %" in text
    assert (told["confirm_suite"], told["confirm_images"]) == ("standard", 64)
    without = found(*searched)
    assert "under the validation attack, as in the search" in summary(without)
    assert answer_json(without)["confirm_suite"] is None


def test_what_is_not_scored_is_said(
    found: Callable[..., SearchResult],
    run: RunDirectory,
    searched: list[TrialResult],
    rows: list[EvaluationRow],
) -> None:
    some = {"evaluations": tuple(rows[:-2])}
    text = summary(found(*searched, **some))
    waiting = "left out, because suite standard has not scored them yet: {}; resume with: taskgroup"
    assert f"{waiting.format('2 confirmations')} confirm {run.place}\n" in text
    problems = {rows[-1].trial: "its segmentation is NaN"}
    text = summary(found(*searched, **some, unscored=problems))
    assert waiting.format("one confirmation") in text
    assert "they cannot be scored: one confirmation: its segmentation is NaN" in text


def test_a_suspicion_is_said(
    found: Callable[..., SearchResult], searched: list[TrialResult], rows: list[EvaluationRow]
) -> None:
    marked = tuple(replace(one, verdict=MARK) for one in rows)
    assert MARK in summary(found(*searched, evaluations=marked))
