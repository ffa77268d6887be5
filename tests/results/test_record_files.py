"""Numbered files of records: later rows stand for earlier ones about the same."""

from dataclasses import replace
from pathlib import Path

import pytest

from taskgroup.errors import DataError
from taskgroup.results.record_files import (
    DIMENSIONS,
    EVALUATIONS,
    PANELS,
    TASK_GRADIENTS,
    TRANSFERS,
    WORST_CASES,
    RecordFolder,
    read_records,
    write_records,
)
from taskgroup.results.records import EvaluationRow, TransferRow
from taskgroup.results.records.columns import columns_of
from taskgroup.results.storage.base import Storage, open_storage

ROW = TransferRow(
    0, "a", 1, "b", "pgd", "linf", 0.1, 2, 1, "depth", "rmse", "minimize", 0.5, 0.4, 0.6, 8, 0
)  # fmt: skip
BY_TARGET = RecordFolder("transfers", TransferRow, ("target", "target_label"))


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(tmp_path)


def test_a_file_holds_what_was_written(storage: Storage) -> None:
    rows = [ROW, replace(ROW, score=0.25)]
    write_records(storage, "shards/x.parquet", TransferRow, rows)
    assert read_records(storage, "shards/x.parquet", TransferRow) == rows
    with pytest.raises(DataError, match=r"shards/x\.parquet must be .* evaluation records, but"):
        read_records(storage, "shards/x.parquet", EvaluationRow)


def test_an_empty_folder_has_no_rows(storage: Storage) -> None:
    assert BY_TARGET.latest(storage) == []
    assert TRANSFERS.latest(storage) == []


def test_later_rows_stand_for_all_earlier_ones_about_the_same(storage: Storage) -> None:
    other = replace(ROW, target=2)
    BY_TARGET.write(storage, [ROW, replace(ROW, score=0.25), other])
    BY_TARGET.write(storage, [replace(ROW, score=0.125)])
    assert BY_TARGET.latest(storage) == [replace(ROW, score=0.125), other]


def test_without_a_key_only_the_last_file_is_read(storage: Storage) -> None:
    storage.write("transfers/0001-torn.parquet", b"PAR1")
    TRANSFERS.write(storage, [replace(ROW, source=3), replace(ROW, source=4)])
    assert [row.source for row in TRANSFERS.latest(storage)] == [3, 4]


def test_files_are_numbered_after_the_highest_and_never_share_a_name(storage: Storage) -> None:
    first = TRANSFERS.next_base(storage)
    assert first.startswith("0001-")
    assert first != TRANSFERS.next_base(storage)
    TRANSFERS.write(storage, [ROW], base="0041-x.parquet")
    TRANSFERS.write(storage, [ROW], base="copy.parquet")
    assert TRANSFERS.next_base(storage).startswith("0042-")


@pytest.mark.parametrize(
    "folder",
    [EVALUATIONS, PANELS, WORST_CASES, TRANSFERS, DIMENSIONS, TASK_GRADIENTS],
    ids=lambda folder: folder.folder,
)
def test_keys_are_fields(folder: RecordFolder) -> None:  # type: ignore[type-arg]
    names = {column.field.name for column in columns_of(folder.record)}
    assert set(folder.key) <= names
