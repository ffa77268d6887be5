"""Confirmation: means over seeds, partners under the same recipe, verdicts, scores of a suite."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_rel

from taskgroup.results.records import EpochRow, EvaluationRow, TrialResult
from taskgroup.study.confirmation import (
    Confirmed,
    SuiteScores,
    attack_words,
    best_alone,
    confirmed_task_sets,
    correction_text,
    single_task_config,
    suite_scores,
    verdict_text,
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


def test_alone_keeps_the_recipe_and_drops_the_tasks() -> None:
    alone = single_task_config(config(["depth"], rate=0.02))
    assert alone == config(rate=0.02)
    assert single_task_config(alone) == alone
    natural = single_task_config(config(attack="none"))
    assert natural["adversary"] == {"attack": "none"}


def rows_of(
    trials: Sequence[TrialResult],
    objective: StudyObjective = ROBUST,
    *,
    images: int = 64,
    spread: float = 0.1,
    constant: float | None = 0.05,
) -> list[EvaluationRow]:
    """What a suite leaves of them: their scores, and what each image contributes under each."""
    task, _, name = objective.metric.split("/")
    drawn = np.random.default_rng(0).normal(0, spread, (2, images))
    return [
        row(
            found.number, objective.value(found), task=task, score_name=name, images=images,
            direction=objective.direction, constant=constant,
            influences=tuple(drawn[int(bool(found.auxiliary_tasks))]),
        )
        for found in trials
        if found.status == "complete"
    ]  # fmt: skip


def compared(
    ours: Sequence[float],
    theirs: Sequence[float],
    objective: StudyObjective = ROBUST,
    **images: Any,
) -> Confirmed:
    """Depth against the main task alone, seed by seed, scored by a suite."""
    groups = trained(config(), theirs, objective), trained(config(["depth"]), ours, objective)
    trials = [trial for group in groups for trial in group]
    rows = rows_of(trials, objective, **images)
    return confirmed_task_sets(trials, [objective], suite_scores(trials, rows))[1]


def test_difference_is_paired_by_seed_with_the_partner_of_the_same_recipe() -> None:
    ours, theirs = [0.30, 0.36, 0.33], [0.28, 0.35, 0.30]
    _, _, found = confirmed(
        trained(config(rate=0.01), [0.9, 0.9, 0.9]),
        trained(config(rate=0.02), theirs),
        trained(config(["depth"], rate=0.02), ours),
    )
    assert found.partner is not None
    assert found.partner.config["training"] == {"learning_rate": 0.02}
    assert found.differences[0].mean == pytest.approx(0.02)
    assert found.differences[0].seeds == 3


def test_interval_covers_seeds_and_images() -> None:
    ours, theirs = [0.30, 0.36, 0.33], [0.28, 0.35, 0.30]
    seeds_alone = ttest_rel(ours, theirs).confidence_interval(0.95)
    ends = [compared(ours, theirs, spread=spread).differences[0] for spread in (1e-6, 0.2)]
    assert ends[0][:3] == pytest.approx((0.02, seeds_alone.low, seeds_alone.high), abs=1e-5)
    assert ends[1].low < ends[0].low < ends[0].high < ends[1].high
    assert ends[1].images == 64


def test_seed_that_failed_on_one_side_is_no_pair() -> None:
    nan = float("nan")
    found = compared([nan, 0.5, 0.3, 0.5, 0.5], [0.1, nan, 0.2, 0.3, 0.2])
    assert found.scores[0].seeds == 4
    assert found.differences[0].seeds == 3
    assert found.differences[0].mean == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("differences", "verdict", "mirrored"),
    [
        ([0.09, 0.1, 0.11], "helps", "hurts"),
        ([-0.09, -0.1, -0.11], "hurts", "helps"),
        ([0.02, 0.3, -0.1], "no evidence", "no evidence"),
        ([0.09, 0.1], "not enough to tell", "not enough to tell"),
    ],
)
def test_verdict_needs_a_difference_beyond_chance(
    differences: list[float], verdict: str, mirrored: str
) -> None:
    ours = [0.5 + difference for difference in differences]
    for objective, expected, constant in ((ROBUST, verdict, 0.05), (ERROR, mirrored, 2.0)):
        found = compared(ours, [0.5] * len(ours), objective, constant=constant)
        assert found.verdict == expected


@pytest.mark.parametrize(
    ("ours", "images", "text"),
    [
        ([0.7, 0.71], {"images": 4}, "4 images, 2 seeds; a verdict takes at least 30 images and"),
        ([0.7, 0.71, 0.72], {"images": 29}, "29 images, 3 seeds; a verdict takes at least 30"),
        ([0.75, 0.75, 0.75], {}, "every seed, or every image, differs by the same amount"),
        ([0.70, 0.71, 0.72], {"spread": 0.0}, "every seed, or every image, differs by the same"),
        ([0.70, 0.71, 0.72], {"images": 0}, "no scores of single images; confirm with a suite"),
        ([0.70, 0.71, 0.72], {"constant": None}, "the best constant prediction is not known"),
    ],
)
def test_too_little_is_not_enough_to_tell(
    ours: list[float], images: dict[str, Any], text: str
) -> None:
    """As with the network that answered one class for 4 photographs, and "helped" by 25 points."""
    found = compared(ours, [0.5] * len(ours), **images)
    assert verdict_text(found).startswith(f"not enough to tell: {text}")
    assert "constant" in images or np.isnan(found.differences[0].low)


def test_networks_at_the_level_of_a_constant_prediction_get_no_verdict() -> None:
    found = compared([0.29, 0.3, 0.31], [0.2] * 3, constant=0.5)
    assert found.verdict == "no better than a constant"
    assert "segmentation with and without depth is no better" in verdict_text(found)
    assert compared([0.69, 0.7, 0.71], [0.2] * 3, constant=0.5).verdict == "helps"
    assert compared([0.29, 0.3, 0.31], [0.7] * 3, constant=0.5).verdict == "hurts"


def test_several_task_sets_are_corrected_for() -> None:
    gains = np.array([0.09, 0.1, 0.136])
    sets = [["depth"], ["edges"], ["normals"], ["depth", "edges"], ["depth", "normals"]]

    def verdicts(count: int) -> tuple[Confirmed, ...]:
        groups = [trained(config(), [0.5] * 3)]
        groups += [trained(config(tasks), list(0.5 + gains)) for tasks in sets[:count]]
        trials = [trial for group in groups for trial in group]
        return confirmed_task_sets(trials, [ROBUST], suite_scores(trials, rows_of(trials)))

    one, several = verdicts(1), verdicts(5)
    assert (one[1].verdict, correction_text(one)) == ("helps", "")
    assert {found.verdict for found in several[1:]} == {"no evidence"}
    assert one[1].differences == several[1].differences
    assert correction_text(several).startswith("verdicts are corrected for 5 comparisons")


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
    scores = {metric: own.score for metric, own in found.rows[0].items()}
    assert scores == {ROBUST.metric: 0.2, "segmentation/clean/miou": 0.7}


def test_a_void_score_leaves_no_verdict() -> None:
    why = "gradients do not describe the function (share 0.91)"
    void = [replace(r, verdict=why, is_bound=r.trial % 2 == 1) if r.trial % 2 else r for r in ROWS]
    alone, tasks = confirmed_task_sets(TRIALS, [ROBUST], suite_scores(TRIALS, void))
    assert alone.scores[0].seeds == 2
    assert tasks.scores[0].seeds == tasks.differences[0].seeds == 0
    assert tasks.verdict == "not enough to tell"
    assert tasks.suspicions == (f"at most 10.0 %; {why}", f"at most 13.0 %; {why}")


def test_a_suspicion_stands_beside_the_verdict() -> None:
    marked = "gradient masking suspected: noise beats the attack"
    rows = [replace(one, verdict=marked) if one.trial in (1, 3) else one for one in ROWS]
    alone, depth = confirmed_task_sets(TRIALS, [ROBUST], suite_scores(TRIALS, rows))
    assert alone.suspicions == ()
    assert depth.suspicions == (marked,)
    assert depth.differences[0].mean == pytest.approx(-0.095)
