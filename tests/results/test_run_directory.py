"""The run directory: what goes in comes out, and nothing is half-written."""

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taskgroup.errors import ConfigError, DataError, ResourceError
from taskgroup.results.records import (
    EpochRow,
    EvaluationRow,
    Panel,
    PanelKind,
    TrialResult,
    pixel_bytes,
)
from taskgroup.results.records.codec import encode, to_table
from taskgroup.results.run_directory import RunDirectory
from taskgroup.results.runs import list_runs, newest
from taskgroup.results.storage.single_files import read_place

SPACE = "name: small\nmain_task: segmentation\n"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "runs", "small", SPACE)


def trial(number: int, **changes: object) -> TrialResult:
    row = EpochRow(1, {"segmentation/clean/miou": 0.5, "learning_rate": 1e-3}, 2.5, 123)
    last = EpochRow(2, {"segmentation/clean/miou": 0.625, "segmentation/robust/miou": 0.25}, 2, 124)
    base = TrialResult(
        number=number,
        label="segmentation+depth",
        role="searched",
        config={"main_task": "segmentation", "loss_weights": {"depth": 0.1}, "seed": number},
        parameters={"adversary.epsilon": 4 / 255, "auxiliary_tasks": ["depth"]},
        main_task="segmentation",
        auxiliary_tasks=("depth",),
        output_dimension=4096,
        status="complete",
        epochs=(row, last),
        planned_epochs=2,
        seed=number,
        started="2026-11-21T04:00:00+00:00",
        seconds=4.5,
        overhead_seconds=0.125,
        peak_memory=124,
        stage="confirm",
        parent=7,
        attempts=2,
        fidelity={"epochs": 2, "attack_steps": 10, "validation_images": 256},
        checkpoint=f"checkpoints/{number:05d}.pt",
        versions={"torch": "2.15.0"},
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def evaluation(number: int, **changes: object) -> EvaluationRow:
    base = EvaluationRow(
        trial=number,
        label="segmentation+depth",
        role="winner",
        condition="pgd",
        attacked_tasks=("segmentation",),
        norm="linf",
        epsilon=4 / 255,
        steps=20,
        restarts=5,
        task="segmentation",
        score_name="miou",
        direction="maximize",
        score=0.25,
        low=0.2,
        high=0.3,
        images=256,
        seed=0,
        verdict="ok",
        seconds=3.5,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def panel(number: int, values: np.ndarray, kind: PanelKind) -> Panel:
    return Panel(
        number, "a", "winner", 3, "pgd", 4 / 255, "prediction", "depth", kind, values.shape,
        pixel_bytes(values, kind), ("floor", "wall"),
    )  # fmt: skip


def files(run: RunDirectory) -> list[str]:
    return sorted(str(p.relative_to(run.path)) for p in run.path.rglob("*") if p.is_file())


def test_trials_round_trip_in_order_of_number(run: RunDirectory) -> None:
    bare = TrialResult(7, "x", "baseline", {}, {}, "depth", (), 1, "failed", "loss became NaN")
    stored = [bare, trial(2), trial(0, overhead_seconds=None, checkpoint=None)]
    for result in stored:
        run.write_trial(result)
    assert run.trials() == [stored[2], stored[1], stored[0]]
    assert RunDirectory.open(run.path).trials() == run.trials()
    assert files(run) == [
        "space.yaml",
        "trials/00000.parquet",
        "trials/00002.parquet",
        "trials/00007.parquet",
    ]


def test_trials_beyond_five_digits_are_in_order_too(run: RunDirectory) -> None:
    for number in (100_000, 99_999):
        run.write_trial(trial(number))
    assert [result.number for result in run.trials()] == [99_999, 100_000]


def test_an_empty_run_has_no_trials_but_its_columns(run: RunDirectory) -> None:
    assert run.trials() == []
    assert run.evaluations() == []
    assert run.panels() == []
    assert "epochs" in run.trials_table().column_names


def test_a_later_record_of_a_trial_replaces_the_earlier(run: RunDirectory) -> None:
    run.write_trial(trial(1, status="interrupted", reason="stopped by hand"))
    run.write_trial(trial(1))
    assert run.trials() == [trial(1)]


def test_metrics_keep_nan_and_infinity(run: RunDirectory) -> None:
    row = EpochRow(1, {"a": float("nan"), "b": float("inf")}, 1.0, 0)
    run.write_trial(trial(0, epochs=(row,)))
    (stored,) = run.trials()
    assert np.isnan(stored.epochs[0].metrics["a"])
    assert stored.epochs[0].metrics["b"] == float("inf")


def test_the_latest_evaluation_of_a_trial_stands(run: RunDirectory) -> None:
    other = evaluation(0, label="main only", role="baseline")
    run.write_evaluation([evaluation(1), evaluation(1, condition="clean"), other])
    run.write_evaluation([evaluation(1, score=0.125)])
    assert run.evaluations() == [evaluation(1, score=0.125), other]


def test_an_evaluation_on_another_split_stands_beside_the_first(run: RunDirectory) -> None:
    confirmed = evaluation(1, split="confirm")
    run.write_evaluation([evaluation(1)], [panel(1, np.array(7, np.uint8), "classes")])
    run.write_evaluation([confirmed])
    assert run.evaluations() == [evaluation(1), confirmed]
    names = {path.name for path in (run.path / "evaluations").iterdir()}
    assert {path.name for path in (run.path / "panels").iterdir()} < names


def test_a_foreign_name_among_evaluations_does_not_stop_writing(run: RunDirectory) -> None:
    run.write_evaluation([evaluation(1)])
    copied = run.path / "evaluations" / "copy.parquet"
    copied.write_bytes(next(copied.parent.iterdir()).read_bytes())
    run.write_evaluation([evaluation(2)])
    assert {row.trial for row in run.evaluations()} == {1, 2}
    assert any(path.name.startswith("0002-") for path in copied.parent.iterdir())


def test_panels_keep_type_shape_and_nan(run: RunDirectory) -> None:
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    numbers = np.array([[[0.5, np.nan]]], dtype=np.float32)
    one_class = np.array(7, dtype=np.uint8)
    stored = [panel(1, picture, "picture"), panel(1, numbers, "numbers")]
    run.write_evaluation([evaluation(1)], [*stored, panel(1, one_class, "classes")])
    found = run.panels()
    for values, copy in zip((picture, numbers, one_class), found, strict=True):
        assert copy.pixels.dtype == values.dtype
        np.testing.assert_array_equal(copy.pixels, values)
    assert found[0].class_names == ("floor", "wall")
    assert found[0].epsilon == 4 / 255


def test_a_run_keeps_its_space_and_places(run: RunDirectory) -> None:
    assert run.space_text() == SPACE
    assert run.path.name == run.name == "small-1"
    assert run.checkpoint_path(3) == run.path / "checkpoints" / "00003.pt"
    assert run.checkpoint_path(3).parent.is_dir()
    assert run.write_report("<p>é</p>") == run.report_path
    assert Path(run.report_path).read_text(encoding="utf-8") == "<p>é</p>"


def test_runs_are_numbered_and_listed_oldest_first(tmp_path: Path) -> None:
    names = ["b", "a", "b"]
    runs = [RunDirectory.create(tmp_path, name, SPACE) for name in names]
    for seconds, made in enumerate(runs):
        os.utime(made.path / "space.yaml", (seconds, seconds))
    (tmp_path / "foreign").mkdir()
    assert [made.name for made in list_runs(tmp_path)] == ["b-1", "a-1", "b-2"]
    assert newest(tmp_path) == runs[-1]
    assert list_runs(tmp_path / "missing") == []


def test_create_at_takes_an_empty_folder_only(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    made = RunDirectory.create_at(tmp_path / "mine", SPACE)
    assert made.space_text() == SPACE
    with pytest.raises(ConfigError, match=r"must not exist or be empty.*--resume"):
        RunDirectory.create_at(tmp_path / "mine", SPACE)


def test_missing_runs_are_named_with_the_way_on(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere must be a run directory.*runs list"):
        RunDirectory.open(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"it has none; start one with: taskgroup search"):
        newest(tmp_path)


def test_addresses_and_impossible_names_are_refused(tmp_path: Path) -> None:
    for place in ("ftp://host/run", "s3:/bucket/run", "s3://key:secret@bucket/run", "s3://b/r?x=1"):
        with pytest.raises(ConfigError, match=r"address"):
            RunDirectory.open(place)
    for name in ("", "../x", ".hidden"):
        with pytest.raises(ConfigError, match="name of a folder"):
            RunDirectory.create(tmp_path, name, SPACE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0, 3, 0.5, 0.98])
def test_a_torn_file_is_named_in_one_line_and_left_out(
    run: RunDirectory, keep: float, left_out: Callable[[], list[str]]
) -> None:
    run.write_trial(trial(0))
    run.write_trial(trial(1))
    path = run.path / "trials" / "00000.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep > 1 else keep * len(content))])
    assert [found.number for found in run.trials()] == [1]
    (problem,) = left_out()
    assert "trials/00000.parquet must be a parquet file" in problem


@pytest.mark.parametrize("count", [0, 2])
def test_a_file_holds_one_trial(
    run: RunDirectory, count: int, left_out: Callable[[], list[str]]
) -> None:
    run.write_trial(trial(0))
    path = run.path / "trials" / "00000.parquet"
    path.write_bytes(encode(TrialResult, [trial(0)] * count))
    assert run.trials() == []
    assert f"00000.parquet must hold one trial, but holds {count}" in left_out()[0]


def test_a_foreign_table_is_named_in_one_line(
    run: RunDirectory, left_out: Callable[[], list[str]]
) -> None:
    (run.path / "trials").mkdir()
    path = run.path / "trials" / "00009.parquet"
    pq.write_table(pa.table({"x": [1]}), path)
    assert run.trials() == []
    (problem,) = left_out()
    assert "00009.parquet must be" in problem
    assert "another program or record wrote it" in problem


def test_the_next_number_is_above_those_of_damaged_records(run: RunDirectory) -> None:
    assert run.next_number() == 0
    for number in (0, 3):
        run.write_trial(trial(number))
    (run.path / "trials" / "00003.parquet").write_bytes(b"torn")
    assert run.next_number() == 4


def test_a_record_of_another_kind_is_left_out(
    run: RunDirectory, left_out: Callable[[], list[str]]
) -> None:
    run.write_trial(trial(0))
    (run.path / "evaluations").mkdir()
    os.rename(run.path / "trials/00000.parquet", run.path / "evaluations/0001-x.parquet")
    assert run.evaluations() == []
    assert "evaluation records, but another program or record" in left_out()[0]


def test_the_table_has_every_column_of_every_file(run: RunDirectory) -> None:
    extra = {"waited": pa.scalar(0.5, pa.float32())}
    run.write_trial(trial(7))
    run.write_trial(trial(2, extra=extra))
    older = run.path / "trials" / "00007.parquet"
    table = to_table(TrialResult, run.trials()[1:]).drop_columns(["stage", "parent"])
    pq.write_table(table, older)
    table = run.trials_table()
    assert table["number"].to_pylist() == [2, 7]
    assert table["stage"].to_pylist() == ["confirm", "search"]
    assert table["parent"].to_pylist() == [7, None]
    assert table["waited"].to_pylist() == [0.5, None]
    assert table["waited"].type == pa.float32()


def test_files_being_written_are_not_read(run: RunDirectory) -> None:
    run.write_trial(trial(0))
    (run.path / "trials" / ".00001.parquet.77.part").write_bytes(b"PAR1 half of a re")
    assert run.trials() == [trial(0)]


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file grow beyond 100 bytes, which fails as a full disk does.

    Only around the call: pytest's own output may be a file too.
    """
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "small", SPACE)
    before = files(run)
    refused = pytest.raises(ResourceError, match=r"00000\.parquet must be writable.*free space")
    with refused, full_disk():
        run.write_trial(trial(0))
    assert files(run) == before
    with pytest.raises(ResourceError, match=r"space\.yaml must be writable"), full_disk():
        RunDirectory.create(tmp_path, "other", SPACE * 10)
    assert [made.name for made in list_runs(tmp_path)] == ["small-1"]
    assert not (tmp_path / "other-1").exists()


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=r"must be a folder that can be made: not a directory"):
        RunDirectory.create(tmp_path / "file", "small", SPACE)
    with pytest.raises(ResourceError, match=r"must be a folder that can be made"):
        RunDirectory.create(Path("/proc/taskgroup"), "small", SPACE)


def test_a_second_search_is_refused_with_the_holder(run: RunDirectory) -> None:
    refused = pytest.raises(ConfigError, match=f"process {os.getpid()} is using it")
    with run.lock(), refused, RunDirectory.open(run.path).lock():
        pass
    with run.lock():
        pass


@pytest.mark.parametrize("name", ["00009", "copy", "1"])
def test_a_record_under_another_trials_name_is_left_out(
    run: RunDirectory, name: str, left_out: Callable[[], list[str]]
) -> None:
    run.write_trial(trial(1))
    folder = run.path / "trials"
    (folder / f"{name}.parquet").write_bytes((folder / "00001.parquet").read_bytes())
    assert [found.number for found in run.trials()] == [1]
    (problem,) = left_out()
    assert f"trials/{name}.parquet must hold the trial that it is named after" in problem
    assert "holds trial 1, " in problem


def test_every_message_names_a_file_as_the_run_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_out: Callable[[], list[str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = RunDirectory.create("runs", "small", SPACE)
    run.write_trial(trial(0))
    run.write_evaluation([evaluation(0)])
    for folder, read in (("trials", run.trials), ("evaluations", run.evaluations)):
        (path,) = (tmp_path / "runs/small-1" / folder).iterdir()
        path.write_bytes(b"torn")
        assert read() == []
        assert left_out()[0].startswith(f"runs/small-1/{folder}/{path.name} must be ")
    with pytest.raises(DataError, match=r"^runs/small-1/nothing must be readable"):
        run.storage.read("nothing")
    with pytest.raises(DataError, match=r"^nothing must be readable"):
        read_place("nothing")
