"""Whatever one cell of a run's files holds, tables and report are made, or the file is left out."""

import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taskgroup.analysis.report.build import render_report
from taskgroup.analysis.tables.base import study_table
from taskgroup.analysis.tables.dimension import collect_curves, dimension_table
from taskgroup.analysis.tables.evaluations import (
    evaluation_table,
    robustness_table,
    transfer_table,
)
from taskgroup.analysis.tables.grid_tables import (
    attacks_table,
    relative_table,
    vulnerability_table,
)
from taskgroup.analysis.tables.grids import open_grid
from taskgroup.analysis.tables.predictors import predictors_table
from taskgroup.errors import DataError, TaskgroupError
from taskgroup.results.record_files import GRADIENT_CHECKS
from taskgroup.results.records import (
    DimensionRow,
    EvaluationRow,
    GradientCheckRow,
    Panel,
    Record,
    TaskGradientRow,
    TransferRow,
    TrialResult,
)
from taskgroup.results.records.codec import DIGEST_KEY, decode
from taskgroup.results.records.columns import columns_of
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.loading import read_studies, read_study

RECORDS: dict[str, type[Record]] = {
    "trials": TrialResult,
    "evaluations": EvaluationRow,
    "panels": Panel,
    "transfers": TransferRow,
    "dimension": DimensionRow,
    "task_gradients": TaskGradientRow,
    "gradient_checks": GradientCheckRow,
}
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -7, 2**31 - 1, 2**40, 0.5, 1e300, -1e300, math.nan, math.inf, "",
    "weird", "maximize", "search", "failed", "complete", "\N{CJK UNIFIED IDEOGRAPH-753B}\n", "{}",
    b"", [], [0.5], ["weird"], [1, 2, 3], [("a", 1.0)], [("epochs", 0.0)], [("a", "b")],
)  # fmt: skip


def all_shown(run: RunDirectory) -> None:
    """Make everything that is made of a run's files."""
    study = read_study(run)
    render_report(study, run.panels())
    study_table(study)
    evaluation_table(study.evaluations)
    robustness_table(study.evaluations)
    transfer_table(study.transfers)
    curves = collect_curves(study.dimensions, study.searched, main_task=study.main_task)
    dimension_table(curves, "outputs", "gradient_norm")
    dimension_table(curves, "tasks", "robust_score")
    for split in ("test", "validation", None):
        for table in (relative_table, attacks_table, vulnerability_table, predictors_table):
            with suppress(TaskgroupError):
                table(open_grid(read_studies([run]), split))


def with_cell(table: pa.Table, name: str, cell: Any, *, row: int) -> pa.Table | None:
    """A table with another cell, without its check sum; None where the type has no such cell."""
    place = table.schema.get_field_index(name)
    cells = table.column(place).to_pylist()
    try:
        array = pa.array([*cells[:row], cell, *cells[row + 1 :]], table.schema.types[place])
    except (pa.ArrowException, OverflowError, TypeError, ValueError, AttributeError):
        return None
    metadata = {k: v for k, v in table.schema.metadata.items() if k != DIGEST_KEY}
    changed = table.set_column(place, table.schema.field(place), array)
    return changed.replace_schema_metadata(metadata)


def written(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def accepted(record: type[Record], content: bytes) -> bool:
    try:
        decode(record, content, source="x")
    except DataError:
        return False
    return True


def try_cells(run: RunDirectory, folder: str, file: str, *, row: int, most: int | None) -> int:
    """Show a run with one odd cell after the other; returns how many were read."""
    record, known = RECORDS[folder], run.storage.read(file)
    table = pq.ParquetFile(pa.BufferReader(known)).read()
    changed = (
        (column.name, cell, with_cell(table, column.name, cell, row=row))
        for column in columns_of(record)
        for cell in ODD
    )
    contents = ((name, cell, written(t)) for name, cell, t in changed if t is not None)
    read = list(islice((one for one in contents if accepted(record, one[2])), most))
    for name, cell, content in read:
        run.storage.write(file, content)
        try:
            with suppress(TaskgroupError):
                all_shown(run)
        except Exception as error:
            error.add_note(f"{file}, row {row}: {name} = {cell!r}")
            raise
    run.storage.write(file, known)
    return len(read)


@pytest.fixture
def whole(make_run: Callable[..., RunDirectory], make_trials: Callable[[], Any]) -> RunDirectory:
    run: RunDirectory = make_run(make_trials(), evaluated=True)
    GRADIENT_CHECKS.write(run.storage, [GradientCheckRow(n, "odd", n == 1, 0.5, 8) for n in (0, 1)])
    return run


@pytest.mark.parametrize("folder", RECORDS)
def test_some_odd_cells(folder: str, whole: RunDirectory) -> None:
    file = whole.storage.names(folder, ".parquet")[0]
    assert try_cells(whole, folder, file, row=0, most=1) > 0


@pytest.mark.slow
@pytest.mark.parametrize("folder", RECORDS)
def test_every_odd_cell(folder: str, whole: RunDirectory) -> None:
    tried = partial(try_cells, whole, folder, most=None)
    for file in whole.storage.names(folder, ".parquet")[:5]:
        assert tried(file, row=0) > 0
        if folder != "trials":
            assert tried(file, row=3 if folder != "gradient_checks" else 1) > 0
