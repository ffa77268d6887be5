"""Curves against outputs and tasks, their tables and charts, from made-up records."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from taskgroup.analysis.charts.dimension import collect_dimension, draw_dimension
from taskgroup.analysis.charts.task_gradients import (
    collect_task_gradients,
    draw_task_gradients,
    task_gradients_chart,
)
from taskgroup.analysis.groups import model_styles
from taskgroup.analysis.report.dimension_page import write_dimension_page
from taskgroup.analysis.tables.dimension import (
    SHOWN_COUNTS,
    collect_curves,
    dimension_table,
    task_gradient_table,
)
from taskgroup.results.record_files import DIMENSIONS, TASK_GRADIENTS
from taskgroup.results.run_directory import RunDirectory
from taskgroup.results.storage.base import open_storage
from taskgroup.study.study import Study
from taskgroup.wording import format_score

C = 0.02
MakeRun = Callable[..., RunDirectory]


def test_curves_hold_the_fitted_correlation(study: Study) -> None:
    curves = collect_curves(study.dimensions, study.trials, main_task="segmentation")
    gradients = [c for c in curves if c.first.measure == "gradient_norm"]
    assert len({curve.style.name for curve in curves}) == 4
    for curve in gradients:
        assert curve.law is None or curve.law.correlation == pytest.approx(C)
        assert list(curve.counts) == sorted(curve.counts)
        assert {row.score_name for row in curve.rows} == {"root_mean_square"}
    outputs = [c for c in gradients if c.first.counted == "outputs"]
    assert all(c.law is not None for c in outputs)
    scales = {c.style.group: c.law.scale for c in outputs if c.law is not None}
    assert scales["natural"] == pytest.approx(4)
    assert scales["adversarial"] == pytest.approx(1)
    assert all(c.law is None for c in curves if c.first.measure == "robust_score")


def test_the_main_task_goes_before_other_tasks(study: Study) -> None:
    other = [replace(row, task="depth") for row in study.dimensions]
    both = [*study.dimensions, *other]
    assert {c.first.task for c in collect_curves(both, (), main_task="segmentation")} == {
        "segmentation"
    }
    assert {c.first.task for c in collect_curves(other, (), main_task="segmentation")} == {"depth"}
    assert collect_curves((), (), main_task="segmentation") == []


def test_the_chart_has_tasks_only_where_a_network_has_several(study: Study) -> None:
    data = collect_dimension(study)
    assert data.counted == ["outputs", "tasks"]
    assert len(data.of("outputs", "robust_score")) == 4
    alone = [row for row in study.dimensions if row.trial in (0, 1)]
    single = collect_dimension(replace(study, dimensions=tuple(alone)))
    assert single.counted == ["outputs"]
    figure = draw_dimension(data)
    assert "c = 0.02 (0.02\N{EN DASH}0.02)" in [note.text for note in figure.layout.annotations]
    names = [trace.name for trace in figure.data if trace.showlegend]
    assert len(names) == len(set(names)) == 4


def test_tables_show_first_middle_and_last(study: Study) -> None:
    curves = collect_curves(study.dimensions, study.trials, main_task="segmentation")
    table = dimension_table(curves, "outputs", "gradient_norm")
    assert table.columns == ("model", "M=1", "M=16", "M=256", "c")
    assert len(table.columns) == 2 + SHOWN_COUNTS
    assert table.rows[0].group == "best"
    natural = next(row for row in table.rows if row.group == "natural")
    value, low, high = (format_score("root_mean_square", end) for end in (4.0, 3.6, 4.4))
    assert natural.cells[1] == f"{value} ({low}\N{EN DASH}{high})"
    assert natural.cells[-1] == "0.02 (0.02\N{EN DASH}0.02)"
    assert natural.data["law"]["c"] == pytest.approx(C)
    assert [point["count"] for point in natural.data["points"]] == [1, 4, 16, 64, 256]
    scores = dimension_table(curves, "outputs", "robust_score")
    assert scores.rows[0].cells[1] == "40.0 % (35.0\N{EN DASH}45.0)"
    assert "PGD-20 at ε = 4/255" in scores.notes[0]
    tasks = dimension_table(curves, "tasks", "gradient_norm")
    assert {row.cells[1] for row in tasks.rows} == {"sum", "unit"}
    assert all(len(row.data["points"]) > 1 for row in tasks.rows)


def test_notes_tell_of_images_left_out_and_of_the_published_way(study: Study) -> None:
    rows = [
        replace(row, images=2 if row.count > 16 else 3, seed_compatible=True)
        for row in study.dimensions
    ]
    curves = collect_curves(rows, (), main_task="segmentation")
    notes = " ".join(dimension_table(curves, "outputs", "gradient_norm").notes)
    assert "3 images, bootstrap" in notes
    assert "than M are left out, which leaves 2 at M = 64" in notes
    assert "two images are one vector" in notes
    alone = collect_curves([replace(row, images=1) for row in rows], (), main_task="segmentation")
    assert "1 image, bootstrap" in dimension_table(alone, "outputs", "gradient_norm").notes[0]
    assert dimension_table([], "outputs", "gradient_norm").rows == ()


def test_looks_never_repeat_a_colour_while_there_are_others(study: Study) -> None:
    base = study.dimensions[0]
    rows = [(replace(base, trial=-1, role="other", label=f"net {n}"), f"net {n}") for n in range(5)]
    styles = model_styles(rows, ())
    assert len({style.color for style in styles.values()}) == 5
    assert [style.name for style in styles.values()] == [f"net {n}" for n in range(5)]


def test_task_matrices(study: Study) -> None:
    matrices = collect_task_gradients(study)
    assert matrices
    assert all(len(matrix.tasks) > 1 for matrix in matrices)
    every = next(matrix for matrix in matrices if len(matrix.tasks) == 4)
    assert every.columns == (*every.tasks, "all, summed", "all, balanced")
    assert every.values[0] == (1.0, 0.25, 0.25, 0.25, 0.6, 0.7)
    assert draw_task_gradients(matrices).data
    assert draw_task_gradients(()).data == ()
    assert task_gradients_chart(replace(study, task_gradients=())).figure is None
    table = task_gradient_table(study.task_gradients)
    assert len(table.rows) == sum(len(matrix.tasks) for matrix in matrices)
    assert table.rows[0].data["cosines"][every.tasks[0]] in (1.0, 0.25)


def test_a_folder_gets_a_page_that_needs_nothing_else(study: Study, tmp_path) -> None:  # type: ignore[no-untyped-def]
    storage = open_storage(tmp_path / "charts")
    storage.make_root()
    hostile = [replace(row, label="<b>net</b>") for row in study.dimensions]
    DIMENSIONS.write(storage, hostile)
    TASK_GRADIENTS.write(storage, study.task_gradients)
    place = write_dimension_page(tmp_path / "charts")
    html = (tmp_path / "charts" / "dimension.html").read_text()
    assert place.endswith("dimension.html")
    assert 'id="chart-dimension"' in html
    assert 'id="chart-task_gradients"' in html
    assert "<b>net" not in html
    assert "default-src 'none'" in html


def test_a_torn_file_is_named(study: Study, tmp_path, left_out) -> None:  # type: ignore[no-untyped-def]
    storage = open_storage(tmp_path)
    DIMENSIONS.write(storage, study.dimensions)
    (path,) = (tmp_path / "dimension").iterdir()
    path.write_bytes(path.read_bytes()[:-20])
    assert DIMENSIONS.latest(storage) == []
    assert f"{path.name} must be a parquet file of taskgroup dimension records" in left_out()[0]
