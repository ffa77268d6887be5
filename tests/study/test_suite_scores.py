"""Scores of a suite take the place of the validation attack's, never beside them."""

from dataclasses import replace

import pytest

from taskgroup.results.records import EpochRow, EvaluationRow, TrialResult
from taskgroup.study.confirmation import attack_words, confirmed_task_sets
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.suite_scores import SuiteScores, suite_scores

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


def test_a_suspicion_stands_beside_the_verdict() -> None:
    marked = "gradient masking suspected: noise beats the attack"
    rows = [replace(one, verdict=marked) if one.trial in (1, 3) else one for one in ROWS]
    alone, depth = confirmed_task_sets(TRIALS, [ROBUST], suite_scores(TRIALS, rows))
    assert alone.suspicions == ()
    assert depth.suspicions == (marked,)
    assert depth.differences[0].mean == pytest.approx(-0.095)
