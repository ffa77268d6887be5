"""Seeds are no settings: a study compares configurations, averaged or paired over seeds."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taskgroup.analysis.charts.pareto import collect_pareto, pareto_chart
from taskgroup.analysis.report.headline import collect_headline
from taskgroup.analysis.tables.base import study_table
from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.answer.json_answer import answer_json
from taskgroup.search.answer.live_table import caption
from taskgroup.search.answer.progress import Progress
from taskgroup.search.answer.result import SearchResult
from taskgroup.search.answer.summary import summary
from taskgroup.search.plan.baselines import ADVERSARIAL_LABEL, NATURAL_LABEL
from taskgroup.study.configurations import configurations, difference, mean_value, standing_trial
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.selection import rank_searched, rank_trials, study_limits
from taskgroup.study.study import Study

ROBUST, CLEAN = (
    StudyObjective("segmentation/robust/miou"),
    StudyObjective("segmentation/clean/miou"),
)
OBJECTIVES = (ROBUST, CLEAN)


def trial(
    number: int,
    seed: int,
    robust: float,
    clean: float = 0.5,
    *,
    tasks: Sequence[str] = (),
    attack: str = "pgd",
    **changes: Any,
) -> TrialResult:
    """A complete searched trial of one epoch."""
    record = TrialResult(
        number=number,
        label="+".join(("segmentation", *tasks)),
        role="searched",
        config={
            "main_task": "segmentation",
            "auxiliary_tasks": list(tasks),
            "loss_weights": dict.fromkeys(tasks, 0.1),
            "adversary": {"attack": attack},
            "seed": seed,
        },
        parameters={"attack": attack, "seed": seed},
        main_task="segmentation",
        auxiliary_tasks=tuple(tasks),
        output_dimension=1,
        status="complete",
        epochs=(EpochRow(1, {ROBUST.metric: robust, CLEAN.metric: clean}, 1.0, 0),),
        planned_epochs=1,
        seed=seed,
    )
    return replace(record, **changes)


def grid() -> list[TrialResult]:
    """Three configurations with seeds 1 to 3; seed 3 is a lucky one.

    Depth is two points better than nothing under every seed; edges have the best trial of all.
    """
    baseline = {"role": "baseline", "label": ADVERSARIAL_LABEL}
    return [
        trial(0, 2, 0.01, 0.70, attack="none", role="baseline", label=NATURAL_LABEL),
        trial(1, 2, 0.21, 0.66, **baseline),
        trial(2, 1, 0.20, 0.60),
        trial(3, 3, 0.28, 0.70),
        trial(4, 1, 0.22, 0.55, tasks=["depth"]),
        trial(5, 2, 0.23, 0.61, tasks=["depth"]),
        trial(6, 3, 0.30, 0.65, tasks=["depth"]),
        trial(7, 1, 0.10, 0.50, tasks=["edges"]),
        trial(8, 3, 0.35, 0.50, tasks=["edges"]),
        trial(9, 1, 0.01, 0.64, attack="none"),
        trial(10, 3, 0.01, 0.74, attack="none"),
    ]


def study_of(trials: Sequence[TrialResult], **changes: Any) -> Study:
    return Study("rooms-1", "runs/rooms-1", "segmentation", OBJECTIVES, tuple(trials), **changes)


def numbers(trials: Sequence[TrialResult]) -> list[int]:
    return [record.number for record in trials]


def test_trials_with_one_seed_are_compared_one_by_one() -> None:
    twins = [trial(0, 1, 0.2), trial(1, 1, 0.3), trial(2, 1, 0.4, status="pruned")]
    assert [numbers(group.trials) for group in configurations(twins)] == [[0], [1]]
    assert numbers(rank_trials(twins, OBJECTIVES)) == [1, 0]


def test_the_best_mean_wins_and_not_the_luckiest_seed() -> None:
    study = study_of(grid())
    assert [numbers(group.trials) for group in study.configurations][1] == [2, 1, 3]
    assert study.best is not None
    assert study.best.number == 5, "the median of 4, 5 and 6; trial 8 has the best score"
    assert study.value(ROBUST, study.best) == pytest.approx(0.25)
    assert numbers(rank_trials(study.trials, OBJECTIVES)) == [5, 1, 7, 0]
    assert study.rule.startswith("complete trials, their scores averaged over seeds; highest")
    assert study_of(grid()[:2]).rule.startswith("complete trials; highest")


def test_of_two_seeds_the_lower_one_stands_for_both() -> None:
    (group,) = configurations([trial(0, 1, 0.3), trial(1, 2, 0.2)])
    assert standing_trial(group, ROBUST).number == 1
    assert standing_trial(group, replace(ROBUST, direction="minimize")).number == 0
    assert mean_value(group, ROBUST) == pytest.approx(0.25)
    (group,) = configurations([trial(0, 1, 0.3, role="baseline"), *group.trials[1:]])
    assert standing_trial(group, ROBUST).number == 0, "a baseline is checked in any case"


def test_differences_are_paired_by_seed_if_they_can_be() -> None:
    alone, lucky, other = configurations(
        [
            trial(0, 1, 0.2),
            trial(1, 2, 0.4),
            trial(2, 2, 0.41, tasks=["depth"]),
            trial(3, 9, 0.9, tasks=["edges"]),
        ]
    )
    assert difference(lucky, alone, ROBUST) == pytest.approx(0.01)
    assert difference(other, alone, ROBUST) == pytest.approx(0.6), "no seed in common"


def test_a_constraint_compares_seeds_with_themselves() -> None:
    """Against the mean, 69.3 %, trial 4 would be 14 points worse; against its seed it is nine."""
    trials = grid()
    (limit,) = study_limits(trials, OBJECTIVES, 0.1)
    assert limit.reference == pytest.approx(0.6933, abs=1e-4)
    assert limit.drop(trials[4]) == pytest.approx(0.09)
    assert limit.drop(trials[4], trials[5]) == pytest.approx(0.09)
    assert limit.drop(trial(11, 7, 0.2, 0.6)) == pytest.approx(0.0933, abs=1e-4), "an unknown seed"
    assert "than 69.3 %, the mean of 3 seeds" in limit.text
    study = study_of(trials, max_clean_drop=0.1)
    assert numbers(study.infeasible) == [7, 8], "all seeds of edges, by 19 points on average"
    cells = [row.cells[2] for row in study_table(study).rows if row.data["infeasible"]]
    assert cells == ["complete, infeasible: clean score 19.0 points worse"] * 2
    assert study.best is not None
    assert study.best.number == 5


def test_no_drop_at_all_still_allows_every_seed_of_the_baseline() -> None:
    study = study_of(grid(), max_clean_drop=0.0)
    assert {0, 9, 10}.isdisjoint(numbers(study.infeasible))


def test_the_pareto_set_is_one_of_means() -> None:
    study = study_of(grid())
    assert numbers(study.pareto) == [0, 1, 5]
    points = {point.trial: point for point in collect_pareto(study).points}
    assert sorted(points) == [0, 1, 5, 7]
    assert points[5].robust == pytest.approx(0.25)
    assert [number for number, point in points.items() if point.on_front] == [0, 1, 5]
    assert "configuration, the mean over its seeds," in pareto_chart(study).caption
    assert "Every finished trial on" in pareto_chart(study_of(grid()[:2])).caption


def test_confirmations_are_of_different_configurations() -> None:
    """And not of those that a baseline confirms."""
    assert numbers(rank_searched(grid(), OBJECTIVES)) == [5, 7]


def test_what_scatters_more_than_it_differs_is_not_apart() -> None:
    large = {"fidelity": {"validation_images": 100_000}}
    trials = [replace(record, **large) for record in grid()]
    study = study_of(trials)
    assert study.best is not None
    assert study.rival is not None
    assert study.is_apart(study.best, study.rival), "two points under every seed"
    unlike = study_of(
        [*trials[:4], *(replace(t, epochs=trial(0, 1, s).epochs) for t, s in
                        zip(trials[4:7], (0.3, 0.1, 0.35), strict=True))]
    )  # fmt: skip
    assert unlike.best is not None
    assert unlike.rival is not None
    assert not unlike.is_apart(unlike.best, unlike.rival), "two points on average"
    headline = collect_headline(unlike)
    assert headline.title.startswith("No difference found")
    assert "in the search, with 3 seeds each: nothing shows" in " ".join(headline.sentences)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path, "rooms", "name: rooms\n")


def result_of(study: Study, run: RunDirectory) -> SearchResult:
    return SearchResult(run, study, len(study.trials), 75.0)


def test_the_answer_reports_no_seed_as_a_gain(run: RunDirectory) -> None:
    """Adversarial training alone wins; its baseline is the same configuration."""
    text = summary(result_of(study_of(grid()[:4]), run))
    best = "Best: trial 1, main only, adversarial: segmentation/robust/miou 23.0 %, "
    assert f"{best}segmentation/clean/miou 65.3 % (mean of 3 seeds)\n" in text
    assert (
        "  trials 1, 2 and 3 differ in their seed alone; trial 1, the baseline, stands for them"
        in text
    )
    assert (
        "miou +20.0 points against trial 0, main only, natural (1.0 %, paired by one seed)" in text
    )
    assert "against trial 1" not in text
    assert "\n  attack pgd\n" in text, "a seed is no setting"
    assert "not confirmed: 3 seeds, selected on these validation scores" in text


def test_the_answer_pairs_its_gains(run: RunDirectory) -> None:
    study = study_of(grid(), max_clean_drop=0.1)
    text = summary(result_of(study, run))
    against = f"trial 1, {ADVERSARIAL_LABEL} (23.0 %, mean of 3 seeds, paired by 3 seeds)\n"
    assert f"  segmentation/robust/miou +2.0 points against {against}" in text
    assert "infeasible: trial 7, segmentation+edges: 19.0 points worse (mean of 2 seeds)\n" in text
    assert "infeasible: trial 8" not in text
    assert "  trials 4, 5 and 6 differ in their seed alone; trial 5, the median, stands" in text
    told = answer_json(result_of(study, run))["best"]
    assert (told["number"], told["seeds"]) == (5, [1, 2, 3])
    assert told["scores"][ROBUST.metric] == pytest.approx(0.25)
    lone = study_of([grid()[1], trial(20, 9, 0.3, tasks=["depth"])])
    assert f"{ADVERSARIAL_LABEL} (21.0 %, other seeds)" in summary(result_of(lone, run))


def test_the_report_averages_over_seeds() -> None:
    headline = collect_headline(study_of(grid()))
    assert "without attack, means of 3 seeds." in headline.sentences[-1]
    shown = {standing.number: standing for standing in headline.standings}
    assert list(shown) == [5, 0, 1]
    assert shown[1].gain == pytest.approx(0.02)
    assert shown[1].robust == "23.0 %"
    assert shown[0].clean == pytest.approx(0.6933, abs=1e-4)
    assert [s.number for s in collect_headline(study_of(grid()[:4])).standings] == [1, 0]


def test_the_best_so_far_is_that_of_the_end() -> None:
    """Whatever the order in which trials end."""
    for order in (grid(), grid()[::-1]):
        progress = Progress("x", total=11, epochs=1, objectives=OBJECTIVES, robust=ROBUST.metric)
        for record in order:
            progress.update(record)
        assert progress.best is not None
        assert progress.best.number == 5
        assert progress.best_value == pytest.approx(0.25)
        assert caption(progress) == "best so far: trial 5 (25.0 %)"
