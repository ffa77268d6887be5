"""Stages one after another, killed and gone on with."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taskgroup.results.records import TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.plan.sources import PlannedTrials, fail_unless_finite, renumbered
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.search.stages import stages_of
from taskgroup.study.objectives import StudyObjective

Make = Callable[..., SearchSpace]
Go = Callable[[SearchSpace, RunDirectory, Any], None]
GRID = (
    "search.sampler=grid", "search.trials=null", "training.learning_rate=0.01",
    "auxiliary_tasks={subset: [depth]}", "loss_weights=0.5",
)  # fmt: skip


def answers(run: RunDirectory) -> Counter[tuple[str, str, str, str | None]]:
    return Counter((t.stage, t.label, str(t.config), t.status) for t in run.trials())


def test_plain_search_is_one_stage(make_space: Make, run: RunDirectory) -> None:
    (open_stage,) = stages_of(make_space())
    stage = open_stage(run, [])
    assert (stage.title, stage.total, stage.records) == ("little", 8, ())


def test_stages_have_names_and_totals(staged: Make, run: RunDirectory, scores: Any, go: Go) -> None:
    go(staged(), run, scores())
    stages = [open_stage(run, run.trials()) for open_stage in stages_of(staged())]
    assert [stage.title for stage in stages] == [
        "little, proxy stage", "little, real setting", "little, confirm stage",
    ]  # fmt: skip
    # three baselines; two promoted; the best and its partner beside the baselines, two seeds
    assert [stage.total for stage in stages] == [8, 5, 2 * (3 + 2)]
    assert [len(stage.records) for stage in stages] == [8, 5, 10]
    assert [stage.source.ask() for stage in stages[1:]] == [None, None]
    assert stages[1].space.search.scheduler == "none"


def test_numbers_are_given_once(searched: list[TrialResult]) -> None:
    assert [record.number for record in searched] == list(range(8 + 5 + 10))


@pytest.mark.parametrize("epochs", [0, 5, 17, 33, 57])
def test_killed_search_ends_with_the_same_trials(
    staged: Make, tmp_path: Path, scores: Any, killed: Any, go: Go, epochs: int
) -> None:
    space = staged(*GRID)
    whole = RunDirectory.create(tmp_path, "whole", "name: little\n")
    go(space, whole, scores())
    run = RunDirectory.create(tmp_path, "killed", "name: little\n")
    first, second = scores(epochs), scores()
    with pytest.raises(killed):
        go(space, run, first)
    ended = [record for record in run.trials() if record.status != "interrupted"]
    go(space, run, second)
    assert answers(run) == answers(whole)
    assert [run.trials()[record.number] for record in ended] == ended, "finished is finished"
    assert len(first.finished) + len(second.finished) == len(whole.trials()), "nothing ran twice"


def test_search_killed_after_every_epoch_ends(
    staged: Make, run: RunDirectory, scores: Any, killed: Any, go: Go
) -> None:
    for _ in range(50):
        try:
            go(staged(*GRID), run, scores(11))
        except killed:
            continue
        break
    assert {record.status for record in run.trials()} == {"complete"}
    assert max(record.attempts for record in run.trials()) > 1


def test_longer_search_goes_on_behind_the_other_stages(
    staged: Make, run: RunDirectory, scores: Any, go: Go
) -> None:
    go(staged("search.proxy=null"), run, scores())
    before = run.trials()
    go(staged("search.proxy=null", "search.trials=10"), run, scores())
    added = run.trials()[len(before) :]
    assert run.trials()[: len(before)] == before
    assert [t.stage for t in added[:2]] == ["search", "search"]
    assert [t.number for t in added] == list(range(len(before), len(before) + len(added)))


def test_planned_trials_are_handed_out_once(searched: list[TrialResult]) -> None:
    waiting = [replace(record, status="interrupted") for record in searched[:2]]
    source = PlannedTrials([*waiting, searched[2]], [])
    assert [source.ask(), source.ask(), source.ask()] == [*waiting, None]
    assert source.total == 3


def test_plan_that_was_begun_keeps_its_record(searched: list[TrialResult]) -> None:
    plans = [*searched[3:5], *searched[3:4]]
    expected = [searched[3], replace(searched[4], number=50)]
    assert renumbered(plans, searched[:4], first_number=50) == expected


def test_complete_trial_without_a_finite_objective_failed(searched: list[TrialResult]) -> None:
    known = StudyObjective("segmentation/robust/miou")
    assert fail_unless_finite(searched[0], [known]) == searched[0]
    failed = PlannedTrials([], [known, StudyObjective("x/y/z")]).tell(searched[0])
    assert (failed.status, failed.reason) == ("failed", "x/y/z must be finite, got nan")
