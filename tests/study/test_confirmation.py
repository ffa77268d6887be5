"""Confirmation: means over seeds, partners under the same recipe, verdicts."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_rel

from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.study.confirmation import (
    Confirmed,
    best_alone,
    confirmed_task_sets,
    single_task_config,
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
