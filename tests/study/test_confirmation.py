"""Confirmation: means over seeds, partners under the same recipe, verdicts, scores of a suite."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_rel

from taskgroup.results.records import EpochRow, EvaluationRow, TrialResult
from taskgroup.study.confirmation import (
    Confirmed,
    SuiteScores,
    attack_words,
    best_alone,
    confirmed_task_sets,
    single_task_config,
    suite_scores,
    t_interval,
)
from taskgroup.study.objectives import StudyObjective

ROBUST = StudyObjective("segmentation/robust/miou")
ERROR = StudyObjective("depth/robust/abs_rel", "minimize")
_numbers = count()


def config(tasks: Sequence[str] = (), *, rate: float = 0.01, attack: str = "pgd") -> dict[str, Any]:
    return {
        "main_task": "segmentation",
        "auxiliary_tasks": list(tasks),
        "loss_weights": dict.fromkeys(tasks, 0.5),
        "task_options": {name: {} for name in ("segmentation", *tasks)},
        "adversary": {"attack": attack, "attacked_tasks": "all" if tasks else "main"},
        "training": {"learning_rate": rate},
    }


def trained(
    settings: dict[str, Any], scores: Sequence[float], objective: StudyObjective = ROBUST
) -> list[TrialResult]:
    """One configuration with a seed per score; a NaN failed."""
    base = TrialResult(
        number=0, label="", role="searched", config=settings, parameters={},
        main_task="segmentation", auxiliary_tasks=tuple(settings["auxiliary_tasks"]),
        output_dimension=1, status="complete", stage="confirm",
    )  # fmt: skip
    return [
        replace(
            base, number=next(_numbers), seed=seed, config={**settings, "seed": seed},
            status="failed" if np.isnan(score) else "complete",
            epochs=(EpochRow(1, {objective.metric: score}, 1.0, 0),),
        )
        for seed, score in enumerate(scores)
    ]  # fmt: skip


def confirmed(*groups: list[TrialResult], objective: StudyObjective = ROBUST) -> list[Confirmed]:
    return list(confirmed_task_sets([t for group in groups for t in group], [objective]))


@pytest.mark.parametrize("size", [2, 3, 10])
def test_interval_is_where_a_t_test_cannot_refuse(size: int) -> None:
    values = np.random.default_rng(size).normal(0.3, 0.05, size)
    found = t_interval(values)
    for end in (found.low, found.high):
        assert ttest_1samp(values, end).pvalue == pytest.approx(0.05)
    assert found.mean == pytest.approx(values.mean())


def test_interval_of_three_seeds_holds_the_mean_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    found = [t_interval(rng.normal(0.4, 0.1, 3)) for _ in range(2000)]
    assert np.mean([f.low <= 0.4 <= f.high for f in found]) == pytest.approx(0.95, abs=0.015)


def test_interval_of_almost_nothing() -> None:
    assert np.isnan(t_interval([])).tolist() == [True, True, True, False]
    found = t_interval([0.25, float("nan")])
    assert (found.mean, found.seeds) == (0.25, 1)
    assert np.isnan([found.low, found.high]).all()


def test_alone_keeps_the_recipe_and_drops_the_tasks() -> None:
    alone = single_task_config(config(["depth"], rate=0.02))
    assert alone == config(rate=0.02)
    assert single_task_config(alone) == alone
    natural = single_task_config(config(attack="none"))
    assert natural["adversary"] == {"attack": "none"}


def test_difference_is_paired_by_seed_with_the_partner_of_the_same_recipe() -> None:
    ours, theirs = [0.30, 0.36, 0.33], [0.28, 0.35, 0.30]
    _, _, found = confirmed(
        trained(config(rate=0.01), [0.9, 0.9, 0.9]),
        trained(config(rate=0.02), theirs),
        trained(config(["depth"], rate=0.02), ours),
    )
    assert found.partner is not None
    assert found.partner.config["training"] == {"learning_rate": 0.02}
    (difference,) = found.differences
    expected = ttest_rel(ours, theirs).confidence_interval(0.95)
    assert difference == pytest.approx((0.02, expected.low, expected.high, 3))


def test_seed_that_failed_on_one_side_is_no_pair() -> None:
    nan = float("nan")
    _, found = confirmed(
        trained(config(), [0.1, nan, 0.2, 0.3]), trained(config(["depth"]), [nan, 0.5, 0.3, 0.5])
    )
    assert found.scores[0].seeds == 3
    assert found.differences[0] == t_interval([0.3 - 0.2, 0.5 - 0.3])


@pytest.mark.parametrize(
    ("differences", "verdict", "mirrored"),
    [
        ([0.02, 0.021, 0.019], "helps", "hurts"),
        ([-0.02, -0.021, -0.019], "hurts", "helps"),
        ([0.02, 0.3, -0.1], "no evidence", "no evidence"),
        ([0.02], "too few seeds", "too few seeds"),
    ],
)
def test_verdict_needs_an_interval_without_zero(
    differences: list[float], verdict: str, mirrored: str
) -> None:
    ours = [0.5 + difference for difference in differences]
    for objective, expected in ((ROBUST, verdict), (ERROR, mirrored)):
        _, found = confirmed(
            trained(config(), [0.5] * len(ours), objective),
            trained(config(["depth"]), ours, objective),
            objective=objective,
        )
        assert found.verdict == expected


def test_without_its_partner_nothing_is_said() -> None:
    (found,) = confirmed(trained(config(["depth"]), [0.5, 0.6]))
    assert (found.partner, found.differences, found.verdict) == (None, (), None)
    alone = confirmed(trained(config(), [0.5, 0.6]))[0]
    assert alone.verdict is None, "one task alone is nobody's task set"


def test_only_the_confirm_stage_is_read() -> None:
    trials = trained(config(["depth"]), [0.5, 0.6])
    searched = [replace(trial, stage="search") for trial in trials]
    assert confirmed(searched) == []
    assert confirmed_task_sets([], [ROBUST]) == ()


def test_best_recipe_of_one_task_alone() -> None:
    groups = confirmed(
        trained(config(rate=0.01), [0.2, 0.3]), trained(config(rate=0.02), [0.3, 0.4]),
        trained(config(rate=0.03), [float("nan")]), trained(config(["depth"]), [0.9, 0.9]),
    )  # fmt: skip
    best = best_alone(groups, ROBUST)
    assert best is not None
    assert best.first.config["training"] == {"learning_rate": 0.02}
    assert best_alone([], ROBUST) is None


ROBUST = StudyObjective("segmentation/robust/miou")
OTHER = StudyObjective("depth/robust/rmse", "minimize")


def trial(number: int, tasks: tuple[str, ...], seed: int, validated: float) -> TrialResult:
    metrics = {ROBUST.metric: validated, OTHER.metric: 10 * validated}
    return TrialResult(
        number=number,
        label="+".join(("segmentation", *tasks)),
        role="searched",
        config={"main_task": "segmentation", "auxiliary_tasks": list(tasks), "seed": seed},
        parameters={},
        main_task="segmentation",
        auxiliary_tasks=tasks,
        output_dimension=1,
        status="complete",
        epochs=(EpochRow(1, metrics, 1.0, 0),),
        seed=seed,
        stage="confirm",
    )


TRIALS = [
    trial(0, (), 1000, 0.5),
    trial(1, ("depth",), 1000, 0.9),
    trial(2, (), 1001, 0.5),
    trial(3, ("depth",), 1001, 0.91),
]
LEFT = {0: 0.20, 1: 0.10, 2: 0.22, 3: 0.13}


def row(number: int, score: float, **changes: object) -> EvaluationRow:
    made = EvaluationRow(
        trial=number, label="any", role="other", condition="worst_case", attacked_tasks=(),
        norm="linf", epsilon=8 / 255, steps=300, restarts=1, task="segmentation",
        score_name="miou", direction="maximize", score=score, low=0.0, high=1.0, images=64,
        seed=0, verdict="ok", seconds=1.0, suite="standard", split="confirm",
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


ROWS = [row(number, score) for number, score in LEFT.items()]


def means(suite: SuiteScores, objective: StudyObjective = ROBUST) -> list[float]:
    return [found.scores[0].mean for found in confirmed_task_sets(TRIALS, [objective], suite)]


def test_the_suite_decides_where_it_was_run() -> None:
    assert means(SuiteScores()) == pytest.approx([0.5, 0.905])
    found = suite_scores(TRIALS, ROWS)
    assert means(found) == pytest.approx([0.21, 0.115])
    assert (found.suite, found.images, found.missing) == ("standard", 64, ())
    assert attack_words(ROBUST.metric, found).endswith("suite standard on each of 64 images")
    assert "validation attack" in attack_words(ROBUST.metric, SuiteScores())
    assert "without attack" in attack_words(
        "segmentation/clean/miou", suite_scores(TRIALS, [row(0, 0.6, condition="clean")])
    )


def test_two_attacks_are_never_mixed() -> None:
    """A trial that the suite has not scored counts as not measured, not by another attack."""
    found = suite_scores(TRIALS, ROWS[:3])
    assert found.missing == (3,)
    assert means(found) == pytest.approx([0.21, 0.10])
    weaker = [*ROWS[:3], row(3, 0.9, suite="quick")]
    assert means(suite_scores(TRIALS, weaker)) == pytest.approx([0.21, 0.10])
    older = [*ROWS[:3], replace(row(3, 0.9), attack_version=1)]
    assert means(suite_scores(TRIALS, older)) == pytest.approx([0.21, 0.10])


def test_what_the_suite_does_not_measure_stays() -> None:
    assert means(suite_scores(TRIALS, ROWS), OTHER) == pytest.approx([5.0, 9.05])


@pytest.mark.parametrize(
    "changes", [{"split": "test"}, {"condition": "apgd"}, {"trial": 99}, {"condition": "sweep"}]
)
def test_only_worst_cases_of_confirmations_on_the_confirm_split_count(
    changes: dict[str, object],
) -> None:
    rows = [replace(one, **changes) for one in ROWS]  # type: ignore[arg-type]
    assert suite_scores(TRIALS, rows) == SuiteScores()


def test_clean_and_robust_are_told_apart() -> None:
    found = suite_scores(TRIALS, [*ROWS, row(0, 0.7, condition="clean")])
    assert found.values[0] == {ROBUST.metric: 0.2, "segmentation/clean/miou": 0.7}


def test_a_void_score_leaves_no_verdict() -> None:
    why = "gradients do not describe the function (share 0.91)"
    void = [replace(r, verdict=why, is_bound=r.trial % 2 == 1) if r.trial % 2 else r for r in ROWS]
    alone, tasks = confirmed_task_sets(TRIALS, [ROBUST], suite_scores(TRIALS, void))
    assert alone.scores[0].seeds == 2
    assert tasks.scores[0].seeds == tasks.differences[0].seeds == 0
    assert tasks.verdict == "too few seeds"
    assert tasks.suspicions == (f"at most 10.0 %; {why}", f"at most 13.0 %; {why}")


def test_a_suspicion_stands_beside_the_verdict() -> None:
    marked = "gradient masking suspected: noise beats the attack"
    rows = [replace(one, verdict=marked) if one.trial in (1, 3) else one for one in ROWS]
    alone, depth = confirmed_task_sets(TRIALS, [ROBUST], suite_scores(TRIALS, rows))
    assert alone.suspicions == ()
    assert depth.suspicions == (marked,)
    assert depth.differences[0].mean == pytest.approx(-0.095)
