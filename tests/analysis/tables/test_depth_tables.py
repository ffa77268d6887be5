"""Tables of a study whose main score is an error, and the tables' files, on records by hand."""

import csv
import json
from pathlib import Path

import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from taskgroup.analysis.tables.grid_tables import attacks_table, relative_table, vulnerability_table
from taskgroup.analysis.tables.grids import open_grid
from taskgroup.cli import app
from taskgroup.results.records import EpochRow, EvaluationRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.study.study import Study

SPACE = """name: depth
dataset: {name: scenes}
main_task: depth
auxiliary_tasks: {subset: [segmentation]}
objectives: [{minimize: depth/robust/mae}, {minimize: depth/clean/mae}]
"""
NATURAL = {"attack": "none"}
CONDITIONS = {
    "clean": (0.0, 0, (0.5, 0.4)),
    "worst_case": (4 / 255, 20, (1.25, 1.5)),
    "pgd": (4 / 255, 20, (1.0, 1.3)),
}
"""Radius, steps, and the mean absolute error of depth alone and with segmentation at seed 0."""
VULNERABILITIES = {"worst_case": (1.5, 2.75), "pgd": (1.0, 2.25)}
GROWTH = 0.1
"""By how much of itself every number grows with the seed."""


def trial(number: int, tasks: tuple[str, ...], seed: int) -> TrialResult:
    """A finished trial whose scores by the search's own attack are those of PGD."""
    grown = 1 + GROWTH * seed
    metrics = {
        f"depth/{kind}/mae": CONDITIONS[condition][2][len(tasks)] * grown
        for kind, condition in (("clean", "clean"), ("robust", "pgd"))
    }
    return TrialResult(
        number=number,
        label="+".join(("depth", *tasks)),
        role="searched",
        config={
            "main_task": "depth",
            "auxiliary_tasks": list(tasks),
            "loss_weights": dict.fromkeys(tasks, 0.1),
            "adversary": NATURAL,
            "seed": seed,
        },
        parameters={"seed": seed},
        main_task="depth",
        auxiliary_tasks=tasks,
        output_dimension=100 * (1 + 9 * len(tasks)),
        status="complete",
        epochs=(EpochRow(4, metrics, 1.0, 1),),
        planned_epochs=4,
        seed=seed,
    )


def rows(found: TrialResult) -> list[EvaluationRow]:
    """Every condition by mean absolute error, and by a score that no table may show."""
    side, grown = len(found.auxiliary_tasks), 1 + GROWTH * found.seed
    return [
        EvaluationRow(
            trial=found.number,
            label=found.label,
            role="other",
            condition=condition,
            attacked_tasks=("depth",),
            norm="linf",
            epsilon=epsilon,
            steps=steps,
            restarts=min(steps, 1),
            task="depth",
            score_name=score,
            direction=direction,  # type: ignore[arg-type]
            score=scores[side] * grown * factor,
            low=0.0,
            high=9.0,
            images=64,
            seed=0,
            verdict="ok",
            seconds=1.0,
            vulnerability=VULNERABILITIES[condition][side] * grown * factor if epsilon else None,
            suite="quick",
        )
        for condition, (epsilon, steps, scores) in CONDITIONS.items()
        for score, direction, factor in (("delta1", "maximize", 0.01), ("mae", "minimize", 1.0))
    ]


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Depth alone and with segmentation, three seeds each, evaluated."""
    trials = [
        trial(number, tasks, number % 3)
        for number, tasks in enumerate([()] * 3 + [("segmentation",)] * 3)
    ]
    run = RunDirectory.create(tmp_path / "runs", "depth", SPACE)
    for record in trials:
        run.write_trial(record)
    run.write_evaluation([row for record in trials for row in rows(record)])
    return Study.read(run)


def test_attacks_table_of_an_error_says_lower_is_better(study: Study) -> None:
    """Layout T2 of MTRobust: rows are attacks, the worst of them last."""
    found = attacks_table(open_grid([study]))
    assert found.table.columns == ("main task", "trained", "attack", "alone", "+segmentation")
    assert [row.cells[2] for row in found.table.rows] == [
        "no attack",
        "PGD 20, 4/255",
        "worst case of all, 4/255",
    ]
    means = [(0.55, 0.44), (1.1, 1.43), (1.375, 1.65)]
    assert [record["mean"] for record in found.records] == pytest.approx(sum(means, ()))
    assert {record["score_name"] for record in found.records} == {"mae"}
    assert found.table.rows[1].cells[3].startswith("1.10 (")
    assert found.table.rows[1].cells[4].startswith("1.43 (")
    assert any(note.startswith("lower is better; ") for note in found.table.notes)
    assert not any("higher" in note for note in found.table.notes)


def test_vulnerability_table_of_an_error(study: Study) -> None:
    found = vulnerability_table(open_grid([study]))
    assert [row.cells[2] for row in found.table.rows] == [
        "PGD 20, 4/255",
        "worst case of all, 4/255",
    ]
    means = [1.1, 2.475, 1.65, 3.025]
    assert [record["mean"] for record in found.records] == pytest.approx(means)
    assert found.table.rows[0].cells[3].startswith("1.10 (")
    assert any("lower is better" in note for note in found.table.notes)


@pytest.mark.parametrize(("split", "robust"), [(None, -0.2), ("validation", -0.3)])
def test_a_smaller_error_is_a_change_above_zero(
    study: Study, split: str | None, robust: float
) -> None:
    """Clean (0.5 - 0.4) / 0.5, worst case (1.25 - 1.5) / 1.25, the search's PGD (1 - 1.3) / 1."""
    found = relative_table(open_grid([study], split))
    changes = {record["condition"]: record["mean"] for record in found.records}
    assert changes == pytest.approx({"clean": 0.2, "robust": robust})
    assert [row.cells[2] for row in found.table.rows] == [
        "clean absolute error",
        "robust absolute error",
    ]
    minus = "\N{MINUS SIGN}"
    cells = [row.cells[4] for row in found.table.rows]
    assert cells[0].startswith("+20.0 %")
    assert cells[1].startswith(f"{minus}{-100 * robust:.1f} %")


def read_back(path: Path) -> list[dict[str, object]]:
    """The rows of a CSV or parquet file; numbers of a CSV are text."""
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path).to_pylist()
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("command", "count"), [("attacks", 6), ("vulnerability", 4)])
def test_commands_write_what_they_print(
    study: Study, tmp_path: Path, command: str, count: int
) -> None:
    places = [tmp_path / "table.csv", tmp_path / "table.parquet"]
    out = [word for place in places for word in ("--out", str(place))]
    done = CliRunner().invoke(app, ["table", command, study.place, "--json", *out])
    assert done.exit_code == 0
    printed = json.loads(done.stdout)
    assert len(printed) == count
    for place in places:
        assert f"Written to {place}" in done.stderr
        found = read_back(place)
        assert [list(row) for row in found] == [list(record) for record in printed]
        for row, record in zip(found, printed, strict=True):
            for name, value in record.items():
                same = float(row[name]) if isinstance(value, float) else str(row[name])
                assert same == (value if isinstance(value, float) else str(value)), name
    shown = CliRunner().invoke(app, ["table", command, study.place, "--out", str(places[0])])
    assert shown.exit_code == 0
    assert "+segmentation" in shown.stdout
    assert f"Written to {places[0]}" in shown.stdout
