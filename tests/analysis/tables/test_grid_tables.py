"""Tables of grid studies on records made by hand, where every number is known."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from taskgroup.analysis.report.grid_page import grid_sections
from taskgroup.analysis.tables.grid_tables import attacks_table, relative_table, vulnerability_table
from taskgroup.analysis.tables.grids import open_grid
from taskgroup.analysis.tables.predictors import predictors_table
from taskgroup.cli import app
from taskgroup.errors import DataError
from taskgroup.results.records import EpochRow, EvaluationRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.study.study import Study

SPACE = """name: little
dataset: {{name: scenes}}
main_task: {main}
auxiliary_tasks: {{subset: [depth, edges]}}
loss_weights: {{shared: 1.0}}
objectives: [{{{direction}: {main}/robust/{score}}}]
"""
TO, TIMES = "\N{EN DASH}", "\N{MULTIPLICATION SIGN}"
NATURAL = {"attack": "none"}
PGD = {"attack": "pgd", "epsilon": 4 / 255, "steps": 2, "attacked_tasks": "main"}
SCORES = {(): 0.2, ("depth",): 0.24, ("depth", "edges"): 0.3}


def trial(
    number: int,
    tasks: tuple[str, ...] = (),
    *,
    seed: int = 0,
    robust: float = 0.2,
    main: str = "segmentation",
    score: str = "miou",
    adversary: dict[str, Any] = PGD,
    **config: Any,
) -> TrialResult:
    """A finished trial; the clean score is twice the robust one."""
    metrics = {f"{main}/robust/{score}": robust, f"{main}/clean/{score}": 2 * robust}
    return TrialResult(
        number=number,
        label="+".join((main, *tasks)),
        role="searched",
        config={
            "main_task": main,
            "auxiliary_tasks": list(tasks),
            "loss_weights": {task: 1 / len(tasks) for task in tasks},
            "adversary": adversary,
            "seed": seed,
            **config,
        },
        parameters={"seed": seed},
        main_task=main,
        auxiliary_tasks=tasks,
        output_dimension=100 * (1 + len(tasks)),
        status="complete",
        epochs=(EpochRow(4, metrics, 1.0, 1),),
        planned_epochs=4,
        seed=seed,
    )


def grid_trials(**changes: Any) -> list[TrialResult]:
    """Three task sets with three seeds each, a tenth more with each seed."""
    cases = [(tasks, seed) for tasks in SCORES for seed in range(3)]
    return [
        trial(number, tasks, seed=seed, robust=SCORES[tasks] * (1 + 0.1 * seed), **changes)
        for number, (tasks, seed) in enumerate(cases)
    ]


def rows(found: TrialResult, *, score: str = "miou", verdict: str = "ok") -> list[EvaluationRow]:
    """Clean, one attack, the worst case, and a sweep that tables leave out."""
    base = found.score(f"{found.main_task}/robust/{score}") or 0.0
    conditions = [
        ("clean", 0.0, 0, 2.0),
        ("worst_case", 4 / 255, 50, 0.5),
        ("apgd", 4 / 255, 50, 1),
    ]
    return [
        EvaluationRow(
            trial=found.number,
            label=found.label,
            role="other",
            condition=condition,
            attacked_tasks=(found.main_task,),
            norm="linf",
            epsilon=epsilon,
            steps=steps,
            restarts=min(steps, 2),
            task=found.main_task,
            score_name=score,
            direction="maximize",
            score=factor * base,
            low=0.0,
            high=1.0,
            images=64,
            seed=0,
            verdict=verdict if epsilon else "ok",
            seconds=1.0,
            vulnerability=(1 - base) if epsilon else None,
            suite="quick",
        )
        for condition, epsilon, steps, factor in (*conditions, ("sweep", 4 / 255, 20, 9.0))
    ]


Build = Callable[..., Study]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Writes trials and evaluations and reads them as a study."""

    def make(
        trials: list[TrialResult],
        evaluated: list[EvaluationRow] | None = None,
        *,
        main: str = "segmentation",
        score: str = "miou",
        direction: str = "maximize",
    ) -> Study:
        space = SPACE.format(main=main, score=score, direction=direction)
        run = RunDirectory.create(tmp_path, "little", space)
        for record in trials:
            run.write_trial(record)
        if evaluated:
            run.write_evaluation(evaluated)
        return Study.read(run)

    return make


def test_relative_change_is_paired_by_seed(build: Build) -> None:
    found = relative_table(open_grid([build(grid_trials())]))
    robust = [record for record in found.records if record["condition"] == "robust"]
    assert [record["auxiliary_tasks"] for record in robust] == ["depth", "depth+edges"]
    # every seed is better by the same share, so the interval is a point although scores scatter
    assert [round(record["mean"], 6) for record in robust] == [0.2, 0.5]
    assert all(math.isclose(r["low"], r["high"], abs_tol=1e-6) for r in robust)
    assert {record["seeds"] for record in found.records} == {3}
    assert robust[0]["alone"] == pytest.approx(0.22)


def test_relative_change_of_an_error_falls_with_it(build: Build) -> None:
    trials = [
        replace(record, number=record.number)
        for record in grid_trials(main="normals", score="angular_error")
    ]
    study = build(trials, main="normals", score="angular_error", direction="minimize")
    found = relative_table(open_grid([study])).records
    assert [round(r["mean"], 6) for r in found if r["condition"] == "robust"] == [-0.2, -0.5]


def test_table_shows_a_row_per_training_and_score(build: Build) -> None:
    natural = [replace(t, number=t.number + 50) for t in grid_trials(adversary=NATURAL)]
    everywhere = [
        replace(t, number=t.number + 100)
        for t in grid_trials(adversary={**PGD, "attacked_tasks": "all"})
        if t.auxiliary_tasks
    ]
    table = relative_table(open_grid([build([*everywhere, *grid_trials(), *natural])])).table
    assert table.columns[3:] == ("alone", "+depth", "+depth +edges")
    assert [row.cells[:3] for row in table.rows] == [
        ("segmentation", "natural", "clean mIoU"),
        ("", "", "robust mIoU"),
        ("", "PGD-2 at ε = 4/255 on segmentation", "clean mIoU"),
        ("", "", "robust mIoU"),
        ("", "PGD-2 at ε = 4/255 on all tasks", "clean mIoU"),
        ("", "", "robust mIoU"),
    ]
    assert table.rows[3].cells[3:] == (
        f"22.0 % (17.0{TO}27.0)",
        "+20.0 % (+20.0 to +20.0)",
        "+50.0 % (+50.0 to +50.0)",
    )
    assert "evaluate all" in table.notes[0]


def test_several_runs_are_one_table(build: Build) -> None:
    other = [
        replace(t, number=t.number)
        for t in grid_trials(main="normals", score="angular_error", adversary=NATURAL)
    ]
    studies = [
        build(grid_trials()),
        build(other, main="normals", score="angular_error", direction="minimize"),
    ]
    table = relative_table(open_grid(studies)).table
    assert [row.cells[0] for row in table.rows] == ["normals", "", "segmentation", ""]


def test_settings_in_which_runs_differ_name_their_lines(build: Build) -> None:
    wide = grid_trials(model={"backbone": "resnet_small", "width": 16})
    narrow = grid_trials(model={"backbone": "resnet_small", "width": 8})
    grid = open_grid([build(wide), build(narrow)])
    titles = [grid.title(line) for line in grid.lines]
    assert titles == [
        "PGD-2 at ε = 4/255 on segmentation, width 16",
        "PGD-2 at ε = 4/255 on segmentation, width 8",
    ]


def test_evaluations_count_where_there_are_any(build: Build) -> None:
    trials = grid_trials()
    grid = open_grid([build(trials, [row for t in trials for row in rows(t)])])
    assert grid.split == "test"
    found = relative_table(grid)
    assert "suite quick on 64 images" in found.table.notes[0]
    assert "versions" not in found.table.notes[0]
    alone = {r["condition"]: r["alone"] for r in found.records}
    assert alone == {"clean": pytest.approx(0.44), "robust": pytest.approx(0.11)}


def test_attacks_table_has_every_condition_but_sweeps(build: Build) -> None:
    trials = grid_trials()
    found = attacks_table(open_grid([build(trials, [row for t in trials for row in rows(t)])]))
    assert [row.cells[2] for row in found.table.rows] == [
        "no attack",
        f"APGD 50{TIMES}2, 4/255",
        "worst case of all, 4/255",
    ]
    assert found.table.columns[3:] == ("alone", "+depth", "+depth +edges")
    assert found.table.rows[1].cells[3] == f"22.0 % (17.0{TO}27.0)"
    worst = [r["mean"] for r in found.records if r["condition"] == "worst_case"]
    assert worst == [pytest.approx(0.11), pytest.approx(0.132), pytest.approx(0.165)]


def test_an_attack_on_fewer_images_says_so(build: Build) -> None:
    trials = grid_trials()
    few = [replace(r, images=8) for t in trials for r in rows(t) if r.condition == "apgd"]
    rest = [r for t in trials for r in rows(t) if r.condition != "apgd"]
    table = attacks_table(open_grid([build(trials, [*few, *rest])])).table
    assert f"APGD 50{TIMES}2, 4/255, first 8 images" in [row.cells[2] for row in table.rows]


def test_vulnerability_is_a_mean_over_seeds(build: Build) -> None:
    trials = grid_trials()
    found = vulnerability_table(
        open_grid([build(trials, [row for t in trials for row in rows(t)])])
    )
    assert [row.cells[2] for row in found.table.rows] == [
        f"APGD 50{TIMES}2, 4/255",
        "worst case of all, 4/255",
    ]
    assert found.records[0]["mean"] == pytest.approx(1 - 0.22)
    assert found.table.rows[0].cells[3].startswith("0.78 (")


def test_suspected_masking_marks_the_cell(build: Build) -> None:
    trials = grid_trials()
    bad = "gradient masking suspected: one step beats many"
    evaluated = [r for t in trials for r in rows(t, verdict=bad if t.number == 4 else "ok")]
    table = attacks_table(open_grid([build(trials, evaluated)])).table
    assert [row.alarms for row in table.rows] == [frozenset(), frozenset({4}), frozenset({4})]
    assert table.rows[1].cells[4].endswith(" !")
    assert any(note.startswith("! suspect in at least one") for note in table.notes)


def test_a_bound_is_no_score(build: Build) -> None:
    """Of three seeds one is void: the mean is that of the others, and the cell is marked."""
    trials = grid_trials()
    bad = "gradients do not describe the function (share 0.91)"
    evaluated = [
        replace(
            r,
            is_bound=t.number == 4 and r.condition != "clean",
            verdict=bad if t.number == 4 else "ok",
        )
        for t in trials
        for r in rows(t)
    ]
    grid = open_grid([build(trials, evaluated)])
    cells = [r for r in attacks_table(grid).records if r["condition"] == "worst_case"]
    assert sorted(r["seeds"] for r in cells) == [2, 3, 3]
    robust = [r for r in relative_table(grid).records if r["condition"] == "robust"]
    assert sorted(r["seeds"] for r in robust) == [2, 3]


def test_predictors_rank_configurations_like_robustness(build: Build) -> None:
    """Robustness grows with the tasks here, and the clean score with it; early epochs are late."""
    found = predictors_table(open_grid([build(grid_trials())])).records
    values = {record["predictor"]: record for record in found}
    for name in ("clean score", "output dimension", "number of tasks"):
        assert (values[name]["value"], values[name]["pairs"]) == (pytest.approx(1.0), 3)


def test_early_epochs_and_smaller_networks_are_predictors(build: Build) -> None:
    def early(record: TrialResult) -> TrialResult:
        """Epoch 2 has the order upside down."""
        last = record.epochs[-1]
        metrics = {key: 1 - value for key, value in last.metrics.items()}
        return replace(record, epochs=(replace(last, epoch=2, metrics=metrics), last))

    wide = [early(t) for t in grid_trials(model={"width": 16})]
    narrow = [t for t in grid_trials(model={"width": 8}) if t.auxiliary_tasks != ("depth",)]
    grid = open_grid([build(wide), build(narrow)])
    found = predictors_table(grid)
    values = {
        record["predictor"]: (round(record["value"], 6), record["pairs"])
        for record in found.records
        if record["trained"].endswith("width 16") and record["value"] == record["value"]
    }
    assert values["epoch 2"] == (-1.0, 3)
    assert values["width 8"] == (1.0, 2)
    assert [row.cells[1] for row in found.table.rows][-1] == "all of these"


def test_too_few_configurations_cannot_be_ranked(build: Build) -> None:
    few = [t for t in grid_trials() if t.auxiliary_tasks != ("depth",)]
    with pytest.raises(DataError, match="at least 3 scored configurations to rank, found 2"):
        predictors_table(open_grid([build(few)]))


def test_one_seed_has_no_interval(build: Build) -> None:
    trials = [t for t in grid_trials() if t.seed == 0]
    table = relative_table(open_grid([build(trials)])).table
    assert table.rows[1].cells[3:] == ("20.0 %", "+20.0 %", "+50.0 %")


def test_what_is_not_evaluated_is_told(build: Build) -> None:
    trials = grid_trials()
    grid = open_grid([build(trials, [row for t in trials[:7] for row in rows(t)])])
    notes = attacks_table(grid).table.notes
    assert any(note.startswith("left out without an evaluation: 2 of 9 trials; ") for note in notes)
    assert any(note.startswith("suite quick on 64 images of the test split; ") for note in notes)


def test_a_grid_says_where_it_mixes_versions_of_the_attacks(build: Build) -> None:
    trials = grid_trials()
    mixed = [
        replace(row, attack_version=trial.number % 2 if row.epsilon else 0)
        for trial in trials
        for row in rows(trial)
    ]
    (note,) = [
        n for n in attacks_table(open_grid([build(trials, mixed)])).table.notes if "suite" in n
    ]
    assert "; scores come from versions 0 (before versions) and 1 of the attacks" in note


def test_one_image_and_one_trial_are_no_plural(build: Build) -> None:
    trials = grid_trials()
    one = [replace(row, images=1) for row in rows(trials[0])]
    two = [replace(row, images=2) for row in rows(trials[1])]
    for evaluated, images in ((one, "1 image"), ([*one, *two], "1 or 2 images")):
        notes = attacks_table(open_grid([build(trials, evaluated)])).table.notes
        assert any(f"suite quick on {images} of the test split" in note for note in notes)


def test_rows_of_dashes_alone_are_left_out_and_counted(build: Build) -> None:
    trials = grid_trials()
    known = [row for t in trials for row in rows(t)]
    bounds = [replace(row, is_bound=row.condition == "apgd") for row in known]
    for make in (attacks_table, vulnerability_table):
        whole = make(open_grid([build(trials, known)])).table
        table = make(open_grid([build(trials, bounds)])).table
        assert len(table.rows) == len(whole.rows) - 1
        assert "left out without a number: one row" in table.notes
        assert not any("left out without a number" in note for note in whole.notes)


def test_report_has_the_tables_of_a_grid_alone(build: Build) -> None:
    trials = grid_trials()
    evaluated = build(trials, [row for t in trials for row in rows(t)])
    html = grid_sections(evaluated)
    for title in ("Task sets against the main task alone", "Relative vulnerability", "+depth"):
        assert title in html
    assert "Relative vulnerability" not in grid_sections(build(trials))
    assert grid_sections(build([t for t in trials if t.seed == 0])) == ""


def test_mistakes_say_what_to_run(build: Build) -> None:
    unfinished = [replace(t, status="interrupted") for t in grid_trials()]
    with pytest.raises(DataError, match=r"finished trial, found none among 9.*search --resume"):
        open_grid([build(unfinished)])
    failed = [replace(t, status="failed", reason="no data") for t in grid_trials()]
    with pytest.raises(DataError, match=r"every one failed, trial 0 because: no data; read all"):
        open_grid([build(failed)])
    unmeasured = [replace(trial, epochs=()) for trial in failed]
    for trials, is_repairable in ((failed, False), (unmeasured, True)):
        with pytest.raises(DataError, match="every one failed") as caught:
            open_grid([build(trials)])
        assert ("; repair it with: taskgroup search --run " in str(caught.value)) == is_repairable
        assert "--resume" not in str(caught.value)
    with pytest.raises(DataError, match="found none; run: taskgroup evaluate all --run"):
        attacks_table(open_grid([build(grid_trials())], "test"))
    alone = [t for t in grid_trials() if not t.auxiliary_tasks]
    with pytest.raises(DataError, match=r"task set to compare .* found none; search a space"):
        relative_table(open_grid([build(alone)]))
    several = [t for t in grid_trials() if t.auxiliary_tasks]
    with pytest.raises(DataError, match=r"segmentation alone under the recipe .* found none"):
        relative_table(open_grid([build(several)]))


def test_command_prints_a_table_and_writes_its_numbers(build: Build, tmp_path: Path) -> None:
    place = build(grid_trials()).place
    out = tmp_path / "relative.csv"
    done = CliRunner().invoke(app, ["table", "relative", place, "--json", "--out", str(out)])
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert [record["mean"] for record in found] == pytest.approx([0.2, 0.5, 0.2, 0.5])
    assert len(out.read_text().splitlines()) == 1 + len(found)
    shown = CliRunner().invoke(app, ["table", "relative", "--runs", str(tmp_path)])
    assert "+depth" in shown.stdout


def test_command_answers_mistakes_in_one_line(build: Build, tmp_path: Path) -> None:
    place = build(grid_trials()).place
    done = CliRunner().invoke(app, ["table", "relative", place, "--out", "table.xls"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "ends in .csv or .parquet" in done.stderr
    done = CliRunner().invoke(app, ["table", "vulnerability", place])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "taskgroup evaluate all" in done.stderr


def test_intervals_stay_in_the_range_of_the_score(build: Build) -> None:
    cases = [((), 0, 0.01), ((), 1, 0.9), (("depth",), 0, 0.9), (("depth",), 1, 0.01)]
    trials = [
        trial(number, tasks, seed=seed, robust=robust)
        for number, (tasks, seed, robust) in enumerate(cases)
    ]
    study = build(trials, [row for found in trials for row in rows(found)])
    (relative,) = [
        record
        for record in relative_table(open_grid([study])).records
        if record["condition"] == "robust"
    ]
    assert relative["low"] == -1.0
    for record in attacks_table(open_grid([study])).records:
        assert 0.0 <= record["low"] <= record["high"] <= 1.0
