"""TensorBoard's event files, read back with TensorBoard itself."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from taskgroup.config import to_yaml
from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.plan.baselines import plan_baselines
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.search.watch.event_files import EventFiles, folder_of, hyperparameters

ROBUST, SPEED = "segmentation/robust/miou", "images_per_second"


@pytest.fixture
def run(tmp_path: Path, values: dict[str, Any]) -> RunDirectory:
    return RunDirectory.create_at(tmp_path / "run", to_yaml(values))


@pytest.fixture
def trial(make_space: Callable[..., SearchSpace]) -> TrialResult:
    planned = plan_baselines(make_space())[2]
    return replace(planned, number=17, started="2026-05-01T12:00:00+00:00")


def after(trial: TrialResult, epochs: int, status: Any = "interrupted") -> TrialResult:
    rows = tuple(
        EpochRow(e, {ROBUST: 0.125 * e, SPEED: 100.0 + e}, 2.0, 1000) for e in range(1, epochs + 1)
    )
    return replace(trial, epochs=rows, status=status)


def read(run: RunDirectory, trial: TrialResult) -> EventAccumulator:
    events = EventAccumulator(str(run.path / folder_of(trial)))
    events.Reload()
    return events


def points(events: EventAccumulator, tag: str) -> list[tuple[int, float, float]]:
    return [(e.step, e.value, e.wall_time) for e in events.Scalars(tag)]


def plugin(events: EventAccumulator, name: str) -> Any:
    content = events.SummaryMetadata(f"_hparams_/{name}").plugin_data.content
    return getattr(plugin_data_pb2.HParamsPluginData.FromString(content), name)


def test_every_metric_of_every_epoch_is_a_scalar(run: RunDirectory, trial: TrialResult) -> None:
    files = EventFiles(run)
    for epoch in range(1, 5):
        files(after(trial, epoch))
    files(after(trial, 4, "complete"))
    files(after(trial, 4, "complete"))
    events = read(run, trial)
    assert set(events.Tags()["scalars"]) == {ROBUST, SPEED}
    begin = 1777636800.0
    assert points(events, ROBUST) == [(e, 0.125 * e, begin + 2 * e) for e in range(1, 5)]
    assert [value for _, value, _ in points(events, SPEED)] == [101, 102, 103, 104]


def test_drawn_values_and_the_end_are_hyperparameters(
    run: RunDirectory, trial: TrialResult
) -> None:
    EventFiles(run)(after(trial, 2, "failed"))
    events = read(run, trial)
    start, end = plugin(events, "session_start_info"), plugin(events, "session_end_info")
    found = {
        name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()
    }
    assert found == dict(hyperparameters(trial))
    assert found["task set"] == "segmentation+depth+edges+normals"
    assert found["adversary.epsilon"] == pytest.approx(2 / 255)
    assert end.status == 2, "failure"


@pytest.mark.parametrize("steps", [(1, 2, 3), (3, 3), (3,), (2, 1, 3)])
def test_no_epoch_stands_twice_however_the_record_came(
    run: RunDirectory, trial: TrialResult, steps: tuple[int, ...]
) -> None:
    """A resumed or lost trial reports epochs again, or starts anew."""
    for step in steps:
        EventFiles(run)(after(trial, step))
    assert [step for step, *_ in points(read(run, trial), ROBUST)] == [1, 2, 3]
    files = EventFiles(run)
    for step in steps:
        files(after(trial, step))
    assert [step for step, *_ in points(read(run, trial), ROBUST)] == [1, 2, 3]


def test_trials_that_ended_before_get_their_file_once(
    run: RunDirectory, trial: TrialResult
) -> None:
    done = after(trial, 2, "complete")
    EventFiles(run, [done])
    (path,) = (run.path / folder_of(trial)).iterdir()
    assert [step for step, *_ in points(read(run, trial), ROBUST)] == [1, 2]
    EventFiles(run, [done])
    assert list((run.path / folder_of(trial)).iterdir()) == [path]


def test_a_trial_without_an_epoch_has_no_file(run: RunDirectory, trial: TrialResult) -> None:
    EventFiles(run)(replace(trial, status="failed", reason="no memory"))
    assert not (run.path / "tensorboard").exists()


def test_a_disk_that_refuses_costs_the_file_only(run: RunDirectory, trial: TrialResult) -> None:
    (run.path / "tensorboard").write_text("a file where a folder must be")
    EventFiles(run)(after(trial, 1))
    assert (run.path / "tensorboard").read_text() == "a file where a folder must be"


def test_names_of_folders_are_plain(trial: TrialResult) -> None:
    assert folder_of(trial) == "tensorboard/00017-all_candidates_equal_weights"
    odd = replace(trial, label="../../etc, ε=4/255")
    assert folder_of(odd) == "tensorboard/00017-_etc_ε_4_255"


def test_a_run_directory_that_vanished_is_not_made_anew(
    run: RunDirectory, trial: TrialResult
) -> None:
    files = EventFiles(run)
    shutil.rmtree(run.path)
    files(trial)
    assert not run.path.exists()
