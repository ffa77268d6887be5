"""The one wrapper of a study: what it reads, what it says of its trials, when it completes them."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taskgroup.errors import ConfigError
from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.seed_groups import Scored, lines, seed_groups
from taskgroup.study.study import Study, comparable

ROBUST, CLEAN = "segmentation/robust/miou", "segmentation/clean/miou"
OBJECTIVES = (StudyObjective(ROBUST), StudyObjective(CLEAN))
SPACE = """name: rooms
main_task: segmentation
objectives: [{maximize: segmentation/robust/miou}, {maximize: segmentation/clean/miou}]
constraint: {clean_drop: 1/10}
"""
TODAY = {"training": {"epochs": 2, "poly_power": 0.9}, "model": {"width": 8}}
"""What a configuration holds beside its tasks; 0.1 did not know ``poly_power``."""


def config(tasks: Sequence[str], seed: int) -> dict[str, Any]:
    return {
        **deepcopy(TODAY),
        "main_task": "segmentation",
        "auxiliary_tasks": list(tasks),
        "loss_weights": dict.fromkeys(tasks, 0.1),
        "task_options": {task: {"class_weights": "none"} for task in tasks},
        "adversary": {"attack": "pgd", "attacked_tasks": "main"},
        "seed": seed,
    }


def trial(
    number: int,
    tasks: Sequence[str] = (),
    *,
    robust: float = 0.2,
    clean: float = 0.5,
    seed: int = 0,
    **changes: Any,
) -> TrialResult:
    record = TrialResult(
        number=number,
        label="+".join(("segmentation", *tasks)),
        role="searched" if tasks else "baseline",
        config=config(tasks, seed),
        parameters={},
        main_task="segmentation",
        auxiliary_tasks=tuple(tasks),
        output_dimension=1,
        status="complete",
        epochs=(EpochRow(1, {ROBUST: robust, CLEAN: clean}, 1.0, 0),),
        planned_epochs=1,
        seed=seed,
    )
    return replace(record, **changes)


def study_of(*trials: TrialResult, **changes: Any) -> Study:
    return Study("rooms-1", "runs/rooms-1", "segmentation", OBJECTIVES, trials, **changes)


def older(record: TrialResult) -> TrialResult:
    """The same as a version wrote it that did not know a key of today."""
    known = deepcopy(dict(record.config))
    del known["training"]["poly_power"]
    return replace(record, config=known)


def complete(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**stored, "training": {"poly_power": 0.9, **stored["training"]}}


def refuse(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    raise AssertionError("nothing has to be completed")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path, "rooms", SPACE)


def test_what_was_written_is_read(run: RunDirectory) -> None:
    trials = [trial(0), trial(1, ["depth"], stage="confirm"), trial(2, stage="proxy")]
    for record in trials:
        run.write_trial(record)
    study = Study.read(run)
    assert study.trials == tuple(trials)
    assert (study.name, study.place, study.main_task) == ("rooms-1", run.place, "segmentation")
    assert study.objectives == OBJECTIVES
    assert study.max_clean_drop == pytest.approx(0.1)
    assert study.space["name"] == "rooms"
    assert study.space_text == SPACE
    assert study.evaluations == study.transfers == study.dimensions == study.task_gradients == ()
    assert (study.table.num_rows, study.epochs.num_rows) == (3, 3)
    assert study.evaluation_table.num_rows == 0
    assert len(study.to_pandas()) == 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("objectives: [{maximize: a/robust/b}]\n", "main_task is required; add it"),
        ("main_task: a\n", "objectives is required; add it"),
        ("main_task: a\nobjectives: []\n", "objectives must be a list of at least 1, got"),
        ("main_task: a\nobjectives: 3\n", "objectives must be a list, got 3"),
        ("main_task: a\nobjectives: [{maximize: a}]\n", r"objectives.0: a metric must be .*'a'"),
        ("main_task: a\nobjectives: [{up: a/robust/b}]\n", "unknown key 'objectives.0.up'"),
        (
            "main_task: a\nobjectives: [{maximize: a/robust/b}]\nconstraint: {clean_drop: -1}\n",
            "constraint.clean_drop must be at least 0, got -1",
        ),
        ("- a\n", "must hold a mapping"),
    ],
)
def test_a_space_that_says_not_what_is_compared_is_refused(
    tmp_path: Path, text: str, problem: str
) -> None:
    run = RunDirectory.create(tmp_path, "rooms", text)
    with pytest.raises(ConfigError, match=rf"rooms-1/space\.yaml:? {problem}") as raised:
        Study.read(run)
    assert "\n" not in str(raised.value)


def test_the_main_scores_follow_the_objectives() -> None:
    only = StudyObjective("depth/clean/abs_rel", "minimize")
    study = replace(study_of(), objectives=(only,))
    assert study.clean == only
    assert study.robust == StudyObjective("depth/robust/abs_rel", "minimize")
    assert (study_of().robust, study_of().clean) == OBJECTIVES


def test_only_the_search_itself_competes() -> None:
    natural = {"adversary": {"attack": "none"}}
    study = study_of(
        trial(0, robust=0.1, clean=0.6, config=config((), 0) | natural),
        trial(1, robust=0.3, clean=0.55),
        trial(2, ["depth"], robust=0.9, clean=0.2),
        trial(3, ["edges"], robust=0.2, clean=0.55),
        trial(4, ["depth"], robust=0.95, status="pruned"),
        trial(5, ["depth"], robust=0.99, stage="confirm"),
        trial(6, ["depth"], robust=0.99, stage="proxy"),
        max_clean_drop=0.1,
    )
    assert [t.number for t in study.searched] == [0, 1, 2, 3, 4]
    assert [t.number for t in study.staged] == [5, 6]
    assert [t.number for t in study.complete] == [0, 1, 2, 3]
    assert [t.number for t in study.baselines] == [0, 1]
    assert [t.number for t in study.infeasible] == [2]
    assert study.best is not None
    assert study.best.number == 1
    assert [t.number for t in study.pareto] == [0, 1]
    assert study.is_confirmed
    free = replace(study, max_clean_drop=None)
    assert free.best is not None
    assert free.best.number == 2
    assert [t.number for t in free.pareto] == [0, 1, 2]


def test_rungs_are_compared_in_the_stage_that_they_thin_out() -> None:
    def at_rung(number: int, **changes: Any) -> TrialResult:
        rows = [EpochRow(e, {ROBUST: 0.1 * number, CLEAN: 0.5}, 1.0, 0) for e in (1, 2)]
        return trial(number, ["depth"], epochs=tuple(rows), planned_epochs=2, **changes)

    proxies = [at_rung(n, stage="proxy") for n in range(5)]
    real = [at_rung(n, stage="search") for n in range(5, 9)]
    assert {found.trials for found in study_of(*proxies, *real).rung_agreements([1])} == {5}
    assert {found.trials for found in study_of(*real).rung_agreements([1])} == {4}
    assert study_of(*real).rung_agreements([]) == ()


def test_overhead_is_a_mean_over_warm_workers() -> None:
    seconds = [None, 0.0, 0.3]
    trials = [trial(n, overhead_seconds=overhead) for n, overhead in enumerate(seconds)]
    assert study_of(*trials).overheads == (0.0, 0.3)
    assert study_of(*trials).engine_overhead == pytest.approx(0.15)
    assert study_of(trial(0)).engine_overhead is None


def confirmations() -> list[TrialResult]:
    """The main task alone and a task set under one recipe, three seeds each."""
    return [
        trial(2 * index + place, tasks, seed=1000 + index, stage="confirm", parent=place)
        for index in range(3)
        for place, tasks in enumerate([(), ("depth",)])
    ]


@pytest.mark.parametrize(
    "cut",
    [[0, 1], [0, 2, 4], [1, 3, 5], [5], [0, 1, 2, 3, 4]],
    ids=lambda cut: "".join(map(str, cut)),
)
def test_a_run_that_a_newer_version_resumed_keeps_its_partners(
    run: RunDirectory, cut: list[int]
) -> None:
    """Some of the records lack a key that has a default today."""
    for record in confirmations():
        run.write_trial(older(record) if record.number in cut else record)
    stored = Study.read(run).confirmed
    assert len(stored) > 2 or stored[1].partner is None, "as they are stored they differ"
    alone, depth = Study.read(run, complete).confirmed
    assert depth.partner is not None
    assert depth.partner.number == alone.first.number
    assert depth.differences[0].seeds == 3


def test_seeds_of_one_configuration_stay_together(run: RunDirectory) -> None:
    for record in confirmations():
        searched = replace(record, stage="search")
        run.write_trial(older(searched) if record.number < 3 else searched)
    groups = seed_groups(Scored(record) for record in Study.read(run, complete).trials)
    assert [len(group.members) for group in groups] == [3, 3]
    (line,) = lines(groups)
    assert line.alone is not None
    assert list(line.groups) == [("depth",)]


def test_of_two_trials_with_one_seed_the_first_counts() -> None:
    twins = [Scored(trial(0, seed=1)), Scored(trial(1, seed=1)), Scored(trial(2, seed=0))]
    (group,) = seed_groups(twins)
    assert [member.trial.number for member in group.members] == [2, 0], "in order of the seed"


def test_runs_that_are_read_together_are_completed_together() -> None:
    """Each has keys of its own; neither would be completed alone."""
    new = study_of(*(replace(r, stage="search") for r in confirmations() if r.seed > 1000))
    old = study_of(*(older(replace(r, stage="search")) for r in confirmations() if r.seed == 1000))
    studies = comparable([old, new], complete)
    groups = seed_groups(Scored(record) for study in studies for record in study.trials)
    assert [len(group.members) for group in groups] == [3, 3]
    assert [comparable([study], refuse) for study in (old, new)] == [(old,), (new,)]


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config["training"].pop("poly_power"),
        lambda config: config["task_options"]["depth"].pop("class_weights"),
        lambda config: config.pop("model"),
        lambda config: config["model"].update(pretrained=False),
    ],
)
def test_any_missing_key_is_seen(change: Callable[[dict[str, Any]], object]) -> None:
    records = [trial(0), trial(1, ["depth"]), trial(2, ["depth", "edges"])]
    assert comparable([study_of(*records)], refuse) == (study_of(*records),)
    changed = deepcopy(dict(records[1].config))
    change(changed)
    called = []

    def note(stored: Mapping[str, Any]) -> Mapping[str, Any]:
        called.append(stored)
        return stored

    comparable([study_of(records[0], replace(records[1], config=changed), records[2])], note)
    assert len(called) == 3, "all of them, so that they are alike in everything else too"
